"""What a study of classes is, in a sentence or two."""

from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import Section, filled

_COUNTS = ("positives", "counts")
"""What a level of two classes, or of more, counts."""


def section(inputs: ReportInputs) -> Section | None:
    """The section; None where no level counts cases of classes."""
    levels = inputs.metrics["levels"].values()
    if not any(name in level for level in levels for name in _COUNTS):
        return None
    return Section("", "introduction", filled("introduction", inputs))
