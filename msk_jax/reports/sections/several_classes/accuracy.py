"""Accuracy by level: on training, validation and test patients, beside the published one."""

from collections.abc import Mapping
from typing import Any

from msk_jax.reports.formats import interval, percent, plural
from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import Section, filled, levels_with, published_by_level

ACCURACIES = {
    "train_accuracy": "Training",
    "validation_accuracy": "Validation",
    "accuracy": "Out of fold",
}
"""Accuracy on which patients, in the order of the page."""


def section(inputs: ReportInputs) -> Section | None:
    """The section; None where no level has these accuracies."""
    levels = levels_with(inputs, *ACCURACIES)
    if not levels:
        return None
    html = filled(
        "several_classes/accuracy",
        inputs,
        headline=_headline(levels),
        levels=levels,
        accuracies=ACCURACIES,
        test_sets=list(next(iter(levels.values()))["test_sets"]),
        published=published_by_level(inputs),
    )
    return Section("The answer at a glance", "answer", html)


def _headline(levels: Mapping[str, Any]) -> str:
    """The answer in a sentence or two, from the largest unit."""
    name, level = list(levels.items())[-1]
    accuracy = level["accuracy"]
    text = (
        f"Of {level['n']} {plural(name)}, each judged by a network that never saw them, "
        f"{accuracy['successes']} were called rightly (accuracy {percent(accuracy['value'])}, "
        f"{interval(accuracy)})."
    )
    for where, part in level["test_sets"].items():
        if part["n"]:
            right = part["accuracy"]
            text += (
                f" Of {part['n']} {where} {plural(name)}, in no fold and judged by all networks "
                f"together, {right['successes']} ({percent(right['value'])}, {interval(right)})."
            )
    return text
