"""Thresholds of each test fold and for new patients, and how they were chosen."""

from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import Section, filled, levels_with


def section(inputs: ReportInputs) -> Section | None:
    """The section; None where no level has thresholds."""
    levels = levels_with(inputs, "thresholds")
    if not levels:
        return None
    html = filled("two_classes/operating_points", inputs, levels=levels)
    return Section("Operating points", "operating-points", html)
