"""The cohort tables of a report, from cohort.json; what is missing there is left out."""

from collections.abc import Mapping
from typing import Any

from msk_jax.reports.formats import UNKNOWN, mapping, plural, value

_TITLES = {
    "sex": "Sex",
    "age": "Age in years",
    "sites": "Sites",
    "pixel_mm": "Pixel in mm",
    "spacing_mm": "Slice spacing in mm",
    "num_slices": "Slices of a scan",
    "quality": "Quality of the scans",
    "rejected": "Studies rejected",
    "num_folds": "Folds of the cross-validation",
}


def class_names(cohort: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Names of the classes, as the cohort declares them; else negative and positive."""
    names = of_fields(cohort, "classes") or mapping(cohort).get("classes")
    if isinstance(names, list | tuple) and len(names) >= 2:
        return tuple(map(str, names))
    return "negative", "positive"


def of_fields(cohort: Mapping[str, Any] | None, key: str) -> Any:
    """What the first field of a cohort that has it says under a key, as `region` of an image; None
    where none has."""
    config = mapping(mapping(mapping(cohort).get("fingerprint")).get("config"))
    fields = config.get("fields")
    entries = map(mapping, fields if isinstance(fields, list) else ())
    return next((entry[key] for entry in entries if key in entry), None)


def cohort_rows(cohort: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Title and text of each property of the cohort."""
    rows = [
        (plural(level).capitalize(), value(sum(mapping(counts).values())))
        for level, counts in reversed(mapping(cohort.get("by_label")).items())
    ]
    if cohort.get("name"):
        rows.insert(0, ("Cohort", value(cohort["name"])))
    for key, title in _TITLES.items():
        entry = cohort.get(key)
        if entry in (None, "", {}, []):
            continue
        if key == "age" and isinstance(entry, Mapping):
            text = _age(entry)
        elif key == "quality":
            text = _quality(entry)
        elif key in ("pixel_mm", "spacing_mm", "num_slices"):
            text = _range(entry)
        else:
            text = value(entry)
        if text:
            rows.append((title, text))
    return rows


def classes_table(cohort: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The cohort by class: `classes`, and `rows` of a title and a cell per class.

    Cases at each level, then patients by site and by sex, then ages.
    """
    cohort = mapping(cohort)
    counts = mapping(cohort.get("by_label"))
    rows = [(plural(name), mapping(entry)) for name, entry in counts.items() if mapping(entry)]
    if not rows:
        return None
    classes = list(dict.fromkeys(key for _, entry in rows for key in entry))
    for column, title in (("by_site", "site"), ("by_sex", "sex")):
        rows += [
            (f"patients of {title} {name}", mapping(entry))
            for name, entry in mapping(cohort.get(column)).items()
        ]
    cells = [(title, [value(entry.get(name, 0)) for name in classes]) for title, entry in rows]
    ages = mapping(cohort.get("age_by_label"))
    if ages:
        cells.append(("age in years", [_age(mapping(ages.get(name))) for name in classes]))
    return {"classes": classes, "rows": cells}


def _quality(quality: Any) -> str:
    """Scans by grade, and which figures had the poor ones; '' where they have no grades."""
    entry = mapping(quality)
    grades = {name: count for name, count in mapping(entry.get("grades")).items() if count}
    if not grades:
        return ""
    poor = {
        name.replace("_", " "): sum(mapping(counts).get(low, 0) for low in ("poor", "unusable"))
        for name, counts in mapping(entry.get("grades_of")).items()
    }
    text = value(grades)
    if any(poor.values()):
        text += f"; poor or worse in {value({name: n for name, n in poor.items() if n})}"
    return text + (f"; {entry['refused']} refused" if entry.get("refused") else "")


def _age(age: Mapping[str, Any]) -> str:
    """Median with quartiles, and how many ages are unknown."""
    if age.get("median") is None:
        return "unknown"
    text = f"median {value(age['median'])}"
    if age.get("q1") is not None and age.get("q3") is not None:
        text += f", quartiles {value(age['q1'])} to {value(age['q3'])}"
    return text + (f"; {age['missing']} unknown" if age.get("missing") else "")


def _range(entry: Any) -> str:
    """Lowest and highest as `0.7 to 0.9`, or the one value that both are."""
    if isinstance(entry, list | tuple) and len(entry) == 2:
        low, high = (UNKNOWN if bound is None else value(bound) for bound in entry)
        return low if low == high else f"{low} to {high}"
    return value(entry)
