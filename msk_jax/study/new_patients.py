"""New patients through the networks of a package, many series in one batch.

Series are read ahead by threads while the networks work, and pictures are drawn by processes beside
them.
"""

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
import pandas as pd

from msk_jax.data.build.records import assign_series, clean_reason, hints
from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.cohort.manifest import Manifest, ManifestRow
from msk_jax.data.images.series import Series
from msk_jax.data.images.volume import ReadOptions
from msk_jax.data.privacy.pseudonyms import pseudonym
from msk_jax.data.regions.region import Crop, read_images
from msk_jax.data.sources.names import legible
from msk_jax.data.sources.scan import Scan
from msk_jax.evaluation.tables.predictions import pool, probability_cells, probability_columns
from msk_jax.study.listener import SILENT, Listener
from msk_jax.study.package import SavedModel
from msk_jax.training.parallel import parallel_predict, predict_all
from msk_jax.training.step import AXIS

BATCH_PER_DEVICE = 16
_READ_AHEAD = 4
"""Series that are read, or waiting, while the networks work."""


@dataclasses.dataclass(frozen=True)
class Job:
    """One series to be predicted."""

    patient_id: str
    """Identifying."""
    uid: str
    files: tuple[Path, ...]
    modality: str
    rows: tuple[ManifestRow, ...] | None = None
    """Where its units are; None where they are looked for."""
    options: ReadOptions | None = None
    """See `region.asked_options`."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """One image of a crop, as stored."""

    crop: Crop
    centre: int
    volume: np.ndarray
    """int16 [rows, columns, slices]."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One series that was read."""

    job: Job
    name: str
    """Of its rows and files, without the patient's identity."""
    series: Series | None
    crops: dict[str, Crop]
    """By unit, or unit and view; empty where nothing could be used."""
    rejected: tuple[tuple[str, str, str], ...] = ()
    """Name, modality and reason of what could not."""
    pictures: dict[str, Picture] = dataclasses.field(default_factory=dict)
    """By `<name>/<unit>/<view><number>`."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the networks say of one series."""

    case: Case
    table: pd.DataFrame
    """Rows of all levels."""
    by_member: tuple[pd.DataFrame, ...]
    """The same by each network; none where nobody hears them."""


def jobs_of(
    found: Scan,
    places: Manifest | None,
    cohort: Cohort,
    secret: bytes,
    options: ReadOptions | None = None,
    listener: Listener = SILENT,
) -> tuple[list[Job], list[tuple[str, str, str]]]:
    """What to predict, and what of the source or the manifest cannot be: name, modality, reason."""
    if places is None:
        return _all_jobs(found, cohort, secret, options)
    names = {row.patient_id: pseudonym(row.patient_id, secret) for row in places.rows}
    studies, refused = assign_series(places, found, cohort.modality, names)
    owner = {file: uid for uid, files in found.series.items() for file in files}
    jobs = [
        Job(
            s.patient_id,
            owner.get(s.files[0]) or _place(found, s.files[0]),
            s.files,
            cohort.modality,
            s.rows,
            options,
        )
        for s in studies
    ]
    if sentence := hints(refused):
        listener.say(sentence)
    return jobs, [(f"{r.patient_id}/{r.unit}", cohort.modality, r.reason) for r in refused]


def _all_jobs(
    found: Scan, cohort: Cohort, secret: bytes, options: ReadOptions | None
) -> tuple[list[Job], list[tuple[str, str, str]]]:
    """Every series and picture there is, and those series of which not all was fetched."""
    headers = found.headers
    series = [
        Job(headers[uid].patient_id, uid, files, headers[uid].modality, options=options)
        for uid, files in sorted(found.series.items())
    ]
    pictures = found.pictures if cohort.region.reads_pictures else ()
    rejected = [
        (_name_of(job, secret), job.modality, found.incomplete[job.uid])
        for job in series
        if job.uid in found.incomplete
    ]
    usable = [job for job in series if job.uid not in found.incomplete]
    usable += [
        Job("", _place(found, file), (file,), cohort.modality, options=options) for file in pictures
    ]
    return usable, rejected


def _name_of(job: Job, secret: bytes) -> str:
    """The pseudonym of a series; without a PatientID it may be anyone's, and is a patient."""
    owner = pseudonym(job.patient_id or job.uid, secret)
    return f"{owner}_{pseudonym(job.uid, secret)[2:8]}"


def _place(found: Scan, picture: Path) -> str:
    """What stands for the identifiers of a picture, the same wherever its folder is."""
    return legible(found.place(picture).relative_to(found.folder).as_posix())


def read_cases(jobs: Sequence[Job], saved: SavedModel, secret: bytes) -> Iterator[Case]:
    """The series of these jobs in their order, some read ahead of what is asked for."""
    with ThreadPoolExecutor(2, thread_name_prefix="series") as threads:
        waiting: deque = deque()
        try:
            for job in jobs:
                waiting.append(threads.submit(_read, job, saved, secret))
                if len(waiting) > _READ_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _read(job: Job, saved: SavedModel, secret: bytes) -> Case:
    """A series and the crops of its units; a hostile file must not take the others with it."""
    name, cohort = _name_of(job, secret), saved.experiment.cohort
    region, crops, rejected = cohort.region, {}, []

    def refuse(error: Exception) -> None:
        rejected.append((name, job.modality, clean_reason(error, job.files, job.patient_id)))

    try:
        series = read_images(region, job.files, cohort.modality, job.options)
        if job.rows is None:
            crops.update(region.extract(series))
    except Exception as error:
        refuse(error)
        return Case(job, name, None, {}, tuple(rejected))
    for row in job.rows or ():
        try:
            units = region.extract(series, row.place).items()
            crops |= {key: crop for key, crop in units if key.partition("/")[0] == row.unit}
        except Exception as error:
            refuse(error)
    return Case(job, name, series, crops, tuple(rejected), _pictures(saved, name, crops))


def _pictures(saved: SavedModel, name: str, crops: dict[str, Crop]) -> dict[str, Picture]:
    """Every image of these crops."""
    context = saved.experiment.cohort.region.context_slices
    half, pictures = saved.stage.method.model.num_slices // 2, {}
    for key, crop in crops.items():
        unit, _, view = key.partition("/")
        for k, centre in enumerate(range(context, len(crop.positions_mm) - context)):
            volume = np.moveaxis(crop.voxels[centre - half : centre + half + 1], 0, -1)
            pictures[f"{name}/{unit}/{view}{k}"] = Picture(crop, centre, volume)
    return pictures


def predict_cases(saved: SavedModel, cases: Iterable[Case]) -> Iterator[list[Answer]]:
    """What the networks say of cases that have crops, as many at a time as fill a batch."""
    for group, said in ask_networks(saved, cases):
        each = [answers["probabilities"] for answers in said]
        mean, heard = np.mean(each, axis=0), each if saved.estimators else []
        answers, first = [], 0
        for case in group:
            last = first + len(case.pictures)
            by_member = tuple(_table(saved, case, one[first:last]) for one in heard)
            answers.append(Answer(case, _table(saved, case, mean[first:last]), by_member))
            first = last
        yield answers


def ask_networks(
    saved: SavedModel, cases: Iterable[Case]
) -> Iterator[tuple[list[Case], list[dict[str, np.ndarray]]]]:
    """Cases that have crops, as many at a time as fill a batch, and what each network answers
    `[pictures, ...]`, their pictures one case's behind the other's."""
    predict = parallel_predict(
        saved.stage.method.module(AXIS), saved.stage.method.preprocess, saved.stage.trained_task
    )
    most = BATCH_PER_DEVICE * jax.local_device_count()
    size = None
    for group in _groups(cases, most):
        pictures = [picture for case in group for picture in case.pictures.values()]
        # A few films alone need no whole batch; everything else goes by one compiled program.
        size = size or padded_size(len(pictures), most)
        volumes = np.stack([picture.volume for picture in pictures])
        batches = [volumes[i : i + size] for i in range(0, len(volumes), size)]
        yield group, [predict_all(predict, member, batches, size) for member in saved.members]


def _groups(cases: Iterable[Case], most: int) -> Iterator[list[Case]]:
    """Cases in a row that have `most` pictures together, or a few more."""
    group, count = [], 0
    for case in cases:
        if not case.pictures:
            continue
        group.append(case)
        count += len(case.pictures)
        if count >= most:
            yield group
            group, count = [], 0
    if group:
        yield group


def padded_size(count: int, most: int) -> int:
    """The next power of two, or `most`: few sizes, so that few programs are compiled."""
    return min(1 << max(count - 1, 0).bit_length(), most)


def _table(saved: SavedModel, case: Case, probabilities: np.ndarray) -> pd.DataFrame:
    """Rows of all levels of one series."""
    cohort, evaluation = saved.experiment.cohort, saved.experiment.judging.evaluation
    rows = pd.DataFrame(
        {
            "patient_id": case.name,
            "unit_id": list(case.pictures),
            "level": cohort.levels[0],
            "fold": 0,
            "label": 0,
            **probability_cells(cohort.classes, probabilities),
        }
    )
    table = pool(
        rows,
        {f"{case.name}/{key.partition('/')[0]}": 0 for key in case.crops},
        {case.name: 0},
        unit=evaluation.unit_pool,
        patient=evaluation.patient_pool,
        levels=cohort.levels,
    )
    return table.assign(patient_id=case.name.rsplit("_", 1)[0])


def called(saved: SavedModel, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """For each row the class that is spoken of and its probability: of two classes the second, of
    more the one that is called."""
    classes = saved.experiment.cohort.classes
    probs = table[probability_columns(classes)].to_numpy()
    if len(classes) == 2:
        return np.ones(len(table), int), probs[:, 0]
    return probs.argmax(axis=1), probs.max(axis=1)


def findings(saved: SavedModel, table: pd.DataFrame) -> list[tuple[str, float, str, str]]:
    """Finding, probability, unit and what a unit is called, of all units and the patient."""
    classes, levels = saved.experiment.cohort.classes, saved.experiment.cohort.levels
    rows = table[table["level"] != levels[0]]
    named, score = called(saved, rows)
    return [
        (
            classes[k],
            float(p),
            row.unit_id.rsplit("/", 1)[-1] if row.level == levels[1] else "",
            levels[1],
        )
        for k, p, row in zip(named, score, rows.itertuples(), strict=True)
    ]


def whole_table(saved: SavedModel, tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The rows of all series with what follows from them: where the patient is called positive, or
    which class is called."""
    table = with_whole_patients(saved, pd.concat(tables))
    classes = saved.experiment.cohort.classes
    if len(classes) > 2:
        return table.assign(called=np.asarray(classes)[called(saved, table)[0]])
    limits = table["level"].map(saved.thresholds).astype(float)
    # Without an operating point nobody is called healthy: the cell stays empty.
    positive = (table["prob"] >= limits).astype("Int64").where(limits.notna())
    return table.assign(threshold=limits, positive=positive)


def with_whole_patients(saved: SavedModel, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of all series; where each is a view of its patient, one row of patients for all."""
    cohort, settings = saved.experiment.cohort, saved.experiment.judging.evaluation
    _, unit, patient = cohort.levels
    if not cohort.region.views:
        return table
    probs = probability_columns(cohort.classes)
    views = table[table["level"] == unit].groupby("patient_id", sort=False)[probs]
    pooled = views.agg(settings.patient_pool).reset_index()
    first = table[table["level"] == patient].drop_duplicates("patient_id").drop(columns=probs)
    whole = first.merge(pooled, on="patient_id").assign(unit_id=lambda rows: rows["patient_id"])
    return pd.concat([table[table["level"] != patient], whole], ignore_index=True)
