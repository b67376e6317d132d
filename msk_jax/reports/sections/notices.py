"""Banners: computed pictures, and what a run warns of."""

from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import Section, filled, is_phantom


def section(inputs: ReportInputs) -> Section | None:
    """The section; None where there is nothing to be warned of."""
    warnings = inputs.run.get("warnings") or []
    if not warnings and not is_phantom(inputs):
        return None
    return Section("", "notices", filled("notices", inputs, warnings=warnings))
