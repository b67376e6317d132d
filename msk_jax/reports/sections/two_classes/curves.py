"""ROC curves of two classes, by level."""

from msk_jax.evaluation.plots import plots
from msk_jax.reports import images
from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import Section, filled, levels_with


def section(inputs: ReportInputs) -> Section | None:
    """The section; None where no level has areas by fold."""
    levels = levels_with(inputs, "auc_by_fold", "roc")
    if not levels:
        return None
    # Level by level, so that the pictures can wrap.
    pictures = {name: images.svg(plots.roc_figure({name: level})) for name, level in levels.items()}
    html = filled("two_classes/curves", inputs, levels=levels, pictures=pictures)
    return Section("ROC curves", "curves", html)
