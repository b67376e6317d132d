"""A section of the page, and what sections have in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msk_jax.reports.cohort import class_names
from msk_jax.reports.formats import UNKNOWN, mapping
from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.templates import fill

_EXPERIMENT = {"name": "", "title": "Study", "task": "", "modality": "", "input": "", "source": ""}
_POOLING = {"mean": "mean", "max": "maximum", "median": "median"}


@dataclass(frozen=True)
class Section:
    """One section of the page."""

    title: str
    """Its heading; empty where it goes on under the heading before it."""
    anchor: str
    """Its address within the page, no other section's."""
    html: str
    """What stands under the heading, with all text escaped."""
    heading: int = 2
    """Level of the heading; 3 is a part of the section before it."""


def filled(template: str, inputs: ReportInputs, **context: Any) -> str:
    """The template of a section, given what every section is given and what this one adds."""
    return fill(f"sections/{template}.html.j2", **shared(inputs), **context)


def shared(inputs: ReportInputs) -> dict[str, Any]:
    """What the page and every section are given."""
    settings = mapping(inputs.metrics.get("settings"))
    return {
        "experiment": experiment_of(inputs),
        "classes": classes_of(inputs),
        "names": list(inputs.metrics["levels"]),
        "folds": inputs.metrics.get("folds") or [],
        "settings": settings,
        "confidence": f"{100 * settings.get('confidence', 0.95):.0f}",
        "pooling": _POOLING,
        "is_phantom": is_phantom(inputs),
        "unknown": UNKNOWN,
    }


def experiment_of(inputs: ReportInputs) -> dict[str, Any]:
    """The experiment as far as the run tells it."""
    return _EXPERIMENT | mapping(inputs.run.get("experiment"))


def classes_of(inputs: ReportInputs) -> list[str]:
    """Names of the classes, in the order of the labels."""
    named = inputs.metrics.get("classes") or experiment_of(inputs).get("classes") or ()
    return list(named if len(named) >= 2 else class_names(inputs.cohort))


def is_phantom(inputs: ReportInputs) -> bool:
    """Whether the pictures were computed."""
    return bool(inputs.run.get("is_phantom") or mapping(inputs.cohort).get("is_phantom"))


def levels_with(inputs: ReportInputs, *figures: str) -> dict[str, Mapping[str, Any]]:
    """Levels that have cases and all these figures, by name."""
    levels = inputs.metrics["levels"].items()
    return {
        name: level
        for name, level in levels
        if level["n"] and all(figure in level for figure in figures)
    }


def published_of(inputs: ReportInputs) -> list[Mapping[str, Any]]:
    """Figures that the source prints."""
    entries = experiment_of(inputs).get("published") or ()
    return [entry for entry in entries if entry.get("name")]


def published_by_level(inputs: ReportInputs) -> list[Mapping[str, Any]]:
    """Figures that the source prints of neither a test set nor readers."""
    return [e for e in published_of(inputs) if not (e.get("test_set") or e.get("readers"))]
