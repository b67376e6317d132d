"""The manifest of a cohort: a row per unit, checked as a whole before any pixel is read."""

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.sources.cells import Cells, read_table
from msk_jax.data.sources.names import existing, is_below
from msk_jax.errors import UserError

SPLITS = ("train", "validation", "test")
OWN_PREFIX = "x_"
_OF_PATIENT = ("sex", "age", "site", "patient_label", "split")
_MAX_LISTED = 20
_UNIT = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_TELLING = 3
"""Characters of a patient_id from which on it is not met in a name by chance."""


@dataclass(frozen=True)
class ManifestRow:
    """One unit of one patient, as the manifest states it."""

    row: int
    """Line of the file as a spreadsheet counts it: the header is row 1."""

    patient_id: str
    unit: str
    """Its name: a side, a level."""

    label: int
    patient_label: int
    grade: int = -1
    lesion_z_mm: tuple[tuple[float, float], ...] = ()
    """Closed intervals of patient z in which a lesion is visible."""

    place: Hashable = None
    """Where it is, as far as the manifest says; see `region.Region.place`."""

    series_uid: str = ""
    path: str = ""
    site: str = ""
    age: float | None = None
    sex: str = ""
    study_uid: str = ""
    split: str = ""
    variables: tuple[float | str, ...] = ()
    """In the order of `Cohort.variables`; NaN or '' where a cell is empty."""

    boxes: str = ""
    """File of annotations, relative to the manifest's folder; '' where the cohort has no boxes."""


@dataclass(frozen=True)
class Manifest:
    path: Path
    rows: tuple[ManifestRow, ...]
    has_lesions: bool
    """Whether any row gives `lesion_z_mm`; then an empty cell means 'no visible lesion'."""

    columns: tuple[str, ...]
    sha256: str

    def patient_labels(self) -> dict[str, int]:
        """Class by patient_id as the manifest has it."""
        return {row.patient_id: row.patient_label for row in self.rows}

    def boxes_digest(self) -> str:
        """SHA-256 over all files of annotations, which the manifest only names; one that is missing
        is the fault of its rows."""
        digest = hashlib.sha256()
        for name in sorted({row.boxes for row in self.rows}):
            file = existing(self.path.parent / name)
            content = file.read_bytes() if file.is_file() else b""
            digest.update(hashlib.sha256(content).digest())
        return digest.hexdigest()


def read_manifest(path: Path, cohort: Cohort, labelled: bool = True) -> Manifest:
    """Read and check a manifest, CSV or Parquet, one row per unit.

    Columns: `patient_id`, the unit's name (`side`: left or right; `level`: T12, ...), a column
    of the name of each field of classes; and where the images are: `series_uid`, or `path` relative
    to the DICOM folder, or neither (the one series of that PatientID). Those of the region: for
    joints `grade` (0 to 4), `lesion_z_mm` (closed intervals of patient z, `-112.5:-97.5;-90:-85`),
    `joint_top_mm` with `joint_bottom_mm`; for vertebrae `centre_x_mm`, `centre_y_mm`,
    `centre_z_mm`, all required. Optional: `patient_label` (default: the last class that any unit
    of the patient has), `study_uid`, `split` (one of `SPLITS`, of a whole patient), `site`, `age`
    (years), `sex`, the cohort's numbers and words, and columns of your own that begin with `x_`.
    Any other column is a fault.

    Args:
        path: the file.
        cohort: whose manifest it is.
        labelled: False where units are to be predicted: then the column of classes may be missing.

    Raises:
        UserError: every fault found, with its row, in one message.
    """
    path = Path(path)
    table, digest = read_table(path)
    _check_required(path, table.columns, cohort, labelled)
    label = cohort.label
    if label is not None and label.name not in table and not labelled:
        table = table.assign(**{label.name: label.classes[0]})
    faults = _unknown_columns(table.columns, cohort)
    rows = []
    for index, record in zip(table.index, table.to_dict("records"), strict=True):
        cells = Cells(int(index) + 2, record, faults)
        rows.append(_parse_row(cells, cohort, labelled))
    faults += _contradictions(rows, cohort) if rows else ["it has no rows"]
    if faults:
        raise UserError(_list_faults(path, faults))
    rows = _fill_patient_labels(rows)
    return Manifest(
        path=path,
        rows=tuple(rows),
        has_lesions=any(row.lesion_z_mm for row in rows),
        columns=tuple(table.columns),
        sha256=digest,
    )


def _check_required(path: Path, columns, cohort: Cohort, labelled: bool) -> None:
    required = [name for name in ("patient_id", cohort.unit_column) if name]
    label, other = cohort.label, ""
    rule = None if label is None else label.measured
    if label is not None and labelled and (rule is None or rule.column not in columns):
        required.append(label.name)
        other = f" (or {rule.column})" if rule else ""
    if cohort.boxes and labelled:
        required.append(cohort.boxes.name)
    missing = [name for name in required if name not in columns]
    if missing:
        raise UserError(
            f"The manifest {path} lacks the column(s) {', '.join(missing)}{other}; it has "
            f"{', '.join(columns)}. Columns are separated by commas, semicolons or tabs, and named "
            "in row 1."
        )


def known_columns(cohort: Cohort) -> list[str]:
    """What a manifest may have beside columns of its owner's (`x_...`)."""
    label = cohort.label
    of_label = [] if label is None else [label.name, "patient_label"]
    if label is not None and label.measured:
        of_label.insert(1, label.measured.column)
    of_image = ["study_uid", "series_uid", "path", *cohort.region.columns] if cohort.image else []
    return [
        *filter(None, ("patient_id", cohort.unit_column)),
        *of_label,
        *of_image,
        "split",
        "site",
        "age",
        "sex",
        *(variable.name for variable in cohort.variables),
        *([cohort.boxes.name] if cohort.boxes else []),
    ]


def _unknown_columns(columns, cohort: Cohort) -> list[str]:
    known = known_columns(cohort)
    faults = []
    for column in columns:
        if column not in known and not column.startswith((OWN_PREFIX, "Unnamed:")):
            near = get_close_matches(column, known, n=1)
            hint = f"; is {near[0]} meant?" if near else ""
            faults.append(
                f"column {column!r} is unknown{hint} (columns of your own begin with {OWN_PREFIX})"
            )
    missing = [v.name for v in cohort.variables if v.required and v.name not in columns]
    return faults + [f"column {name} is missing" for name in missing]


def _parse_row(cells: Cells, cohort: Cohort, labelled: bool) -> ManifestRow:
    if not cells.text("patient_id"):
        stated = cells.record["patient_id"]
        cells.fault(f"patient_id {stated!r} names nobody" if stated else "patient_id is empty")
    if cells.text("series_uid") and cells.text("path"):
        cells.fault("series_uid and path are both given; keep one")
    if cells.text("path") and not is_below(cells.text("path")):
        cells.fault("path must be relative to the DICOM folder and stay below it")
    age = cells.number("age", 0, 120, "years")
    grade = cells.number("grade")
    if grade is not None and grade not in range(5):
        cells.fault(f"grade {grade:g} is not one of 0, 1, 2, 3, 4")
    if cells.text("split") and cells.text("split") not in SPLITS:
        cells.fault(f"split {cells.text('split')!r} is not one of {', '.join(SPLITS)}")
    label, of_patient = _labels(cells, cohort, labelled)
    return ManifestRow(
        row=cells.row,
        patient_id=cells.text("patient_id"),
        unit=_unit(cells, cohort),
        label=label,
        patient_label=of_patient,
        grade=-1 if grade is None else int(grade),
        lesion_z_mm=_intervals(cells),
        place=cohort.region.place(cells) if cohort.image else None,
        series_uid=cells.text("series_uid"),
        path=cells.text("path"),
        site=cells.text("site"),
        age=age,
        sex=cells.text("sex"),
        study_uid=cells.text("study_uid"),
        split=cells.text("split"),
        variables=tuple(variable.read(cells) for variable in cohort.variables),
        # New pictures have nobody's boxes yet.
        boxes=cohort.boxes.read(cells) if cohort.boxes and labelled else "",
    )


def _unit(cells: Cells, cohort: Cohort) -> str:
    """The unit of a row: one of those that the cohort names, or, where it names none, any name that
    can stand beside a pseudonym."""
    column = cohort.unit_column
    if cohort.unit_names:
        if not column:
            return cohort.unit_names[0]
        return cohort.unit_names[cells.one_of(column, cohort.unit_names)]
    name, patient = cells.text(column), cells.text("patient_id")
    if not _UNIT(name):
        cells.fault(
            f"{column} {name!r} is no name of a {cohort.levels[1]}: give 1 to 64 letters, digits, "
            "hyphens and underscores"
        )
    elif len(patient) >= _TELLING and patient.lower() in name.lower():
        cells.fault(
            f"{column} {name!r} contains the patient_id, and would be stored as it is; give a name "
            "that says nothing of the patient, as s1"
        )
    return name


def _labels(cells: Cells, cohort: Cohort, labelled: bool) -> tuple[int, int]:
    """The label of a row and the one that it states of its patient, -1 where it states none; 0 for
    all where the cohort has no classes."""
    label = cohort.label
    if label is None:
        return 0, -1
    if labelled:
        value = label.read(cells)
    else:
        value = cells.one_of(label.name, label.classes, label.refused)
    if not cells.text("patient_label"):
        return value, -1
    return value, cells.one_of("patient_label", label.classes, label.refused)


def _intervals(cells: Cells) -> tuple[tuple[float, float], ...]:
    found = []
    for part in filter(None, (p.strip() for p in cells.text("lesion_z_mm").split(";"))):
        try:
            low, high = (float(end) for end in part.split(":"))
        except ValueError:
            low = high = math.nan
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            cells.fault(f"lesion_z_mm {part!r} is not an interval low:high in mm")
        else:
            found.append((low, high))
    return tuple(found)


def _contradictions(rows: list[ManifestRow], cohort: Cohort) -> list[str]:
    """Faults that only several rows together show."""
    faults = []
    units, sources = defaultdict(list), defaultdict(set)
    given = {bool(row.split) for row in rows}
    if len(given) > 1:
        empty = [row.row for row in rows if not row.split]
        faults.append(f"row(s) {_join(empty[:10])}: split is empty though others have one")
    stated = defaultdict(lambda: defaultdict(dict))
    variables = [variable.name for variable in cohort.variables]
    per_unit = {variable.name for variable in cohort.variables if variable.per_unit}
    for row in rows:
        units[row.patient_id, row.unit].append(row.row)
        for column in ("series_uid", "path"):
            if getattr(row, column):
                sources[column, getattr(row, column)].add((row.patient_id, row.row))
        told = {name: getattr(row, name) for name in _OF_PATIENT}
        for name, value in (told | dict(zip(variables, row.variables, strict=True))).items():
            # NaN is none.
            if name not in per_unit and value not in ("", None, -1) and value == value:
                stated[name][row.patient_id].setdefault(value, row.row)
    for (patient, unit), numbers in units.items():
        if len(numbers) > 1:
            faults.append(
                f"rows {_join(numbers)}: {_unit_in_words(unit, cohort)} {patient} is given twice"
            )
    for name, by_patient in stated.items():
        for patient, values in by_patient.items():
            if len(values) > 1:
                faults.append(
                    f"rows {_join(values.values())}: patient {patient} has more than one {name}"
                )
    for (column, _), users in sources.items():
        if len({patient for patient, _ in users}) > 1:
            numbers = sorted(number for _, number in users)
            faults.append(f"rows {_join(numbers)}: one {column} is given for several patients")
    return faults


def _unit_in_words(unit: str, cohort: Cohort) -> str:
    """A unit of a patient, before the patient's name; nothing where a patient is the unit."""
    return f"the {unit} {cohort.levels[1]} of" if len(cohort.levels) > 1 else "patient"


def _join(numbers) -> str:
    return ", ".join(str(number) for number in numbers)


def _list_faults(path: Path, faults: list[str]) -> str:
    listed = "\n".join(f"  {fault}" for fault in faults[:_MAX_LISTED])
    rest = len(faults) - _MAX_LISTED
    more = f"\n  and {rest} more" if rest > 0 else ""
    return (
        f"The manifest {path} has {len(faults)} fault(s). Correct them and run again.\n"
        f"{listed}{more}"
    )


def _fill_patient_labels(rows: list[ManifestRow]) -> list[ManifestRow]:
    """Give every row its patient's label: as stated, else the highest class of the units."""
    stated, highest = {}, defaultdict(int)
    for row in rows:
        if row.patient_label >= 0:
            stated[row.patient_id] = row.patient_label
        highest[row.patient_id] = max(highest[row.patient_id], row.label)
    return [
        replace(row, patient_label=stated.get(row.patient_id, highest[row.patient_id]))
        for row in rows
    ]
