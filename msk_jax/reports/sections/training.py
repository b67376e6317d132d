"""Training curves of each fold."""

from msk_jax.evaluation.plots import plots
from msk_jax.reports import images
from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import Section, filled


def section(inputs: ReportInputs) -> Section:
    """The section; a sentence where there are no curves."""
    picture = images.svg(plots.training_figure(inputs.histories)) if inputs.histories else None
    return Section("Training", "training", filled("training", inputs, picture=picture))
