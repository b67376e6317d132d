"""Grades of a scan, from its figures and stated limits: good, acceptable, poor or unusable.

No source gives limits that hold for every purpose, so those here are ours, and a cohort states its
own. The figures are `measure.Quality`'s and those of `records.ScanFacts`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from msk_jax.errors import UserError

GRADES = ("unusable", "poor", "acceptable", "good")
"""By number, 0 to 3."""

Limits = tuple[float, float, float]
"""Of grade 3, 2 and 1; what is beyond the last has grade 0."""

_AT_LEAST = ("completeness", "sharpness", "coverage_mm")
_WORDS = {
    "missing_tags": "header attributes missing",
    "completeness": "of the units of the manifest in the scan",
    "sharpness": "sharpness",
    "noise_share": "noise as a share of the contrast",
    "coverage_mm": "mm covered along z",
    "slice_spacing_mm": "mm between slices",
    "pixel_mm": "mm a pixel",
}


@dataclass(frozen=True)
class QualityLimits:
    """What a scan must have for each grade; None: that figure has no grade.

    By default a scan is unusable only where there is no structure in it, or noise drowns it.
    """

    missing_tags: Limits | None = (0, 6, 17)
    """Attributes that the header may lack, see `measure.missing_tags`; 17 is all of them."""

    completeness: Limits | None = (1.0, 0.5, 0.0)
    """Share of the units of the manifest's rows that could be cut from the scan, at least."""

    sharpness: Limits | None = (0.05, 0.02, 0.005)
    """At least. White noise blurred with a Gaussian of s pixels has the square root of 2 over s
    squared: 5, 8 and 17 pixels."""

    noise_share: Limits | None = (0.05, 0.1, 0.2)
    """At most. 0.2: the contrast is 5 times the noise, below which Rose (1948) found details lost;
    the other two are a half and a quarter of that."""

    coverage_mm: Limits | None = None
    """Extent along z, at least."""

    slice_spacing_mm: Limits | None = None
    """At most."""

    pixel_mm: Limits | None = None
    """At most."""

    def __post_init__(self):
        for entry in fields(self):
            limits = getattr(self, entry.name)
            falling = sorted(limits or (), reverse=entry.name in _AT_LEAST)
            if limits is not None and list(limits) != falling:
                way = "fall" if entry.name in _AT_LEAST else "rise"
                raise UserError(
                    f"The limits of {entry.name} are {limits}; from grade 3 to grade 1 they {way}."
                )


@dataclass(frozen=True)
class ScanGrade:
    """Grades of one scan, 0 to 3."""

    by_figure: Mapping[str, int]
    """Of the figures that have limits."""

    @property
    def overall(self) -> int:
        """The lowest; 3 where nothing has limits."""
        return min(self.by_figure.values(), default=len(GRADES) - 1)


def grade_scan(figures: Mapping[str, Any], limits: QualityLimits) -> ScanGrade:
    """Grade a scan.

    Args:
        figures: by the names of the fields of `limits`.
        limits: of the grades.
    """
    asked = {entry.name: getattr(limits, entry.name) for entry in fields(limits)}
    return ScanGrade(
        {name: _grade(name, figures[name], given) for name, given in asked.items() if given}
    )


def shortfall(
    grade: ScanGrade, figures: Mapping[str, Any], limits: QualityLimits, lowest: int
) -> str:
    """What keeps a scan from the grade `lowest`, in a sentence; '' where nothing does."""
    if grade.overall >= lowest:
        return ""
    reasons = []
    for name, found in grade.by_figure.items():
        if found < lowest:
            bound = "at least" if name in _AT_LEAST else "at most"
            limit = getattr(limits, name)[len(GRADES) - 1 - lowest]
            value = "unknown" if figures[name] is None else f"{figures[name]:.3g}"
            reasons.append(f"{_WORDS[name]}: {value}, {bound} {limit:g} is asked for")
    return (
        f"The quality of the scan is {GRADES[grade.overall]}, which is below {GRADES[lowest]} "
        f"({'; '.join(reasons)})."
    )


def _grade(name: str, value: float | None, limits: Limits) -> int:
    """How many limits are kept; NaN keeps none, nor does what is unknown."""
    if value is None:
        return 0
    return sum(value >= limit if name in _AT_LEAST else value <= limit for limit in limits)
