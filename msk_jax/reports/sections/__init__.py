"""Sections of the page: each a module with its template, and one list of them in their order."""

from types import ModuleType

from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections import (
    choices,
    cohort,
    contributions,
    detection,
    features,
    heat_maps,
    introduction,
    making,
    measurements,
    models,
    notices,
    published,
    readers,
    signs,
    training,
)
from msk_jax.reports.sections import several_classes as several
from msk_jax.reports.sections import two_classes as two
from msk_jax.reports.sections.section import Section

SECTIONS: tuple[ModuleType, ...] = (
    introduction,
    notices,
    two.answer,
    detection,
    measurements,
    several.accuracy,
    published,
    models,
    contributions,
    readers,
    cohort,
    two.curves,
    two.confusion,
    two.mistakes,
    several.confusion,
    several.curves,
    several.order,
    several.figures,
    several.mistakes,
    training,
    heat_maps,
    signs,
    features,
    two.operating_points,
    several.calls,
    choices,
    making,
)
"""In the order of the page. A module has `section(inputs)`, which gives None where what it shows is
not there, and may have `METRICS`, the shape of what it reads of metrics.json."""


def sections_of(inputs: ReportInputs) -> list[Section]:
    """The sections that a page of these files has."""
    sections = (module.section(inputs) for module in SECTIONS)
    return [section for section in sections if section is not None]


def shapes() -> dict[str, object]:
    """Shapes of what the sections read of metrics.json."""
    merged: dict[str, object] = {}
    for module in SECTIONS:
        merged |= getattr(module, "METRICS", {})
    return merged
