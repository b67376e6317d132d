"""Which variables of a table move what a model says."""

from msk_jax.evaluation.plots.contributions import contributions_figure
from msk_jax.reports import images
from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.models import NAMES
from msk_jax.reports.sections.section import Section, filled

MOST = 12
"""Variables that are shown."""

_OF_STAGE = {
    "n": int,
    "unit": str,
    "variables": [str],
    "shapley": [float],
    "local_n": int,
    "local": [float],
}
METRICS = {"contributions?": {str: _OF_STAGE}}


def section(inputs: ReportInputs) -> Section | None:
    """The section; None where nothing learned from a table."""
    stages = inputs.metrics.get("contributions")
    if not stages:
        return None
    pictures = {
        NAMES.get(name, f"{name} model"): (
            images.svg(contributions_figure(stage["variables"][:MOST], stage["shapley"][:MOST])),
            stage,
        )
        for name, stage in stages.items()
    }
    html = filled("contributions", inputs, pictures=pictures, most=MOST)
    return Section("What the variables contribute", "contributions", html)
