"""The folder of a series that was fetched, and what it says about itself.

`complete.json` marks one that is whole. Any other has `incomplete.json`, which is there before the
first object comes, so that no kind of end leaves a part of a series that looks like all of it.
"""

import csv
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from msk_jax.data.sources.multipart import Instance, read_instance
from msk_jax.files import csv_text, replacing

COMPLETE_NAME = "complete.json"
INCOMPLETE_NAME = "incomplete.json"
_INTERRUPTED = "Fetching it was interrupted"
_MAX_MARK_BYTES = 10_000


@dataclass(frozen=True)
class Incomplete:
    """A series of which not all came, or of which nothing says that all came."""

    series_uid: str
    files: int
    stated: int | None
    """Instances that the server says it has; None: it does not say."""

    reason: str
    """Without a full stop."""


class SeriesFolder:
    """Where the instances of one series lie, one file each."""

    def __init__(self, root: Path, series_uid: str):
        self.series_uid = series_uid
        self.path = root / _digest(series_uid)

    def is_whole(self, stated: int | None) -> bool:
        """Whether all is there that an earlier answer brought and the server states now."""
        marked = _read(self.path / COMPLETE_NAME)
        # Without `stated` it is from a version that took any answer for all of a series.
        if "stated" not in marked or not isinstance(marked.get("files"), int):
            return False
        return len(self._files()) >= max(marked["files"], stated or 0)

    def begin(self) -> None:
        """Mark it as incomplete until `finish` knows better."""
        self.path.mkdir(parents=True, exist_ok=True)
        for leftover in self.path.glob("*.partial.*"):
            leftover.unlink(missing_ok=True)
        self._mark(Incomplete(self.series_uid, len(self._files()), None, _INTERRUPTED))

    def add(self, instance: Instance, content: bytes) -> Path:
        """Write one instance as it came; a second one of the same identifier replaces it."""
        file = self.path / f"{_digest(instance.sop_uid)}.dcm"
        with replacing(file) as temporary:
            temporary.write_bytes(content)
        return file

    def count(self, added: set[Path]) -> int:
        """Instances that lie there; those of earlier answers are read and, if damaged, removed."""
        for file in set(self._files()) - added:
            instance = read_instance(file.read_bytes())
            if instance is None or not instance.whole or instance.series_uid != self.series_uid:
                file.unlink(missing_ok=True)
        return len(self._files())

    def finish(self, files: int, stated: int | None, reason: str) -> Incomplete | None:
        """Mark it as whole where `reason` is empty; else as incomplete, which is returned."""
        if reason:
            incomplete = Incomplete(self.series_uid, files, stated, reason)
            self._mark(incomplete)
            return incomplete
        with replacing(self.path / COMPLETE_NAME) as temporary:
            temporary.write_text(json.dumps({"files": files, "stated": stated}))
        (self.path / INCOMPLETE_NAME).unlink(missing_ok=True)
        return None

    def _mark(self, incomplete: Incomplete) -> None:
        with replacing(self.path / INCOMPLETE_NAME) as temporary:
            temporary.write_text(json.dumps(asdict(incomplete)))
        (self.path / COMPLETE_NAME).unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return sorted(self.path.glob("*.dcm"))


def incomplete_reason(mark: Path) -> str:
    """Why a series folder with this `incomplete.json` is not to be used, in two sentences."""
    content = _read(mark)
    files, stated = content.get("files"), content.get("stated")
    count = f" ({files} of {stated} instances)" if {type(files), type(stated)} == {int} else ""
    return f"Not all of this series was fetched{count}. Run the command that fetched it again."


def write_incomplete(path: Path, root: Path, incomplete: Iterable[Incomplete]) -> None:
    """List series that are incomplete as a table; where there are none, there is no table."""
    incomplete = list(incomplete)
    if not incomplete:
        path.unlink(missing_ok=True)
        return
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["folder", "series_uid", "files", "stated", "reason"])
        for one in incomplete:
            folder = SeriesFolder(root, one.series_uid).path.name
            stated = "" if one.stated is None else one.stated
            writer.writerow([folder, one.series_uid, one.files, stated, csv_text(one.reason)])


def listed_incomplete(root: Path) -> list[Incomplete]:
    """All series below a folder that an earlier or this command left incomplete."""
    listed = []
    for mark in sorted(root.glob(f"*/{INCOMPLETE_NAME}")):
        content = _read(mark)
        try:
            listed.append(Incomplete(**content))
        except TypeError:
            continue
    return listed


def _digest(identifier: str) -> str:
    return hashlib.sha256(identifier.encode()).hexdigest()[:32]


def _read(mark: Path) -> dict:
    """A mark's content; {} where there is none or it is damaged."""
    try:
        with mark.open("rb") as file:
            content = json.loads(file.read(_MAX_MARK_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
