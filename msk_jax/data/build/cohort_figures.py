"""The figures of the cohort table: counts, ages and scanner facts that identify no one."""

import csv
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from msk_jax.data.build.records import ScanFacts
from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.fields import Boxes
from msk_jax.data.quality.grading import GRADES, QualityLimits, ScanGrade

QUALITY = ("noise", "noise_share", "sharpness", "clipped", "coverage_mm", "completeness")


@dataclass(frozen=True)
class GradedScan:
    """A scan that was measured."""

    facts: ScanFacts
    grade: ScanGrade
    used: bool
    """Whether it is in the shards; False where its quality was refused."""

    def row(self) -> dict:
        """Its row of `quality.csv`; a figure without limits has no grade."""
        names = [entry.name for entry in fields(QualityLimits)]
        return {
            **asdict(self.facts),
            **{f"grade_{name}": self.grade.by_figure.get(name, "") for name in names},
            "quality": GRADES[self.grade.overall],
            "used": "yes" if self.used else "no",
        }


def write_quality(path: Path, scans: list[GradedScan]) -> None:
    """Write what was measured of the scans, at least one, as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(scans[0].row()))
        writer.writeheader()
        writer.writerows(scan.row() for scan in scans)


def cohort_table(cohort: Cohort, records: list[dict], scans: list[GradedScan]) -> dict:
    """Describe the usable part of a cohort.

    Args:
        cohort: gives the class names.
        records: without their volumes.
        scans: those that were measured; those of refused quality are only counted.

    Returns:
        A JSON-able dict: `levels`, the names of image, unit and patient; `by_label`, counts of the
        classes at each of them; `sites` and `sex`, patients, with `by_site` and `by_sex`
        splitting them by class; `boxes`, of each class, and pictures without any; `age`, quartiles
        over patients, with `age_by_label`; `scans`, `pixel_mm`, `spacing_mm` (between slices) and
        `num_slices` of the CT as lowest and highest; `quality`, the same of what was measured, how
        many headers lack which attribute, how many scans have which grade, over all and for each
        figure, and how many were refused.
    """
    patients = list({record["patient_id"]: record for record in records}.values())
    units = list({record["unit_id"]: record for record in records}.values())
    labels_of = [[record["patient_label"] for record in patients]]
    if cohort.image is not None:
        stacks = np.concatenate([record["stack_labels"] for record in records])
        labels_of = [stacks, [record["label"] for record in units], *labels_of]
    return {
        "name": cohort.name,
        "modality": cohort.modality,
        "levels": list(cohort.levels),
        "by_label": {
            level: _count(cohort.classes, labels)
            for level, labels in zip(cohort.levels, labels_of, strict=True)
        },
        **_people(cohort, patients),
        **({} if cohort.boxes is None else {"boxes": _boxes(cohort.boxes, records)}),
        **(_scanned(scans) if cohort.image is not None else {}),
    }


def _scanned(scans: list[GradedScan]) -> dict:
    """What scans are in use, and how good they are."""
    facts = [scan.facts for scan in scans if scan.used]
    return {
        "scans": len(facts),
        "pixel_mm": _range(fact.pixel_mm for fact in facts),
        "spacing_mm": _range(fact.slice_spacing_mm for fact in facts),
        "num_slices": _range(fact.num_slices for fact in facts),
        "quality": _quality(scans),
    }


def _boxes(field: Boxes, records: list[dict]) -> dict:
    """Boxes of each class, and how many pictures have none."""
    classes = [record[field.class_name] for record in records]
    return {
        "by_class": _count(field.classes, np.concatenate(classes)),
        "pictures_without": sum(not len(of_picture) for of_picture in classes),
    }


def _people(cohort: Cohort, patients: list[dict]) -> dict:
    """Sites, sexes and ages, as far as the cohort keeps them."""
    names, table = cohort.classes, {}
    for column, plural in (("site", "sites"), ("sex", "sex")):
        if column in cohort.keep:
            groups = _by_value(names, patients, column)
            table[plural] = {value: sum(counts.values()) for value, counts in groups.items()}
            table[f"by_{column}"] = groups
    if "age" in cohort.keep:
        ages = [float(patient["age"]) for patient in patients]
        labels = [patient["patient_label"] for patient in patients]
        table["age"] = _quartiles(ages)
        table["age_by_label"] = {
            name: _quartiles(age for age, label in zip(ages, labels, strict=True) if label == i)
            for i, name in enumerate(names)
        }
    return table


def _quality(scans: list[GradedScan]) -> dict:
    """What was measured of the scans in use, and how many are not."""
    used = [scan for scan in scans if scan.used]
    facts = [scan.facts for scan in used]
    return {
        **{name: _range(getattr(fact, name) for fact in facts) for name in QUALITY},
        "missing_tags": dict(Counter(t for f in facts for t in f.missing_tags.split())),
        "grades": _grades(scan.grade.overall for scan in used),
        "grades_of": {
            name: _grades(scan.grade.by_figure[name] for scan in used)
            for name in used[0].grade.by_figure
        },
        "refused": len(scans) - len(used),
    }


def _count(names: tuple[str, ...], labels: Iterable[int]) -> dict[str, int]:
    counts = Counter(int(label) for label in labels)
    return {name: counts[i] for i, name in enumerate(names)}


def _grades(grades: Iterable[int]) -> dict[str, int]:
    """Scans by the name of their grade, the best first."""
    counts = Counter(grades)
    return {GRADES[k]: counts[k] for k in reversed(range(len(GRADES)))}


def _by_value(names, patients: list[dict], column: str) -> dict[str, dict[str, int]]:
    """Patients by class for each value of a column; missing values under 'unknown'."""
    groups: dict[str, list[int]] = {}
    for patient in patients:
        groups.setdefault(patient[column] or "unknown", []).append(patient["patient_label"])
    return {value: _count(names, labels) for value, labels in sorted(groups.items())}


def _quartiles(ages: Iterable[float]) -> dict[str, float | int | None]:
    """Median and quartiles in years of the known ages, and how many are missing (NaN)."""
    ages = np.array(list(ages), float)
    known = ages[np.isfinite(ages)]
    q1, median, q3 = None, None, None
    if len(known):
        q1, median, q3 = np.percentile(known, [25, 50, 75]).round(1).tolist()
    return {"median": median, "q1": q1, "q3": q3, "missing": int(len(ages) - len(known))}


def _range(values: Iterable[float | None]) -> str:
    """Lowest and highest, as text, and how many are unknown (None)."""
    values = list(values)
    known = sorted(value for value in values if value is not None)
    if not known:
        return "unknown"
    low, high = (f"{value:.4g}" for value in (known[0], known[-1]))
    text = low if low == high else f"{low} to {high}"
    return text if len(known) == len(values) else f"{text}; {len(values) - len(known)} unknown"
