"""From a manifest row and a scanned folder to records, or the reason there are none.

A record is one crop of one unit: a joint, or one plane of a vertebra.
"""

import functools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from msk_jax.data.build.boxes import boxes_of
from msk_jax.data.build.series_index import SeriesIndex
from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.cohort.manifest import Manifest, ManifestRow
from msk_jax.data.dicom.headers import quiet, read_header
from msk_jax.data.images.pictures import is_picture
from msk_jax.data.images.series import Series
from msk_jax.data.images.volume import ReadOptions
from msk_jax.data.quality.grading import QualityLimits
from msk_jax.data.quality.measure import measure, missing_tags
from msk_jax.data.regions.region import Crop, read_images
from msk_jax.data.sources.scan import Scan
from msk_jax.errors import SeriesError, UserError


@dataclass(frozen=True)
class Study:
    """The rows of one patient that share one series."""

    patient_id: str
    """As the manifest has it: identifying."""

    pseudonym: str
    rows: tuple[ManifestRow, ...]
    files: tuple[Path, ...]
    options: ReadOptions | None = None
    """See `region.asked_options`."""


@dataclass(frozen=True)
class Rejection:
    """A unit that could not be used."""

    row: int
    patient_id: str
    """Pseudonym."""

    unit: str
    reason: str
    hint: str = ""
    """What the reason leaves out because it names files: for the screen alone."""


@dataclass(frozen=True)
class ScanFacts:
    """What the cohort table says about a scan; identifies no one."""

    pixel_mm: float | None
    """None: unknown."""

    slice_spacing_mm: float
    num_slices: int
    patient_id: str = ""
    """Pseudonym."""

    noise: float = 0.0
    """See `measure.Quality`."""

    sharpness: float = 0.0
    clipped: float = 0.0
    coverage_mm: float | None = 0.0
    """Along z; None: unknown."""

    missing_tags: str = ""
    """What the header lacks, see `measure.missing_tags`, separated by spaces."""

    noise_share: float = 0.0
    completeness: float = 1.0
    """Share of the units of the manifest's rows that could be cut from the scan."""

    def figures(self) -> dict[str, float]:
        """What `grading.grade_scan` grades; of missing attributes, their number."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(QualityLimits)}
        return {**values, "missing_tags": len(self.missing_tags.split())}


def assign_series(
    manifest: Manifest, found: Scan, modality: str, pseudonyms: dict[str, str]
) -> tuple[list[Study], list[Rejection]]:
    """Give every manifest row its files.

    Args:
        manifest: checked rows.
        found: what the DICOM folder holds.
        modality: modality of the cohort, to choose the series where the manifest names none.
        pseudonyms: by patient_id.

    Returns:
        Studies in order of pseudonym, and the rows without a usable series.
    """
    index = SeriesIndex(found, modality)
    known = {row.patient_id for row in manifest.rows}
    groups: dict[tuple, list[ManifestRow]] = defaultdict(list)
    uids: dict[tuple, tuple[str, ...]] = {}
    rejected = []
    for row in manifest.rows:
        try:
            found_uids, files = index.resolve(row)
            index.check_owner(row, found_uids, known)
        except SeriesError as error:
            rejection = reject(row, pseudonyms[row.patient_id], str(error))
            rejected.append(replace(rejection, hint=getattr(error, "hint", "")))
            continue
        groups[row.patient_id, files].append(row)
        uids[row.patient_id, files] = found_uids
    shared = _shared_identities(found, uids)
    studies = []
    for (patient_id, files), rows in groups.items():
        name = pseudonyms[patient_id]
        if (patient_id, files) in shared:
            reason = (
                "This series, or another of the same PatientID, is given to more than one patient "
                "of the manifest. Give both the same patient_id, so that one person "
                "cannot be in two folds."
            )
            rejected += [reject(row, name, reason) for row in rows]
        else:
            studies.append(Study(patient_id, name, tuple(rows), files))
    return sorted(studies, key=lambda s: (s.pseudonym, s.rows[0].row)), rejected


def reject(row: ManifestRow, name: str, reason: str) -> Rejection:
    """A rejection whose reason is one line and does not name the patient."""
    reason = clean_reason(reason, (), row.patient_id)
    return Rejection(row.row, name, row.unit, reason)


def read_study(
    study: Study, cohort: Cohort, manifest: Manifest
) -> tuple[list[dict], list[Rejection], ScanFacts | None]:
    """Read one series and crop its units; no fault of the study gets past this function.

    Returns:
        Records (see `record`), rejections, and facts of the scan if a unit could be used.
    """
    try:
        series = read_images(cohort.region, study.files, cohort.modality, study.options)
    except Exception as error:
        reason = clean_reason(error, study.files, study.patient_id)
        return [], [reject(row, study.pseudonym, reason) for row in study.rows], None
    records, rejected = [], []
    at = functools.cache(lambda place: cohort.region.extract(series, place))
    for row in study.rows:
        try:
            boxes = boxes_of(row, study.files, series, cohort, manifest.path.parent)
            records += [
                record(row, study.pseudonym, name, crop, series, cohort, manifest) | boxes
                for name, crop in at(row.place).items()
                if name.partition("/")[0] == row.unit
            ]
        except Exception as error:
            reason = clean_reason(error, study.files, study.patient_id)
            rejected.append(reject(row, study.pseudonym, reason))
    used = 1 - len(rejected) / len(study.rows)
    return records, rejected, _facts(study, series, used) if records else None


def _facts(study: Study, series: Series, completeness: float) -> ScanFacts:
    voxels, spacing_mm = series.voxels, series.spacing_mm
    if series.is_colour:
        voxels = np.rint(voxels.mean(0, keepdims=True)).astype(np.int16)
    elif series.is_projection:
        voxels, spacing_mm = voxels.transpose(1, 0, 2), (spacing_mm[0], spacing_mm[2], 0.0)
    found = measure(voxels, spacing_mm)
    coverage_mm = found.coverage_mm[1]
    if not series.is_projection:
        coverage_mm = float(np.abs(series.direction[6:]) @ found.coverage_mm)
    return ScanFacts(
        spacing_mm[0] if series.spacing_known else None,
        spacing_mm[2],
        len(voxels),
        study.pseudonym,
        round(found.noise, 2),
        round(found.sharpness, 4),
        round(found.clipped, 6),
        round(coverage_mm, 1) if series.spacing_known else None,
        "" if is_picture(study.files[0]) else _missing(study.files[0]),
        round(found.noise_share, 4),
        round(completeness, 4),
    )


def _missing(file: Path) -> str:
    return " ".join(quiet(missing_tags)(read_header(file)))


def record(
    row: ManifestRow,
    patient: str,
    name: str,
    crop: Crop,
    series: Series,
    cohort: Cohort,
    manifest: Manifest,
) -> dict:
    """The features of one crop, called `name` by its region: all that ever leaves the DICOM files.

    Site, age and sex are kept as far as `cohort.keep` names them; age and sex come from the DICOM
    header where the manifest has no such column.
    """
    context = cohort.region.context_slices
    if manifest.has_lesions:
        shown = in_intervals(crop.positions_mm, row.lesion_z_mm, crop.spacing_mm[2] / 2)
        labels = stack_labels(shown, context) * max(row.label, 1)
    else:
        labels = np.full(len(crop.positions_mm) - 2 * context, row.label, np.int64)
    age = row.age if "age" in manifest.columns else series.age_years
    sex = row.sex if "sex" in manifest.columns else series.sex
    return {
        "volume": crop.voxels,
        "positions_mm": crop.positions_mm,
        "origin_mm": np.asarray(crop.origin_mm, np.float32),
        "spacing_mm": np.asarray(crop.spacing_mm, np.float32),
        "direction": np.asarray(crop.direction, np.float32),
        "stack_labels": labels,
        "unit_id": f"{patient}/{row.unit}",
        "unit": row.unit,
        "view": name.partition("/")[2],
        "grade": row.grade,
        **_of_patient(row, patient, age, sex, cohort),
    }


def table_record(row: ManifestRow, patient: str, cohort: Cohort) -> dict:
    """The features of a patient of whom there is a row and no image."""
    return {"unit_id": patient, **_of_patient(row, patient, row.age, row.sex, cohort)}


def _of_patient(
    row: ManifestRow, patient: str, age: float | None, sex: str | None, cohort: Cohort
) -> dict:
    """What a record holds beside an image."""
    return {
        "label": row.label,
        "patient_label": row.patient_label,
        "patient_id": patient,
        "site": row.site if "site" in cohort.keep else "",
        "sex": (sex or "") if "sex" in cohort.keep else "",
        "age": np.float32(np.nan if age is None or "age" not in cohort.keep else age),
        **{
            variable.name: variable.stored(value)
            for variable, value in zip(cohort.variables, row.variables, strict=True)
        },
    }


def in_intervals(
    z_mm: np.ndarray, intervals: Iterable[tuple[float, float]], tolerance_mm: float
) -> np.ndarray:
    """bool [S]: slices whose position lies within a closed interval, give or take a tolerance."""
    inside = np.zeros(len(z_mm), bool)
    for low, high in intervals:
        inside |= (z_mm >= low - tolerance_mm) & (z_mm <= high + tolerance_mm)
    return inside


def stack_labels(slice_labels: np.ndarray, context: int) -> np.ndarray:
    """int64 [S - 2 context]: 1 where any slice within `context` of the stack's centre is 1."""
    windows = np.lib.stride_tricks.sliding_window_view(slice_labels, 2 * context + 1)
    return windows.any(axis=1).astype(np.int64)


def _shared_identities(found: Scan, uids: dict[tuple, tuple[str, ...]]) -> set[tuple]:
    """Studies whose DICOM PatientID, or file, occurs under more than one patient of the manifest.

    Where all the files say the same PatientID they are anonymised, and it proves nothing.
    """
    owners, users = defaultdict(set), defaultdict(set)
    for (patient_id, files), theirs in uids.items():
        for file in files:
            users[file].add(patient_id)
        for uid in theirs:
            owners[found.headers[uid].patient_id].add(patient_id)
            users[uid].add(patient_id)
    # One series is one patient's, whatever its header says.
    same_series = {
        (patient_id, files)
        for (patient_id, files), theirs in uids.items()
        if any(len(users[shared]) > 1 for shared in (*theirs, *files))
    }
    owners.pop("", None)
    if len(owners) < 2:
        return same_series
    return same_series | {
        (patient_id, files)
        for (patient_id, files), theirs in uids.items()
        if any(len(owners.get(found.headers[uid].patient_id, ())) > 1 for uid in theirs)
    }


def summarise(rejected: Iterable[Rejection], limit: int = 3) -> str:
    """The most frequent reasons as a sentence or two for a message."""
    rejected = list(rejected)
    counts = Counter(rejection.reason for rejection in rejected)
    listed = " ".join(f"[{count} x] {reason}" for reason, count in counts.most_common(limit))
    more = f" And {len(counts) - limit} other reason(s)." if len(counts) > limit else ""
    return f"{len(rejected)} manifest row(s) were rejected: {listed}{more}" if rejected else ""


def explain(rejected: list[Rejection]) -> str:
    """`summarise` and `hints`, for the screen alone."""
    return f"{summarise(rejected)} {hints(rejected)}".strip()


def hints(rejected: Iterable[Rejection], limit: int = 3) -> str:
    """What the reasons leave out because it names files, of the first rows, in one sentence."""
    named = [f"row {r.row}: {r.hint}" for r in rejected if r.hint]
    more = f"; and {len(named) - limit} more" if len(named) > limit else ""
    return f"Of these, {'; '.join(named[:limit])}{more}." if named else ""


def screen_notes(
    studies: Iterable[Study], rejected: Iterable[Rejection], found: Scan
) -> tuple[str, ...]:
    """Sentences for the screen alone: `hints`, and where the end of a series may be missing."""
    return tuple(filter(None, (_shortfalls(studies, found), hints(rejected))))


def _shortfalls(studies: Iterable[Study], found: Scan, limit: int = 3) -> str:
    """A sentence for studies of whose series the headers state more images than there are.

    A gap within a series is refused; that an end is missing, only a count can tell.
    """
    owner = {file: uid for uid, files in found.series.items() for file in files}
    short = []
    for study in studies:
        stated = found.headers[owner[study.files[0]]].num_stated if study.files[0] in owner else 0
        if stated > len(study.files):
            rows = ", ".join(str(row.row) for row in study.rows[:limit])
            short.append(f"row {rows}: {len(study.files)} of {stated}")
    if not short:
        return ""
    more = f"; and {len(short) - limit} more" if len(short) > limit else ""
    return (
        f"The headers of {len(short)} series state more images than there are files "
        f"({'; '.join(short[:limit])}{more}): an end of the series may be missing. They were used "
        "all the same; compare with the archive."
    )


def clean_reason(error: Exception | str, files: tuple[Path, ...], patient_id: str) -> str:
    """Why a series could not be used, in one line that names nobody.

    File names and folders of an export often carry the patient's name: a file is called by its
    place among the series' files in order of name.
    """
    text = str(error)
    if not isinstance(error, UserError | str):
        text = f"The series could not be read ({type(error).__name__}: {text})."
    for folder in sorted({str(file.parent) for file in files}, key=len, reverse=True):
        text = text.replace(f"{folder}/", "")
    ordered = sorted({file.name for file in files})
    for name in sorted(ordered, key=len, reverse=True):
        place = f"file {ordered.index(name) + 1} of {len(ordered)} by name"
        text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", place, text)
    if len(patient_id) >= 4:  # a shorter identifier would hit numbers at random
        text = text.replace(patient_id, "the patient")
    return " ".join(text.split())
