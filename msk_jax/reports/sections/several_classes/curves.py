"""ROC curves of each class against the rest, by level and set of patients."""

from msk_jax.evaluation.plots import models as model_plots
from msk_jax.reports import images
from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import Section, filled
from msk_jax.reports.sections.several_classes.parts import parts_with


def section(inputs: ReportInputs) -> Section | None:
    """The section; None where no class has a curve."""
    pictures = {
        f"{name}, {where}": images.svg(model_plots.class_curves_figure(part["of_class"]))
        for name, where, part in parts_with(inputs, "of_class")
        if any(of_class["roc"] for of_class in part["of_class"].values())
    }
    if not pictures:
        return None
    html = filled("several_classes/curves", inputs, pictures=pictures)
    return Section("ROC curves of each class against the rest", "curves", html)
