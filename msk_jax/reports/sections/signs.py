"""Heat maps against masks of the signs of disease."""

from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import Section, filled
from msk_jax.reports.shapes import figure

METRICS = {
    "explained?": {
        "signs": str,
        "n": int,
        **dict.fromkeys(("energy", "area", "gain", "hits", "shuffled"), figure()),
    }
}


def section(inputs: ReportInputs) -> Section | None:
    """The section; None where there were no masks."""
    explained = inputs.metrics.get("explained")
    if not explained:
        return None
    return Section("", "signs", filled("signs", inputs, explained=explained))
