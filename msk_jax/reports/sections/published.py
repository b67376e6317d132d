"""What the published figures of a study's levels are, and are not."""

from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import Section, filled, published_by_level


def section(inputs: ReportInputs) -> Section | None:
    """The section; None where the source prints no figure of a level."""
    published = published_by_level(inputs)
    if not published:
        return None
    return Section("", "published", filled("published", inputs, published=published))
