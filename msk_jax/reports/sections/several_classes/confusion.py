"""Confusion matrices of several classes, by level and set of patients."""

from msk_jax.evaluation.plots import plots
from msk_jax.reports import images
from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import Section, classes_of, filled
from msk_jax.reports.sections.several_classes.parts import parts_with


def section(inputs: ReportInputs) -> Section | None:
    """The section; None where no level has figures of each class."""
    classes = classes_of(inputs)
    pictures = {
        f"{name}, {where}": images.svg(plots.confusion_figure({f"{name}, {where}": part}, classes))
        for name, where, part in parts_with(inputs, "of_class")
    }
    if not pictures:
        return None
    html = filled("several_classes/confusion", inputs, pictures=pictures)
    return Section("Confusion matrices", "confusion", html)
