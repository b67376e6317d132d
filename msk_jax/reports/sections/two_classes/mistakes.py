"""Patients that a threshold called wrongly."""

from typing import Any

from msk_jax.reports.formats import about
from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import Section, filled, levels_with

_MOST = 20


def section(inputs: ReportInputs) -> Section | None:
    """The section; None where nobody was called."""
    levels = levels_with(inputs, "confusion", "thresholds")
    mistakes = _mistakes(inputs)
    if not levels or not (mistakes or list(levels.values())[-1]["confusion"]):
        return None
    html = filled(
        "two_classes/mistakes", inputs, mistakes=mistakes[:_MOST], num_mistakes=len(mistakes)
    )
    return Section("", "mistakes", html)


def _mistakes(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Patients that were called wrongly, the surest mistakes first."""
    last = list(inputs.metrics["levels"])[-1]
    patient = levels_with(inputs, "thresholds").get(last)
    if patient is None:
        return []
    limits = {entry["fold"]: entry["threshold"] for entry in patient["thresholds"]["per_fold"]}
    rows = inputs.predictions[inputs.predictions["level"] == last]
    wrong = []
    for row in rows.to_dict("records"):
        limit = limits.get(row["fold"])
        if limit is not None and (row["prob"] >= limit) != bool(row["label"]):
            wrong.append({**row, "threshold": limit, "about": about(row)})
    return sorted(wrong, key=lambda row: -abs(row["prob"] - row["threshold"]))
