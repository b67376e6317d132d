"""Files that one verb leaves for the next: written whole or not at all, and believed only in part.

They lie in a folder of this machine or in a bucket (`gs://bucket/folder`), see `place`.

What lies on a disk may have been edited, copied from elsewhere or written by another version, so
JSON is held against a shape before anything is made of it.
"""

import contextlib
import errno
import io
import json
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msk_jax.errors import UserError

if TYPE_CHECKING:
    import numpy as np

_FORMULA_STARTS = tuple("=+-@\t\r\n|")
_IN_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "an object",
    None: "null",
}


_BUCKET = "gs://"


def place(address: str | Path) -> Path:
    """A path on this machine, or one in a bucket that is used as if it were one.

    `pathlib` would make one slash of the two.
    """
    if not in_bucket(address):
        return Path(address)
    from etils import epath

    return epath.Path(address)


def in_bucket(path: str | Path) -> bool:
    """Whether it is the address of a bucket or of something in one."""
    return str(path).startswith(_BUCKET)


def bucket_fault(error: Exception) -> str:
    """What a bucket's server, or the way to it, refused, in its words; "" for any other error."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None or not isinstance(error, tensorflow.errors.OpError):
        return ""
    text = str(error.message).strip()
    return text.splitlines()[0][:200] if "gs://" in text or "HTTP" in text else ""


def read_range(path: Path, start: int, into: "np.ndarray") -> int:
    """Fill an array with the bytes of a file from `start` on; gives how many were read, fewer than
    there is room for where the file ends too early.

    Raises:
        OSError: the file cannot be read.
        UserError: a bucket refuses it.
    """
    room = memoryview(into).cast("B")
    if in_bucket(path):
        content = _of_bucket(path, start, start + len(room))
        room[: len(content)] = content
        return len(content)
    count = 0
    with open(path, "rb", buffering=0) as file:
        file.seek(start)
        while count < len(room) and (more := file.readinto(room[count:])):
            count += more
    return count


def _of_bucket(path: Path, start: int, end: int) -> bytes:
    """These bytes of an object and no others: TensorFlow's reader would fetch 64 MB for any."""
    import tensorstore

    bucket, _, name = str(path).removeprefix(_BUCKET).partition("/")
    try:
        store = tensorstore.KvStore.open(_store(bucket)).result()
        read = store.read(name, byte_range=slice(start, end)).result()
    except Exception as error:  # what it raises depends on what the server says
        words = str(error).strip().splitlines() or [type(error).__name__]
        if "OUT_OF_RANGE" in words[0]:  # the object ends before
            return b""
        raise UserError(
            f"{path} could not be read ({words[0][:200]}). Check the address, and that this "
            "machine may use it: `gcloud auth application-default login`."
        ) from error
    if read.state != "value":
        raise FileNotFoundError(errno.ENOENT, "no such object", str(path))
    return read.value


def _store(bucket: str) -> dict[str, str]:
    """tensorstore's name of a bucket."""
    return {"driver": "gcs", "bucket": bucket}


def table_source(path: Path) -> Path | io.BytesIO:
    """What pandas reads a table from; it would look for packages of its own to read a bucket."""
    return io.BytesIO(path.read_bytes()) if in_bucket(path) else path


def empty_folder(path: Path) -> None:
    """Make the folder, and remove what is in it."""
    if path.exists():
        path.rmtree() if in_bucket(path) else shutil.rmtree(path)
    path.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file of this machine, which takes the name `path` if the block ends well.

    So a reader finds the old file or the new one, never half of one: on a disk it is renamed, in a
    bucket an object is there once it is whole.

    Raises:
        UserError: it could not be written, which leaves what was there before.
    """
    if in_bucket(path):
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder) / path.name
            yield temporary
            path.write_bytes(temporary.read_bytes())
        return
    # Behind the stem: some libraries choose the format by the suffix.
    temporary = path.with_name(f"{path.stem}.partial{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def csv_text(value: str) -> str:
    """Text from a foreign header as a CSV cell that no spreadsheet takes for a formula.

    An apostrophe goes before what would start one (OWASP, CSV injection); `plain_text` takes it
    away again.
    """
    return f"'{value}" if value[:1] in _FORMULA_STARTS and value else value


def plain_text(cell: str) -> str:
    """The inverse of `csv_text`."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] in _FORMULA_STARTS and cell[1:] else cell


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """As `replacing`, for an empty folder to fill; the old one goes when the new one is whole.

    In a bucket, which has no folders to rename, the files then go there one by one.
    """
    if in_bucket(path):
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
            empty_folder(path)
            for file in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
                target = path / file.relative_to(folder).as_posix()
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read_bytes())
        return
    temporary = path.with_name(f"{path.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
    except BaseException as error:
        _remove_for_good(temporary)
        if isinstance(error, OSError):
            raise _not_written(path, error) from error
        raise


def _remove_for_good(folder: Path) -> None:
    """Also while threads of a write that failed still put files into it."""
    quiet = 0
    for _ in range(40):
        quiet = quiet + 1 if not folder.exists() else 0
        if quiet == 4:
            return
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)


def _not_written(path: Path, error: OSError) -> UserError:
    return UserError(
        f"{path} could not be written ({error.strerror or error}). Make room, or give another "
        "place if this one cannot be written to, and run the same command again."
    )


def write_json(path: Path, value: Any) -> None:
    """Write JSON by way of `replacing`."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path, shape: Any, way_out: str) -> Any:
    """JSON that an earlier verb wrote.

    Args:
        path: the file.
        shape: what it must be, see `fault`.
        way_out: a sentence that says what to do where it is missing or damaged.

    Raises:
        UserError: it is missing, cannot be read, is no JSON, or is of another shape.
    """
    try:
        content = json.loads(place(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be read ({why}). {way_out}") from error
    found = fault(content, shape)
    if found:
        raise UserError(f"{path} is damaged: {found}. {way_out}")
    return content


def fault(value: Any, shape: Any, place: str = "") -> str:
    """What keeps a JSON value from having a shape, in words; "" where it has it.

    A shape is a type (a whole number will do for `float`, true and false are no numbers), None
    for null, `[shape]` for a list of such, `{"key": shape}` for an object with at least these keys
    (one that ends in `?` may be missing), `{str: shape}` for an object of any keys, or a tuple of
    shapes, any of which will do.
    """
    if isinstance(shape, tuple):
        faults = [fault(value, one, place) for one in shape]
        return "" if "" in faults else faults[0]
    kind = type(shape) if isinstance(shape, list | dict) else shape
    if not _is(value, kind):
        return f"{place or 'its content'} is not {_IN_WORDS[kind]}"
    inner = []
    if isinstance(shape, list):
        inner = [(f"{place}[{i}]", entry, shape[0]) for i, entry in enumerate(value)]
    elif isinstance(shape, dict):
        dot = f"{place}." if place else ""
        names = [(key, str(key).removesuffix("?")) for key in shape if key is not str]
        missing = [name for key, name in names if key == name and name not in value]
        if missing:
            return f"{place or 'it'} lacks {', '.join(missing)}"
        inner = [(dot + name, value[name], shape[key]) for key, name in names if name in value]
        if str in shape:
            inner += [(f"{dot}{key}", entry, shape[str]) for key, entry in value.items()]
    return next(filter(None, (fault(entry, one, where) for where, entry, one in inner)), "")


def _is(value: Any, kind: type | None) -> bool:
    if kind is None or isinstance(value, bool):
        return value is None if kind is None else kind is bool
    if kind is float:
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, kind)
