"""Classes that have an order: curves of its cuts, and how many steps calls are off."""

from collections.abc import Mapping
from typing import Any

from msk_jax.evaluation.plots import models as model_plots
from msk_jax.reports import images
from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import Section, filled
from msk_jax.reports.sections.several_classes.parts import parts_with

ORDINAL = {
    "kappa_quadratic": "Quadratic kappa",
    "kappa_linear": "Linear kappa",
    "mean_absolute_error": "Mean absolute error, steps",
    "exact": "Exact",
    "within_one": "At most one step off",
    "kendall_tau_b": "Kendall's tau b",
    "ordinal_c": "Ordinal C",
}
"""Titles of the figures of an order, in the order of the page."""


def section(inputs: ReportInputs) -> Section | None:
    """The section; None where the classes have no order."""
    parts = parts_with(inputs, "ordinal")
    if not parts:
        return None
    pictures = {
        f"{name}, {where}": images.svg(model_plots.class_curves_figure(_cuts(part)))
        for name, where, part in parts
        if any(cut["roc"] for cut in _cuts(part).values())
    }
    html = filled("several_classes/order", inputs, parts=parts, ordinal=ORDINAL, pictures=pictures)
    return Section("The classes in their order", "order", html)


def _cuts(part: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Area and curve of each cut, by what lies above it."""
    return {f"{name} or higher": cut for name, cut in part.get("cuts", {}).items()}
