"""Studies to records: in several processes, and never twice where a cache is given.

The order of the records is that of the studies whatever the number of processes, so that the
shards have the same bytes.
"""

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path

import numpy as np

from msk_jax.config import to_json
from msk_jax.data.build.records import Rejection, ScanFacts, Study, read_study
from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.cohort.manifest import Manifest
from msk_jax.errors import UserError
from msk_jax.files import replacing
from msk_jax.processes import processes

CACHE_VERSION = 7
Converted = tuple[list[dict], list[Rejection], ScanFacts | None]


def convert(
    studies: Sequence[Study],
    cohort: Cohort,
    manifest: Manifest,
    workers: int = 1,
    cache: Path | None = None,
) -> Iterator[Converted]:
    """What `records.read_study` makes of each study, in their order.

    Args:
        studies: of the manifest.
        cohort: what to take from them.
        manifest: checked rows.
        workers: processes; 1 stays in this one.
        cache: folder of studies converted before; those that are new and of which nothing was
            rejected are added.

    Raises:
        UserError: the cache cannot be written to.
    """
    if cache is not None:
        prepare(Path(cache))
    if workers < 2:
        for study in studies:
            yield convert_one(study, cohort, manifest, cache)
        return
    with processes(workers) as pool:
        waiting: deque = deque()
        for study in studies:
            waiting.append((study, pool.submit(convert_one, study, cohort, manifest, cache)))
            if len(waiting) >= 2 * workers:  # so many studies are in memory at most
                yield _result(*waiting.popleft())
        while waiting:
            yield _result(*waiting.popleft())


def _result(study: Study, future) -> Converted:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise UserError(
            f"A process died (a codec crashed, or memory ran out) while study {study.pseudonym} or "
            "one beside it was read. Build with --workers 1 to find it."
        ) from error


def convert_one(study: Study, cohort: Cohort, manifest: Manifest, cache: Path | None) -> Converted:
    """What `records.read_study` makes of a study, or what the cache has of it; see `convert`."""
    place = None if cache is None else _place(Path(cache), study, cohort, manifest)
    found = None if place is None else load(place)
    if found is not None:
        return found
    made = read_study(study, cohort, manifest)
    # What was rejected may be mended by a codec, or a disk that can be read again.
    if place is not None and not made[1]:
        save(place, made)
    return made


def prepare(cache: Path) -> None:
    """Make the folder of the cache.

    Raises:
        UserError: it cannot be written to.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{cache} cannot be written to ({error.strerror}). Give another --cache."
        ) from error


def _place(cache: Path, study: Study, cohort: Cohort, manifest: Manifest) -> Path | None:
    """The cache file of a study: its name says what it was made from; None if that is unreadable.

    Files count by their bytes: what is unpacked or fetched for a build is new each time.
    """
    boxes = sorted({row.boxes for row in study.rows if row.boxes})
    try:
        files = [_digest(file) for file in study.files]
        annotations = [_digest(manifest.path.parent / file) for file in boxes]
    except OSError:
        return None
    about = {
        "version": CACHE_VERSION,
        "pseudonym": study.pseudonym,
        "cohort": to_json(cohort),
        "rows": [asdict(row) for row in study.rows],
        "files": files,
        "columns": manifest.columns,
        "has_lesions": manifest.has_lesions,
        "options": None if study.options is None else asdict(study.options),
        **({"annotations": annotations} if annotations else {}),
    }
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    return cache / f"{digest}.npz"


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def save(place: Path, made: Converted) -> None:
    """Keep a converted study as an .npz without pickles, whole or not at all."""
    records, rejected, facts = made
    arrays, plain = {}, []
    for k, record in enumerate(records):
        arrays |= {f"{k}/{n}": v for n, v in record.items() if isinstance(v, np.ndarray)}
        plain.append({n: _plain(v) for n, v in record.items() if not isinstance(v, np.ndarray)})
    about = {
        "records": plain,
        "rejected": [asdict(item) for item in rejected],
        "facts": None if facts is None else asdict(facts),
    }
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    with replacing(place) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def _plain(value):
    return value.item() if isinstance(value, np.generic) else value


def load(place: Path) -> Converted | None:
    """What `save` kept; None where there is none or it is damaged."""
    try:
        with np.load(place, allow_pickle=False) as stored:
            about = json.loads(bytes(stored["about"]))
            records = []
            for k, plain in enumerate(about["records"]):
                start = f"{k}/"
                arrays = {n[len(start) :]: stored[n] for n in stored.files if n.startswith(start)}
                records.append({**arrays, **plain, "age": np.float32(plain["age"])})
        rejected = [Rejection(**item) for item in about["rejected"]]
        facts = None if about["facts"] is None else ScanFacts(**about["facts"])
        return records, rejected, facts
    except Exception:
        return None
