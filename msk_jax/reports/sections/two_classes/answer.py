"""Sensitivity, specificity and area by level, beside the published ones."""

from collections.abc import Mapping
from typing import Any

from msk_jax.evaluation.plots import plots
from msk_jax.reports import images
from msk_jax.reports.formats import interval, percent, plural
from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import (
    Section,
    classes_of,
    filled,
    levels_with,
    published_by_level,
)


def section(inputs: ReportInputs) -> Section | None:
    """The section; None where no level has figures of two classes."""
    levels = levels_with(inputs, "auc", "sensitivity", "specificity")
    if not levels:
        return None
    published = published_by_level(inputs)
    html = filled(
        "two_classes/answer",
        inputs,
        headline=_headline(levels, classes_of(inputs)),
        levels=levels,
        published=published,
        forest=images.svg(plots.forest_figure(levels, published)),
    )
    return Section("The answer at a glance", "answer", html)


def _headline(levels: Mapping[str, Any], classes: list[str]) -> str:
    """The answer in one sentence, from the largest unit that has one."""
    for name, level in reversed(levels.items()):
        sensitivity, specificity = level["sensitivity"], level["specificity"]
        if sensitivity["value"] is None or specificity["value"] is None:
            continue
        return (
            f"Of {sensitivity['n']} {plural(name)} labelled {classes[1]}, "
            f"{sensitivity['successes']} were found (sensitivity "
            f"{percent(sensitivity['value'])}, {interval(sensitivity)}); "
            f"of {specificity['n']} labelled {classes[0]}, {specificity['successes']} were called "
            f"so (specificity {percent(specificity['value'])}, {interval(specificity)})."
        )
    return "No level has a sensitivity and a specificity; the reasons stand below."
