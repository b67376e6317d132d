"""The folder that a build writes to: never half-made, never somebody else's."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msk_jax.errors import UserError
from msk_jax.files import read_json

COHORT_NAME = "cohort.json"
SPLITS_NAME = "splits.json"
REJECTED_NAME = "rejected.csv"
QUALITY_NAME = "quality.csv"

_BUILD = {
    "num_patients": int,
    "num_units": int,
    "num_stacks": int,
    "num_rejected": int,
    "num_poor": int,
    "num_skipped_files": int,
    "rejected": str,
}
_COHORT = {
    "is_phantom": bool,
    "fingerprint": {"config": dict, "num_folds": int, "seed": int},
    "build": _BUILD,
}


def read_cohort(data_dir: Path) -> dict:
    """`cohort.json` of a built cohort.

    Raises:
        UserError: there is none, or it is damaged.
    """
    path = data_dir / COHORT_NAME
    if not path.is_file():
        raise UserError(
            f"There is no built cohort in {data_dir}. Give the folder that `msk-jax build ... "
            "--data-dir` wrote."
        )
    return read_json(path, _COHORT, "Build the cohort again with --overwrite.")


def existing_build(data_dir: Path, name: str, fingerprint: dict, overwrite: bool) -> dict | None:
    """The counts of the build in `data_dir` if it is this very one; None if it may be built.

    Args:
        data_dir: the target, which may be missing.
        name: of the data set.
        fingerprint: what the new build would be made from.
        overwrite: whether another build may be replaced.

    Raises:
        UserError: the folder is a file, holds another build and `overwrite` is not set, or holds
            anything that no build made.
    """
    try:
        if not data_dir.exists():
            return None
        entries = {p.name for p in data_dir.iterdir() if not p.name.startswith(".")}
    except NotADirectoryError:
        raise UserError(f"{data_dir} is not a folder. Give another --data-dir.") from None
    except OSError as error:
        raise UserError(
            f"The folder {data_dir} cannot be read ({error.strerror}). Give another --data-dir."
        ) from error
    foreign = sorted(entries - _own_names(name))
    # Beside a build, other files are its user's (notes, logs) and stay where they are.
    if foreign and COHORT_NAME not in entries:
        raise UserError(
            f"The folder {data_dir} holds other things ({', '.join(foreign[:3])}), which a build "
            "does not write over. Give a new or empty folder as --data-dir."
        )
    if not entries:
        return None
    content = _read_cohort(data_dir)
    is_whole = {name, SPLITS_NAME, COHORT_NAME} <= entries
    is_same = content is not None and content["fingerprint"] == fingerprint
    if is_whole and is_same and not overwrite:
        counts = content["build"]
        unread = counts.get("num_unread_ages", 0)  # older builds did not count them
        return {**{name: counts[name] for name in _BUILD}, "num_unread_ages": unread}
    if overwrite:
        return None
    raise UserError(
        f"{_difference(data_dir, content, fingerprint)} Give --overwrite to replace "
        "it, or another --data-dir."
    )


@contextmanager
def staging(data_dir: Path, name: str, needed_bytes: int) -> Iterator[Path]:
    """A temporary sibling of `data_dir`, moved into its place if the block ends well.

    Args:
        data_dir: the target; a build that it holds is replaced, other files stay.
        name: of the data set.
        needed_bytes: room that the block is expected to take.

    Raises:
        UserError: the place cannot be written or has too little room, at the start or on the way.
    """
    data_dir = data_dir.absolute()
    staged = None
    try:
        try:
            data_dir.parent.mkdir(parents=True, exist_ok=True)
            prefix = f".{data_dir.name}.building-"
            staged = Path(tempfile.mkdtemp(prefix=prefix, dir=data_dir.parent))
            staged.chmod(0o777 & ~_umask())
        except OSError as error:
            raise _write_error(data_dir, error, needed_bytes) from error
        free = shutil.disk_usage(staged).free
        if free < needed_bytes:
            raise UserError(_full(data_dir, needed_bytes, free))
        try:
            yield staged
            _move_into_place(staged, data_dir, name)
        except UserError:
            raise
        except Exception as error:
            failure = _disk_failure(error)
            if failure is None:
                raise
            raise _write_error(data_dir, failure, needed_bytes) from error
    finally:
        if staged is not None:
            shutil.rmtree(staged, ignore_errors=True)


def _move_into_place(staged: Path, data_dir: Path, name: str) -> None:
    """One rename, or two where a build is replaced; the old one is kept until the new is there."""
    if not data_dir.exists():
        staged.rename(data_dir)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{data_dir.name}.old-", dir=data_dir.parent))
    data_dir.rename(old)
    try:
        staged.rename(data_dir)
    except OSError:
        old.rename(data_dir)
        raise
    for entry in old.iterdir():
        if entry.name not in _own_names(name):
            entry.rename(data_dir / entry.name)
    shutil.rmtree(old, ignore_errors=True)


def _own_names(name: str) -> set[str]:
    """What a build puts into its folder."""
    return {name, SPLITS_NAME, COHORT_NAME, REJECTED_NAME, QUALITY_NAME}


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _read_cohort(data_dir: Path) -> dict | None:
    try:
        return read_cohort(data_dir)
    except UserError:
        return None


def _difference(data_dir: Path, content: dict | None, fingerprint: dict) -> str:
    if content is None:
        return f"The folder {data_dir} holds an unfinished build, or its {COHORT_NAME} is damaged."
    previous = content["fingerprint"]
    meanings = {
        "manifest_sha256": "another manifest",
        "config": "other settings of the cohort",
        "num_folds": "another number of folds",
        "seed": "another seed",
        "split": "another kind of split",
        "held_out": "another share of patients held out",
        "refuse_below": "another grade below which scans are refused",
        "version": "another version of the data set",
        "key_check": "another pseudonym key",
        "options": "other choices of reading (--nifti-form, --deshear)",
    }
    differing = [t for key, t in meanings.items() if previous.get(key) != fingerprint.get(key)]
    listed = " and ".join(differing) or "an unfinished run"
    return f"The folder {data_dir} already holds a build from {listed}."


def _disk_failure(error: BaseException | None) -> BaseException | None:
    """The operating system error, or TensorFlow's version of one, behind an exception.

    tfds wraps what it cannot rebuild into a RuntimeError.
    """
    import tensorflow as tf

    while error is not None:
        if isinstance(error, OSError | tf.errors.OpError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _write_error(data_dir: Path, error: BaseException, needed_bytes: int) -> UserError:
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    # TensorFlow's errors have no errno, but they quote the system's words.
    if getattr(error, "errno", None) in full or any(os.strerror(c) in str(error) for c in full):
        return UserError(_full(data_dir, needed_bytes, _free(data_dir)))
    reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
    return UserError(
        f"The folder {data_dir} cannot be written ({reason}). Nothing was built; give a writable "
        "place as --data-dir."
    )


def _free(data_dir: Path) -> int | None:
    for place in (data_dir, *data_dir.parents):
        try:
            return shutil.disk_usage(place).free
        except OSError:
            continue
    return None


def _full(data_dir: Path, needed_bytes: int, free: int | None) -> str:
    left = "an unknown amount is" if free is None else f"{free / 1e6:,.0f} MB are"
    return (
        f"There is too little room at {data_dir}: the build takes up to {needed_bytes / 1e6:,.0f} "
        f"MB and {left} left. Nothing was built; make room or give another --data-dir."
    )
