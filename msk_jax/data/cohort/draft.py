"""A first manifest from the headers of an archive, for a person to complete."""

import csv
from pathlib import Path

import pydicom

from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.cohort.manifest import OWN_PREFIX, known_columns
from msk_jax.data.dicom.headers import number, quiet, read_bounded, text
from msk_jax.data.dicom.mr import plane_of, recognise
from msk_jax.data.images.series import parse_age
from msk_jax.data.regions.radiograph import Whole
from msk_jax.data.sources.names import legible
from msk_jax.data.sources.scan import Scan
from msk_jax.files import csv_text, replacing

_OWN = ("modality", "description", "plane", "sequence", "confidence", "slice_mm", "files")
_FEW = 2
"""Units of which a draft has a row each, as of the two sides; of more, a person chooses."""


@quiet
def draft_rows(found: Scan, cohort: Cohort) -> list[dict[str, str]]:
    """What headers say of the series that may be images of this cohort, and of pictures.

    One row for each unit that every patient has, as for a left and a right joint; else one per
    series or file. Labels are empty. Columns that begin with `x_` help to choose, and `build`
    ignores them.
    """
    rows = []
    for uid, files in found.series.items():
        about = found.headers[uid]
        if not about.is_volume or about.modality not in cohort.modality.split("/"):
            continue
        header = _header(files[0])
        age = parse_age(text(header, "PatientAge"))
        sequence = recognise(header) if about.modality == "MR" else None
        rows.append(
            {
                "patient_id": about.patient_id,
                "study_uid": text(header, "StudyInstanceUID"),
                "series_uid": uid,
                # One that cannot be read stays as it is, for a person to correct.
                "age": text(header, "PatientAge") if age is None else f"{age:g}",
                "sex": text(header, "PatientSex").upper()[:1],
                "x_modality": about.modality,
                "x_description": about.description,
                "x_plane": plane_of(header),
                "x_sequence": sequence.weighting if sequence else "",
                "x_confidence": sequence.confidence if sequence else "",
                "x_slice_mm": f"{number(header, 'SliceThickness') or 0:g}",
                "x_files": str(about.num_files),
            }
        )
    rows += [
        {"path": legible(found.place(p).relative_to(found.folder).as_posix())}
        for p in found.pictures
    ]
    column, names = cohort.region.unit_column, cohort.region.unit_names
    if column and 0 < len(names) <= _FEW and not isinstance(cohort.region, Whole):
        rows = [row | {column: name} for row in rows for name in names]
    return rows


def draft_columns(cohort: Cohort) -> list[str]:
    """The columns of a cohort's manifest that a person fills in or corrects."""
    return [name for name in known_columns(cohort) if name not in ("patient_label", "split")]


def write_draft(path: Path, rows: list[dict[str, str]], cohort: Cohort) -> None:
    """Write rows as a CSV manifest; what comes from headers cannot become a formula."""
    columns = [*draft_columns(cohort), *(f"{OWN_PREFIX}{name}" for name in _OWN)]
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in rows:
            writer.writerow([csv_text(" ".join(row.get(name, "").split())) for name in columns])


def _header(file: Path) -> pydicom.Dataset:
    try:
        return read_bounded(file, stop_before_pixels=True)
    except Exception:
        return pydicom.Dataset()  # `scan` has read it far enough; the rest is unknown
