"""A cohort: what its manifest may say, checked as a whole before any pixel is read."""

import math
import re
from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

from msk_jax.data.quality.grading import QualityLimits
from msk_jax.data.regions.radiograph import RadiographRegion
from msk_jax.data.regions.sacroiliac import SacroiliacRegion
from msk_jax.data.regions.vertebra import VertebraRegion
from msk_jax.data.regions.volume import VolumeRegion
from msk_jax.data.sources.cells import Cells, read_table
from msk_jax.data.sources.names import tidy
from msk_jax.errors import UserError

SPLITS = ("train", "validation", "test")
AnyRegion = SacroiliacRegion | VertebraRegion | RadiographRegion | VolumeRegion
"""Each is a `region.Region`."""

OWN_PREFIX = "x_"
_OF_PATIENT = ("sex", "age", "site", "patient_label", "split")
_MAX_LISTED = 20


@dataclass(frozen=True)
class ClinicalVariable:
    """A number, or a word, about a patient that the manifest states beside the image."""

    name: str
    """Its column."""

    unit: str = ""
    low: float | None = None
    high: float | None = None
    """What lies outside is a fault of the manifest; none: there is no bound."""

    required: bool = False
    words: tuple[str, ...] = ()
    """What it may be, where it is no number."""


@dataclass(frozen=True)
class MeasuredLabel:
    """A label that follows from a number of the manifest, the lower the graver."""

    column: str
    cuts: tuple[float, ...]
    """From the harmless side on: a value at or below a cut belongs to the next class."""

    low: float
    high: float
    """What lies outside is a fault of the manifest."""

    def label(self, cells: Cells) -> int | None:
        """Place among the classes; None where the cell is empty or, with a fault, no number."""
        value = cells.number(self.column, self.low, self.high)
        return None if value is None else sum(value <= cut for cut in self.cuts)


@dataclass(frozen=True)
class Cohort:
    """What a published system was trained on, as far as files go."""

    name: str = "sacroiliitis"
    """Name of the tfds data set."""

    modality: str = "CT"
    """As the headers have it; of several that will do, `CR/DX`."""

    classes: tuple[str, ...] = ("normal", "sacroiliitis")
    """Labels of the manifest, the negative one first, the gravest last."""

    ordinal: bool = False
    """Whether the classes are steps of one scale, as grades: it is then measured how many of them
    a call is off."""

    levels: tuple[str, str, str] = ("slice", "joint", "patient")
    """What an image, the unit that images show, and the one whose units they are are called."""

    region: AnyRegion = field(default_factory=SacroiliacRegion)
    measured: MeasuredLabel | None = None
    """What may stand in the manifest in place of `label`."""

    refused: Mapping[str, str] = field(default_factory=dict)
    """Words that are often taken for a label, and why they are none."""

    keep: tuple[str, ...] = ("site", "age", "sex")
    """What is kept about a patient beside the label, of `site`, `age`, `sex`."""

    clinical: tuple[ClinicalVariable, ...] = ()
    """Further columns of the manifest, which are checked and kept beside the label."""

    limits: QualityLimits = field(default_factory=QualityLimits)
    """Of the grades of a scan's quality."""

    training_site: str = ""
    """Where the patients of the folds are from: those of any other site are in no fold, and each
    site is a test set of its own. '': sites play no part."""


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
    clinical: tuple[float | str, ...] = ()
    """In the order of the cohort's variables; NaN or '' where a cell is empty."""


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


def read_manifest(path: Path, cohort: Cohort, labelled: bool = True) -> Manifest:
    """Read and check a manifest, CSV or Parquet, one row per unit.

    Columns: `patient_id`, the unit's name (`side`: left or right; `level`: T12, ...), `label` (one
    of the cohort's classes); and where the images are: `series_uid`, or `path` relative to the
    DICOM folder, or neither (the one series of that PatientID). Those of the region: for joints
    `grade` (0 to 4), `lesion_z_mm` (closed intervals of patient z, `-112.5:-97.5;-90:-85`),
    `joint_top_mm` with `joint_bottom_mm`; for vertebrae `centre_x_mm`, `centre_y_mm`,
    `centre_z_mm`, all required. Optional: `patient_label` (default: the last class that any unit
    of the patient has), `study_uid`, `split` (one of `SPLITS`, of a whole patient), `site`, `age`
    (years), `sex`, the cohort's clinical variables, and columns of your own that begin with `x_`.
    Any other column is a fault.

    Args:
        path: the file.
        cohort: whose manifest it is.
        labelled: False where units are to be predicted: then `label` may be missing.

    Raises:
        UserError: every fault found, with its row, in one message.
    """
    path = Path(path)
    table, digest = read_table(path)
    _check_required(path, table.columns, cohort, labelled)
    if "label" not in table and not labelled:
        table = table.assign(label=cohort.classes[0])
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
    required = [name for name in ("patient_id", cohort.region.unit_column) if name]
    measured = cohort.measured is not None and cohort.measured.column in columns
    if labelled and not measured:
        required.append("label")
    missing = [name for name in required if name not in columns]
    if missing:
        other = f" (or {cohort.measured.column})" if cohort.measured and labelled else ""
        raise UserError(
            f"The manifest {path} lacks the column(s) {', '.join(missing)}{other}; it has "
            f"{', '.join(columns)}. Columns are separated by commas, semicolons or tabs, and named "
            "in row 1."
        )


def known_columns(cohort: Cohort) -> list[str]:
    """What a manifest may have beside columns of its owner's (`x_...`)."""
    measured = cohort.measured.column if cohort.measured else ""
    return [
        *filter(None, ("patient_id", cohort.region.unit_column, "label", measured)),
        "patient_label",
        "study_uid",
        "series_uid",
        "path",
        *cohort.region.columns,
        "split",
        "site",
        "age",
        "sex",
        *(variable.name for variable in cohort.clinical),
    ]


def _unknown_columns(columns, cohort: Cohort) -> list[str]:
    clinical, known = cohort.clinical, known_columns(cohort)
    faults = []
    for column in columns:
        if column not in known and not column.startswith((OWN_PREFIX, "Unnamed:")):
            near = get_close_matches(column, known, n=1)
            hint = f"; is {near[0]} meant?" if near else ""
            faults.append(
                f"column {column!r} is unknown{hint} (columns of your own begin with {OWN_PREFIX})"
            )
    missing = [v.name for v in clinical if v.required and v.name not in columns]
    return faults + [f"column {name} is missing" for name in missing]


def _parse_row(cells: Cells, cohort: Cohort, labelled: bool) -> ManifestRow:
    classes, region, refused = cohort.classes, cohort.region, cohort.refused
    if not cells.text("patient_id"):
        stated = cells.record["patient_id"]
        cells.fault(f"patient_id {stated!r} names nobody" if stated else "patient_id is empty")
    if cells.text("series_uid") and cells.text("path"):
        cells.fault("series_uid and path are both given; keep one")
    if cells.text("path") and not _is_below(cells.text("path")):
        cells.fault("path must be relative to the DICOM folder and stay below it")
    age = cells.number("age", 0, 120, "years")
    grade = cells.number("grade")
    if grade is not None and grade not in range(5):
        cells.fault(f"grade {grade:g} is not one of 0, 1, 2, 3, 4")
    if cells.text("split") and cells.text("split") not in SPLITS:
        cells.fault(f"split {cells.text('split')!r} is not one of {', '.join(SPLITS)}")
    unit = region.unit_names[0]
    if region.unit_column:
        unit = region.unit_names[cells.one_of(region.unit_column, region.unit_names)]
    label = _label(cells, cohort) if labelled else cells.one_of("label", classes, refused)
    stated = -1
    if cells.text("patient_label"):
        stated = cells.one_of("patient_label", classes, refused)
    return ManifestRow(
        row=cells.row,
        patient_id=cells.text("patient_id"),
        unit=unit,
        label=label,
        patient_label=stated,
        grade=-1 if grade is None else int(grade),
        lesion_z_mm=_intervals(cells),
        place=region.place(cells),
        series_uid=cells.text("series_uid"),
        path=cells.text("path"),
        site=cells.text("site"),
        age=age,
        sex=cells.text("sex"),
        study_uid=cells.text("study_uid"),
        split=cells.text("split"),
        clinical=tuple(_clinical(cells, variable) for variable in cohort.clinical),
    )


def _label(cells: Cells, cohort: Cohort) -> int:
    """As the reader of the images named it, or as it was measured; the two must agree."""
    named = cells.text("label")
    measured = cohort.measured.label(cells) if cohort.measured else None
    if measured is None:
        return cells.one_of("label", cohort.classes, cohort.refused)
    if named and cells.one_of("label", cohort.classes, cohort.refused) != measured:
        rule = cohort.measured
        cells.fault(
            f"label {named} and {rule.column} {cells.text(rule.column)} contradict each other: "
            f"that is {cohort.classes[measured]}"
        )
    return measured


def _clinical(cells: Cells, variable: ClinicalVariable) -> float | str:
    text = cells.text(variable.name)
    if not text:
        if variable.required:
            cells.fault(f"{variable.name} is empty")
        return "" if variable.words else math.nan
    if variable.words:
        return variable.words[cells.one_of(variable.name, variable.words)]
    low = -math.inf if variable.low is None else variable.low
    high = math.inf if variable.high is None else variable.high
    value = cells.number(variable.name, low, high, variable.unit)
    return math.nan if value is None else value


def _is_below(path: str) -> bool:
    plain = path.replace("\\", "/")
    is_absolute = plain.startswith("/") or re.match(r"[A-Za-z]:/", tidy(plain))
    return not is_absolute and ".." not in plain.split("/")


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
    clinical = [variable.name for variable in cohort.clinical]
    for row in rows:
        units[row.patient_id, row.unit].append(row.row)
        for column in ("series_uid", "path"):
            if getattr(row, column):
                sources[column, getattr(row, column)].add((row.patient_id, row.row))
        told = {name: getattr(row, name) for name in _OF_PATIENT}
        for name, value in (told | dict(zip(clinical, row.clinical, strict=True))).items():
            if value not in ("", None, -1) and value == value:  # NaN is none
                stated[name][row.patient_id].setdefault(value, row.row)
    for (patient, unit), numbers in units.items():
        if len(numbers) > 1:
            faults.append(
                f"rows {_join(numbers)}: the {unit} {cohort.levels[1]} of {patient} is given twice"
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
