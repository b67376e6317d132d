"""`msk-jax predict`: new patients, from the checkpoint alone."""

import contextlib
import csv
import dataclasses
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from msk_jax import console
from msk_jax.data.build.records import clean_reason
from msk_jax.data.cohort.manifest import read_manifest
from msk_jax.data.images.nifti_place import NiftiForm
from msk_jax.data.privacy.pseudonyms import default_key_path, load_key, load_or_create_key
from msk_jax.data.regions.region import asked_options
from msk_jax.data.sources.scan import scan
from msk_jax.data.sources.source import opened
from msk_jax.errors import UserError
from msk_jax.explain.boxes import draw_boxes
from msk_jax.files import csv_text, replacing
from msk_jax.processes import processes
from msk_jax.study.asking_tables import askable, predict_table, with_estimators
from msk_jax.study.new_boxes import (
    CALLED,
    BoxedPicture,
    boxes_of_cases,
    class_names,
    drawing_of,
    write_boxes,
)
from msk_jax.study.new_patients import (
    Answer,
    Case,
    Job,
    findings,
    jobs_of,
    predict_cases,
    read_cases,
    whole_table,
    with_whole_patients,
)
from msk_jax.study.new_pictures import draw_beside, drawings_of
from msk_jax.study.package import SavedModel, load_model, model_folder
from msk_jax.study.patients import patients_of_manifest
from msk_jax.tasks.settings import Detection

if TYPE_CHECKING:
    from msk_jax.study.dicom_results import DicomResults

_DRAWN_HERE = 8
"""Pictures that are drawn sooner than processes for them are started."""
_DRAWING = min(4, os.cpu_count() or 1)
"""Processes that draw."""


def run(
    workdir: Path,
    dicom: str | Path | None,
    out: Path,
    key: Path | None,
    dicom_results: bool = False,
    server: str = "",
    manifest: Path | None = None,
    pictures: bool = True,
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
    if cohort.image is None:
        return _predict_table(saved, dicom, out, key, manifest)
    if dicom is None:
        raise UserError(f"{saved.experiment.name} reads images. Give --dicom.")
    if isinstance(saved.experiment.network_stage.task, Detection):
        if dicom_results or server:
            raise UserError(
                f"{saved.experiment.name} gives boxes, and DICOM results hold classes and heat "
                "maps. Leave --dicom-results and --store out."
            )
        asked_options(cohort.region, nifti_form, deshear)
        return _predict_boxes(saved, dicom, out, key, manifest, pictures)
    if (dicom_results or server) and not pictures:
        raise UserError("DICOM results hold the heat maps. Take --no-pictures away.")
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
            from msk_jax.study.dicom_results import DicomResults

            results = DicomResults.of(out, saved.experiment.name, model_folder(workdir), server)
        secret = load_key(key) if key else load_or_create_key(default_key_path(manifest))
        patients = None if places is None else patients_of_manifest(cohort, places, secret)
        saved = askable(saved, patients, console.TERMINAL)
        jobs, rejected = jobs_of(found, places, cohort, secret, options, console.TERMINAL)
        console.writable_folder(out, "--out")
        with _all_or_nothing(out):
            run_of = _Run(saved, out, secret, results, pictures)
            answers = run_of.predict(jobs)
            rejected += run_of.rejected
            _write(saved, out, answers, rejected + run_of.unwritten, patients)
    # Outside: what the sentences speak of stays.
    _tell(out, len(answers), rejected, run_of.unwritten, len(found.skipped), pictures)


def _predict_boxes(
    saved: SavedModel,
    dicom: str | Path,
    out: Path,
    key: Path | None,
    manifest: Path | None,
    pictures: bool,
) -> None:
    """Predict the boxes of every picture of a source, or of those of a manifest."""
    cohort = saved.experiment.cohort
    places = None if manifest is None else read_manifest(manifest, cohort, labelled=False)
    console.check_new_folder(out, "--out")
    for name in saved.estimators:
        console.say(f"The {name} model is not asked: new pictures are given boxes alone.")
    with opened(dicom) as source:
        found = scan(source.folder, files=source.files, unpacked=source.unpacked)
        secret = load_key(key) if key else load_or_create_key(default_key_path(manifest))
        jobs, rejected = jobs_of(found, places, cohort, secret, listener=console.TERMINAL)
        console.writable_folder(out, "--out")
        with _all_or_nothing(out):
            boxed = _boxes_of_jobs(saved, out, secret, jobs, rejected, pictures)
            if boxed:
                write_boxes(saved, out, boxed)
            _write_rejected(out, rejected)
    if not boxed:
        raise _none_predicted(out, rejected, "pictures")
    classes = class_names(saved)
    counts = sum(one.counts(len(classes)) for one in boxed)
    sums = ", ".join(f"{n} {name}" for n, name in zip(counts, classes, strict=True))
    beside = ", one picture each beside it" if pictures else ""
    console.say(
        f"{len(boxed)} pictures predicted, {len(rejected)} refused (see rejected.csv), "
        f"{len(found.skipped)} files passed over. Boxes with a score of at least {CALLED}: {sums}. "
        f"All boxes are in {out / 'boxes.csv'} and boxes.json, their numbers in counts.csv{beside}."
    )
    console.say("This is research software, not a medical device.")


def _boxes_of_jobs(
    saved: SavedModel,
    out: Path,
    secret: bytes,
    jobs: Sequence[Job],
    rejected: list[tuple[str, str, str]],
    pictures: bool,
) -> list[BoxedPicture]:
    """What is detected in each picture, drawn; adds those that cannot be read to `rejected`."""

    def noted() -> Iterator[Case]:
        for case in read_cases(jobs, saved, secret):
            rejected.extend(case.rejected)
            yield case

    boxed, drawn, unread = [], [], len(rejected)
    with (
        console.progress_bar("Predicting pictures") as update,
        _drawing_processes(len(jobs) if pictures else 0) as pool,
    ):
        for group in boxes_of_cases(saved, noted()):
            for one, picture in group:
                boxed.append(one)
                if pictures and pool is not None:
                    drawn.append(pool.submit(draw_boxes, drawing_of(saved, one, picture, out)))
                elif pictures:
                    draw_boxes(drawing_of(saved, one, picture, out))
            update(len(boxed) + len(rejected) - unread, len(jobs), "")
        for drawing in drawn:
            drawing.result()
    return boxed


def _predict_table(
    saved: SavedModel, dicom: str | Path | None, out: Path, key: Path | None, manifest: Path | None
) -> None:
    """Predict the patients of a manifest."""
    name, cohort = saved.experiment.name, saved.experiment.cohort
    if dicom is not None:
        raise UserError(f"{name} reads a table alone. Leave --dicom out, and give --manifest.")
    if manifest is None:
        raise UserError(
            f"{name} reads a table. Give --manifest with a row per patient: patient_id and "
            f"{', '.join(variable.name for variable in cohort.variables)}."
        )
    rows = read_manifest(manifest, cohort, labelled=False)
    console.check_new_folder(out, "--out")
    secret = load_key(key) if key else load_or_create_key(default_key_path(manifest))
    patients = patients_of_manifest(cohort, rows, secret)
    saved = askable(saved, patients, console.TERMINAL)
    if not saved.estimators:
        raise UserError(
            "Nothing can be predicted: the manifest lacks columns that every stage reads."
        )
    console.writable_folder(out, "--out")
    table = predict_table(saved, patients)
    for suffix, write in ((".csv", _as_csv), (".json", _as_json)):
        with replacing(out / f"predictions{suffix}") as temporary:
            write(table, temporary)
    console.say(f"{len(table)} patients predicted. Probabilities are in {out / 'predictions.csv'}.")
    console.say("This is research software, not a medical device.")


def _as_csv(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False)


def _as_json(table: pd.DataFrame, path: Path) -> None:
    table.to_json(path, orient="records", indent=1)


@dataclasses.dataclass(frozen=True)
class _Rows:
    """What is said of a series; its pixels are not kept."""

    table: pd.DataFrame
    by_member: tuple[pd.DataFrame, ...]


@dataclasses.dataclass
class _Run:
    """One call, and what became of its series."""

    saved: SavedModel
    out: Path
    secret: bytes
    results: "DicomResults | None"
    pictures: bool
    rejected: list[tuple[str, str, str]] = dataclasses.field(default_factory=list)
    unwritten: list[tuple[str, str, str]] = dataclasses.field(default_factory=list)
    """Series of which no DICOM results were written."""

    def predict(self, jobs: Sequence[Job]) -> list["_Rows"]:
        """Rows of each series; pictures and DICOM results are written."""
        tables, drawn = [], []
        with (
            console.progress_bar("Predicting series") as update,
            _drawing_processes(len(jobs) if self.pictures else 0) as pool,
        ):
            cases = self._noted(read_cases(jobs, self.saved, self.secret))
            for answers in predict_cases(self.saved, cases):
                tables += [_Rows(answer.table, answer.by_member) for answer in answers]
                if self.pictures:
                    drawings = drawings_of(self.saved, answers, self.out)
                    drawn += zip(answers, draw_beside(drawings, pool), strict=True)
                update(len(tables) + len(self.rejected), len(jobs), "")
            for answer, picture in drawn:
                self._write_results(answer, picture)
        return tables

    def _noted(self, cases: Iterator[Case]) -> Iterator[Case]:
        for case in cases:
            self.rejected += case.rejected
            yield case

    def _write_results(self, answer: Answer, picture: Future) -> None:
        shown, case = picture.result(), answer.case
        if self.results is None:
            return
        try:
            place = self.out / f"{case.name}.png"
            said = findings(self.saved, answer.table)
            self.results.write(case.job.files, said, place, shown, case.name)
        except UserError as error:  # the predictions stand
            reason = clean_reason(error, case.job.files, case.job.patient_id)
            self.unwritten.append((case.name, case.job.modality, f"Predicted, but: {reason}"))


def _drawing_processes(
    count: int,
) -> contextlib.AbstractContextManager[ProcessPoolExecutor | None]:
    """Processes for so many pictures; none where they would take longer to start."""
    return processes(_DRAWING) if count > _DRAWN_HERE else contextlib.nullcontext()


def _tell(
    out: Path,
    done: int,
    rejected: list[tuple],
    unwritten: list[tuple],
    num_skipped: int,
    pictures: bool,
) -> None:
    """What came of it. Raises UserError where nothing was predicted or not all is written."""
    if not done:
        raise _none_predicted(out, rejected, "series")
    beside = ", one picture per series beside it" if pictures else ""
    console.say(
        f"{done} series predicted, {len(rejected)} refused (see rejected.csv), "
        f"{num_skipped} files passed over. Probabilities are in {out / 'predictions.csv'}{beside}."
    )
    console.say("This is research software, not a medical device.")
    if unwritten:
        raise UserError(
            f"The DICOM results of {len(unwritten)} of these series were not written or not taken "
            f"by the server; {out / 'rejected.csv'} gives the reasons. The first: {unwritten[0][2]}"
        )


def _none_predicted(out: Path, rejected: Sequence[tuple], what: str) -> UserError:
    first = rejected[0][2] if rejected else "there is none"
    return UserError(
        f"None of the {len(rejected)} {what} could be predicted; {out / 'rejected.csv'} gives the "
        f"reasons. The first: {first}"
    )


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


def _write(
    saved: SavedModel,
    out: Path,
    answers: Sequence[_Rows],
    rejected: list[tuple],
    patients: pd.DataFrame | None,
) -> None:
    if answers:
        table = whole_table(saved, [rows.table for rows in answers])
        by_member = [
            with_whole_patients(saved, pd.concat(tables))
            for tables in zip(*(rows.by_member for rows in answers), strict=True)
        ]
        table = with_estimators(saved, table, by_member, patients)
        table = table.drop(columns=["label", "fold"])
        for suffix, write in ((".csv", _as_csv), (".json", _as_json)):
            with replacing(out / f"predictions{suffix}") as temporary:
                write(table, temporary)
    _write_rejected(out, rejected)


def _write_rejected(out: Path, rejected: Sequence[tuple]) -> None:
    with (
        replacing(out / "rejected.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(("series", "modality", "reason"))
        writer.writerows([tuple(map(csv_text, row)) for row in rejected])
