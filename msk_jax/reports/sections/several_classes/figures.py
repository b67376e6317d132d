"""Figures of all classes together and of each, by level and set of patients."""

from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import Section, filled
from msk_jax.reports.sections.several_classes.parts import parts_with

OVERALL = {
    "macro_auc": "Macro AUC",
    "hand_till": "Hand-Till AUC",
    "kappa": "Cohen's kappa",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
}
"""Titles of the figures of all classes together, in the order of the page."""
OF_CLASS = {
    "sensitivity": "Recall",
    "ppv": "Precision",
    "f1": "F1",
    "specificity": "Specificity",
    "auc": "AUC against the rest",
}
"""Titles of the figures of each class, in the order of the page."""


def section(inputs: ReportInputs) -> Section | None:
    """The section; None where no level has figures of each class."""
    parts = parts_with(inputs, "of_class")
    if not parts:
        return None
    html = filled(
        "several_classes/figures", inputs, parts=parts, overall=OVERALL, of_class=OF_CLASS
    )
    return Section("Figures", "figures", html)
