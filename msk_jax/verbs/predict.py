"""`msk-jax predict`: new patients, from the checkpoint alone."""

import contextlib
import csv
import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pandas as pd

from msk_jax.data.cohort import Cohort, Manifest, ManifestRow, read_manifest
from msk_jax.data.crops import Crop, asked_options, read_images
from msk_jax.data.deidentify import default_key_path, load_key, load_or_create_key, pseudonym
from msk_jax.data.dicom import Scan, Series, scan
from msk_jax.data.names import legible
from msk_jax.data.nifti_place import NiftiForm
from msk_jax.data.records import assign_series, clean_reason, hints
from msk_jax.data.sources import opened
from msk_jax.data.volume import ReadOptions
from msk_jax.errors import UserError
from msk_jax.evaluation.predictions import pool, probability_cells, probability_columns
from msk_jax.explain.overlay import draw_overlay
from msk_jax.files import csv_text, replacing
from msk_jax.training.parallel import parallel_predict, predict_all
from msk_jax.training.step import AXIS
from msk_jax.verbs import console
from msk_jax.verbs.beside import askable, patients_of, with_beside
from msk_jax.verbs.heatmaps import crop_plane, explain, series_plane
from msk_jax.verbs.results import DicomResults
from msk_jax.verbs.saved_model import SavedModel, load_model, model_folder

_BATCH_PER_DEVICE = 16


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
    """See `crops.asked_options`."""


def run(
    workdir: Path,
    dicom: str | Path,
    out: Path,
    key: Path | None,
    dicom_results: bool = False,
    server: str = "",
    manifest: Path | None = None,
    nifti_form: NiftiForm | None = None,
    deshear: bool = False,
) -> None:
    """Predict every series of a source, or those of a manifest; what cannot be read is listed.

    Raises:
        UserError: nothing could be predicted, no manifest where one is needed, or DICOM results
            could not be written.
    """
    saved = load_model(workdir)
    cohort = saved.experiment.cohort
    if cohort.region.needs_place and manifest is None:
        raise UserError(
            f"{saved.experiment.name} does not look for a {cohort.levels[1]} by itself. Give "
            f"--manifest with patient_id, {cohort.region.unit_column} and "
            f"{', '.join(cohort.region.columns)} of each."
        )
    options = asked_options(cohort.region, nifti_form, deshear)
    places = None if manifest is None else read_manifest(manifest, cohort, labelled=False)
    console.check_new_folder(out, "--out")
    with opened(dicom) as source:
        found = scan(source.folder, files=source.files, unpacked=source.unpacked)
        results = None
        if dicom_results or server:
            results = DicomResults.of(out, saved.experiment.name, model_folder(workdir), server)
        secret = load_key(key) if key else load_or_create_key(default_key_path(manifest))
        patients = None if places is None else patients_of(places, cohort, secret)
        saved = dataclasses.replace(saved, beside=askable(saved, patients))
        jobs, rejected = _jobs(found, places, cohort, secret)
        jobs = [dataclasses.replace(job, options=options) for job in jobs]
        console.writable_folder(out, "--out")
        with _all_or_nothing(out):
            tables, unwritten = _predict_all(saved, jobs, rejected, out, secret, results)
            _write(saved, out, tables, rejected + unwritten, patients)
    # Outside: what the sentences speak of stays.
    _tell(out, len(tables), rejected, unwritten, len(found.skipped))


def _jobs(
    found: Scan, places: Manifest | None, cohort: Cohort, secret: bytes
) -> tuple[list[Job], list[tuple]]:
    """What to predict, and the rows of the manifest that have no series."""
    if places is None:
        return _all_jobs(found, cohort, secret)
    names = {row.patient_id: pseudonym(row.patient_id, secret) for row in places.rows}
    studies, refused = assign_series(places, found, cohort.modality, names)
    owner = {file: uid for uid, files in found.series.items() for file in files}
    jobs = [
        Job(
            s.patient_id,
            owner.get(s.files[0]) or _name(found, s.files[0]),
            s.files,
            cohort.modality,
            s.rows,
        )
        for s in studies
    ]
    rejected = [(f"{r.patient_id}/{r.unit}", cohort.modality, r.reason) for r in refused]
    if sentence := hints(refused):
        console.say(sentence)
    return jobs, rejected


def _all_jobs(found: Scan, cohort: Cohort, secret: bytes) -> tuple[list[Job], list[tuple]]:
    """Every series and picture there is, and those series of which not all was fetched."""
    headers = found.headers
    series = [
        Job(headers[uid].patient_id, uid, files, headers[uid].modality)
        for uid, files in sorted(found.series.items())
    ]
    rejected = [
        (_name_of(job, secret), job.modality, found.incomplete[job.uid])
        for job in series
        if job.uid in found.incomplete
    ]
    usable = [job for job in series if job.uid not in found.incomplete]
    pictures = found.pictures if cohort.region.reads_pictures else ()
    return [*usable, *(Job("", _name(found, f), (f,), cohort.modality) for f in pictures)], rejected


def _name_of(job: Job, secret: bytes) -> str:
    """The pseudonym of a series; without a PatientID it may be anyone's, and is a patient."""
    owner = pseudonym(job.patient_id or job.uid, secret)
    return f"{owner}_{pseudonym(job.uid, secret)[2:8]}"


def _name(found: Scan, picture: Path) -> str:
    """What stands for the identifiers of a picture, the same wherever its folder is."""
    return legible(found.place(picture).relative_to(found.folder).as_posix())


def _predict_all(
    saved: SavedModel, jobs: list[Job], rejected: list[tuple], out: Path, secret: bytes,
    results: DicomResults | None,
) -> tuple[list[pd.DataFrame], list[tuple]]:  # fmt: skip
    """Rows of each series, and those series of which no DICOM results were written."""
    predict = parallel_predict(saved.stage.network(AXIS), saved.stage.preprocess)
    tables, unwritten = [], []
    with console.progress_bar("Predicting series") as update:
        for done, job in enumerate(jobs):
            name = _name_of(job, secret)
            series, crops = _read(saved, job, name, rejected)
            if crops:
                table, pictures = _predict_series(saved, predict, crops, name)
                tables.append(table)
                picture = out / f"{name}.png"
                shown = _draw(saved, series, pictures, table, picture)
                try:
                    if results is not None:
                        found = _findings(saved, table)
                        results.write(job.files, found, picture, shown, name)
                except UserError as error:  # the predictions stand
                    reason = clean_reason(error, job.files, job.patient_id)
                    unwritten.append((name, job.modality, f"Predicted, but: {reason}"))
            update(done + 1, len(jobs), "")
    return tables, unwritten


def _tell(
    out: Path, done: int, rejected: list[tuple], unwritten: list[tuple], num_skipped: int
) -> None:
    """What came of it. Raises UserError where nothing was predicted or not all is written."""
    if not done:
        first = rejected[0][2] if rejected else "there is none"
        raise UserError(
            f"None of the {len(rejected)} series could be predicted; {out / 'rejected.csv'} gives "
            f"the reasons. The first: {first}"
        )
    console.say(
        f"{done} series predicted, {len(rejected)} refused (see rejected.csv), "
        f"{num_skipped} files passed over. Probabilities are in {out / 'predictions.csv'}, "
        "one picture per series beside it."
    )
    console.say("This is research software, not a medical device.")
    if unwritten:
        raise UserError(
            f"The DICOM results of {len(unwritten)} of these series were not written or not taken "
            f"by the server; {out / 'rejected.csv'} gives the reasons. The first: {unwritten[0][2]}"
        )


def _read(
    saved: SavedModel, job: Job, name: str, rejected: list[tuple]
) -> tuple[Series | None, dict[str, Crop]]:
    """A series and the crops of its units; what cannot be used is added to the rejected."""
    cohort, crops = saved.experiment.cohort, {}
    region = cohort.region

    def refuse(error: Exception) -> None:
        rejected.append((name, job.modality, clean_reason(error, job.files, job.patient_id)))

    try:
        series = read_images(region, job.files, cohort.modality, job.options)
        if job.rows is None:
            crops.update(region.extract(series))
    except Exception as error:  # a hostile file must not take the others with it
        refuse(error)
        return None, {}
    for row in job.rows or ():
        try:
            found = region.extract(series, row.place).items()
            crops |= {key: crop for key, crop in found if key.partition("/")[0] == row.unit}
        except Exception as error:
            refuse(error)
    return series, crops


@contextlib.contextmanager
def _all_or_nothing(out: Path) -> Iterator[None]:
    """The folder was empty; empty it again on the way out of a failure, so that it can be given
    a second time."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for entry in out.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        raise


@dataclasses.dataclass(frozen=True)
class Picture:
    """One image of a crop, as stored."""

    crop: Crop
    key: str
    """Of the crop, see `crops.Region.extract`."""
    centre: int
    volume: np.ndarray
    """int16 [rows, columns, slices]."""


def _predict_series(
    saved: SavedModel, predict, crops: dict[str, Crop], name: str
) -> tuple[pd.DataFrame, dict[str, Picture]]:
    """Rows of all levels for one series, and its pictures by unit."""
    cohort, evaluation = saved.experiment.cohort, saved.experiment.evaluation
    context, half = cohort.region.context_slices, saved.stage.model.num_slices // 2
    batch_size = _BATCH_PER_DEVICE * jax.local_device_count()
    rows, pictures = [], {}
    for key, crop in crops.items():
        unit, _, view = key.partition("/")
        for k, centre in enumerate(range(context, len(crop.positions_mm) - context)):
            unit_id = f"{name}/{unit}/{view}{k}"
            volume = np.moveaxis(crop.voxels[centre - half : centre + half + 1], 0, -1)
            pictures[unit_id] = Picture(crop, key, centre, volume)
            rows.append(
                {"patient_id": name, "unit_id": unit_id, "level": cohort.levels[0], "fold": 0}
            )
    volumes = np.stack([picture.volume for picture in pictures.values()])
    batches = [volumes[i : i + batch_size] for i in range(0, len(volumes), batch_size)]
    probabilities = np.mean(
        [predict_all(predict, member, batches, batch_size)[0] for member in saved.members], axis=0
    )
    table = pd.DataFrame(rows).assign(label=0, **probability_cells(cohort.classes, probabilities))
    table = pool(
        table,
        {f"{name}/{key.partition('/')[0]}": 0 for key in crops},
        {name: 0},
        unit=evaluation.unit_pool,
        patient=evaluation.patient_pool,
        levels=cohort.levels,
    )
    return table.assign(patient_id=name.rsplit("_", 1)[0]), pictures


def _called(saved: SavedModel, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """For each row the class that is spoken of and its probability: of two classes the second, of
    more the one that is called."""
    classes = saved.experiment.cohort.classes
    probs = table[probability_columns(classes)].to_numpy()
    if len(classes) == 2:
        return np.ones(len(table), int), probs[:, 0]
    return probs.argmax(axis=1), probs.max(axis=1)


def _findings(saved: SavedModel, table: pd.DataFrame) -> list[tuple[str, float, str, str]]:
    """Finding, probability, unit and what a unit is called, of all units and the patient."""
    classes, levels = saved.experiment.cohort.classes, saved.experiment.cohort.levels
    rows = table[table["level"] != levels[0]]
    called, score = _called(saved, rows)
    return [
        (classes[k], float(p), row.unit_id.rsplit("/", 1)[-1] if row.level == levels[1] else "",
         levels[1])
        for k, p, row in zip(called, score, rows.itertuples(), strict=True)
    ]  # fmt: skip


def _draw(
    saved: SavedModel, series: Series, pictures: dict[str, Picture], table: pd.DataFrame, path: Path
) -> str:
    """Draw the image with the surest finding, with the heat maps of all units that it shows.

    Gives the class whose evidence the maps show.
    """
    classes, levels = saved.experiment.cohort.classes, saved.experiment.cohort.levels
    images = table[table["level"] == levels[0]].reset_index(drop=True)
    called, score = _called(saved, images)
    surest = int(np.argmax(score + (called > 0)))  # a finding before none
    target, shown = int(called[surest]), pictures[images["unit_id"][surest]]
    position, direction = shown.crop.positions_mm[shown.centre], shown.crop.direction
    column = probability_columns(classes)[0 if len(classes) == 2 else target]
    units = table[table["level"] == levels[1]].set_index("unit_id")[column]
    maps, words = [], []
    for unit_id, picture in pictures.items():
        crop = picture.crop
        # Crops that the same slice goes through; mirrored ones lie in the same plane.
        if np.argmax(np.abs(crop.direction[2::3])) != np.argmax(np.abs(direction[2::3])):
            continue
        if abs(crop.positions_mm[picture.centre] - position) > 1e-3:
            continue
        volume = picture.volume
        cams = [explain(saved.stage, m, volume[None], target)[0] for m in saved.members]
        place = (crop.origin_mm, crop.spacing_mm, crop.direction)
        maps.append(crop_plane(np.mean(cams, axis=0), *place, stored_side=volume.shape[0]))
        unit = unit_id.rsplit("/", 1)[0]
        words.append(f"{unit.rsplit('/', 1)[1]} {units[unit]:.2f}")
    window = (saved.stage.preprocess.window_level, saved.stage.preprocess.window_width)
    axis = "xyz"[int(np.argmax(np.abs(direction[2::3])))]
    title = f"{path.stem}, {axis} {position:.1f} mm; probability of {classes[target]}: "
    with replacing(path) as temporary:
        plane = series_plane(series, direction, float(position))
        draw_overlay(plane, maps, window, title + ", ".join(words)).savefig(temporary)
    return classes[target]


def _with_whole_patients(saved: SavedModel, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of all series; where each is a view of its patient, one row of patients for all."""
    cohort, settings = saved.experiment.cohort, saved.experiment.evaluation
    _, unit, patient = cohort.levels
    if not cohort.region.views:
        return table
    probs = probability_columns(cohort.classes)
    views = table[table["level"] == unit].groupby("patient_id", sort=False)[probs]
    pooled = views.agg(settings.patient_pool).reset_index()
    first = table[table["level"] == patient].drop_duplicates("patient_id").drop(columns=probs)
    whole = first.merge(pooled, on="patient_id").assign(unit_id=lambda rows: rows["patient_id"])
    return pd.concat([table[table["level"] != patient], whole], ignore_index=True)


def _write(saved: SavedModel, out: Path, tables, rejected, patients: pd.DataFrame | None) -> None:
    if tables:
        table = _with_whole_patients(saved, pd.concat(tables))
        classes = saved.experiment.cohort.classes
        if len(classes) == 2:
            limits = table["level"].map(saved.thresholds).astype(float)
            # Without an operating point nobody is called healthy: the cell stays empty.
            positive = (table["prob"] >= limits).astype("Int64").where(limits.notna())
            table = table.assign(threshold=limits, positive=positive)
        else:
            table = table.assign(called=np.asarray(classes)[_called(saved, table)[0]])
        table = with_beside(saved, table, patients)
        with replacing(out / "predictions.csv") as temporary:
            table.drop(columns=["label", "fold"]).to_csv(temporary, index=False)
        with replacing(out / "predictions.json") as temporary:
            table.drop(columns=["label", "fold"]).to_json(temporary, orient="records", indent=1)
    with (
        replacing(out / "rejected.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(("series", "modality", "reason"))
        writer.writerows([tuple(map(csv_text, row)) for row in rejected])
