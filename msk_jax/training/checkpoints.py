"""Orbax in one place: its names still move between versions.

A checkpoint folder holds numbered steps; each is whole or absent (orbax writes to a temporary
name and renames) and carries its settings as JSON beside its arrays.
"""

import contextlib
import itertools
import logging
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import multihost

from msk_jax.errors import UserError
from msk_jax.files import fault, in_bucket


def _pass_over_closed_loops(unraisable) -> None:
    """After a failed write tensorstore calls back into event loops that are gone.

    The failure itself is raised where the write is waited for.
    """
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


class Checkpoints:
    """The newest `keep` checkpoints of one folder; as a context it ends with `close`."""

    def __init__(self, folder: Path, keep: int = 1):
        self.folder = folder if in_bucket(folder) else Path(folder).absolute()
        sys.unraisablehook = _pass_over_closed_loops
        # orbax logs the failure of a background write with its trace before it raises it.
        for name in ("absl", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            create=True,
            enable_async_checkpointing=True,
            # Hosts wait for each other by names; two folders that are written at once share none.
            multiprocessing_options=ocp.options.MultiprocessingOptions(
                barrier_sync_key_prefix=self.folder.name
            ),
        )
        if in_bucket(self.folder) and not _has_bucket_package():
            raise UserError(
                f"To keep checkpoints in {self.folder} a package is missing. Install it: pip "
                "install 'msk_jax[gcs]'."
            )
        # tensorstore reports a failed write as a ValueError that quotes the system's words; of a
        # bucket each of several packages has its own errors.
        self._faults = Exception if in_bucket(self.folder) else (OSError, ValueError)
        try:
            self._manager = ocp.CheckpointManager(self.folder, options=options)
        except self._faults as error:
            raise _cannot_write(self.folder, error) from error

    def save(self, step: int, tree: Any, settings: dict) -> None:
        """Write `tree` and `settings` as `step`, in the background. An existing step stays.

        `tree`: arrays that are the same on every device.
        """
        if step in self._manager.all_steps():
            return
        args = ocp.args.Composite(
            # Off the devices first: orbax would cut each array into one piece per device.
            state=ocp.args.StandardSave(jax.device_get(tree)),
            settings=ocp.args.JsonSave(settings),
        )
        self._guard(lambda: self._manager.save(step, args=args))

    def forget_after(self, step: int) -> None:
        """Delete what is newer than `step`."""
        for newer in [found for found in self._manager.all_steps() if found > step]:
            self._manager.delete(newer)

    def latest(self) -> int | None:
        """The newest step, or None."""
        return self._manager.latest_step()

    def settings(self, step: int, shape: Any = dict) -> Any:
        """The settings saved with `step`.

        Raises:
            UserError: the checkpoint is damaged, or they are not of this shape (`files.fault`).
        """
        content = self._restore(step, settings=ocp.args.JsonRestore())["settings"]
        found = fault(content, shape)
        if found:
            raise self._damaged(step, f"in its settings, {found}")
        return content

    def restore(self, step: int, like: Any) -> Any:
        """The tree of `step`, in the shapes and types of `like`.

        Raises:
            UserError: the checkpoint is damaged or of another network.
        """
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        return self._restore(step, state=ocp.args.StandardRestore(abstract))["state"]

    def _restore(self, step: int, **items) -> Any:
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**items))
        except Exception as error:
            raise self._damaged(step, str(error).strip().split("\n")[0][:200]) from error

    def _damaged(self, step: int, reason: str) -> UserError:
        return UserError(
            f"The checkpoint {self.folder / str(step)} cannot be read ({reason}). It is damaged "
            "or belongs to a network with other settings. Delete that folder to go on from an "
            "earlier one, or give a new --workdir to start afresh."
        )

    def wait(self) -> None:
        """Wait till everything is on disk."""
        self._guard(self._manager.wait_until_finished)

    def close(self) -> None:
        """Wait till everything is on disk and let go of the folder."""
        try:
            self.wait()
        finally:
            # Also after a failed write: orbax holds threads and files.
            with contextlib.suppress(OSError, ValueError):
                self._manager.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *failure) -> None:
        self.close()

    def _guard(self, write: Callable[[], Any]) -> None:
        try:
            write()
        except self._faults as error:
            raise _cannot_write(self.folder, error) from error


_LONGEST_WAIT = 24 * 3600
_meetings = itertools.count()


def meet_all_hosts() -> None:
    """Wait till every host has come here, however long one of them has to work before.

    Collectives between devices are given up after half a minute on CPU.
    """
    name = f"msk_jax_meeting_{next(_meetings)}"
    multihost.get_barrier_sync_fn()(key=name, timeout_ms=1000 * _LONGEST_WAIT)


def _has_bucket_package() -> bool:
    """orbax asks a bucket by it how its folders are kept."""
    try:
        return find_spec("google.cloud.storage") is not None
    except ModuleNotFoundError:
        return False


def _cannot_write(folder: Path, error: Exception) -> UserError:
    reason = getattr(error, "strerror", None) or str(error).strip().split("\n")[0][:200]
    return UserError(
        f"A checkpoint could not be written to {folder} ({reason}). Make room or give a --workdir "
        "that can be written, then run the same command again: it goes on from the last whole "
        "checkpoint."
    )
