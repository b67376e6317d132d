"""Confusion matrices of two classes, and the figures that follow from them."""

from msk_jax.evaluation.plots import plots
from msk_jax.reports import images
from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import Section, classes_of, filled, levels_with


def section(inputs: ReportInputs) -> Section | None:
    """The section; None where no level was called by thresholds."""
    levels = levels_with(inputs, "confusion", "thresholds")
    if not levels:
        return None
    classes = classes_of(inputs)
    pictures = {
        name: images.svg(plots.confusion_figure({name: level}, classes))
        for name, level in levels.items()
    }
    html = filled("two_classes/confusion", inputs, levels=levels, pictures=pictures)
    return Section("Confusion matrices", "confusion", html)
