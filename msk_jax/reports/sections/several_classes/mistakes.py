"""Patients of whom another class was the most probable."""

from typing import Any

from msk_jax.evaluation.tables.predictions import probability_columns
from msk_jax.reports.formats import about
from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import Section, classes_of, filled, levels_with

_MOST = 20


def section(inputs: ReportInputs) -> Section | None:
    """The section; None where no level has figures of each class."""
    if not levels_with(inputs, "of_class"):
        return None
    mistakes = _mistakes(inputs)
    html = filled(
        "several_classes/mistakes", inputs, mistakes=mistakes[:_MOST], num_mistakes=len(mistakes)
    )
    return Section("", "mistakes", html)


def _mistakes(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Patients that were called wrongly, the surest mistakes first."""
    classes, last = classes_of(inputs), list(inputs.metrics["levels"])[-1]
    rows = inputs.predictions[inputs.predictions["level"] == last]
    probs = rows[probability_columns(classes)].to_numpy()
    wrong = []
    for row, called, sure in zip(
        rows.to_dict("records"), probs.argmax(axis=1), probs.max(axis=1), strict=True
    ):
        if called != row["label"]:
            wrong.append(
                {
                    "patient_id": row["patient_id"],
                    "label": classes[row["label"]],
                    "called": classes[called],
                    "prob": float(sure),
                    "fold": row["fold"],
                    "about": about(row),
                }
            )
    return sorted(wrong, key=lambda row: -row["prob"])
