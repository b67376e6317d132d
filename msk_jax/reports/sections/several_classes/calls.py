"""How one of several classes is called."""

from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import Section, filled, levels_with


def section(inputs: ReportInputs) -> Section | None:
    """The section; None where no level has figures of each class."""
    if not levels_with(inputs, "of_class"):
        return None
    html = filled("several_classes/calls", inputs)
    return Section("How a class is called", "calls", html)
