"""Sections of a study of three and more classes, the most probable of which is called."""

from msk_jax.reports.sections.several_classes import (
    accuracy,
    calls,
    confusion,
    curves,
    figures,
    mistakes,
    order,
)

__all__ = ["accuracy", "calls", "confusion", "curves", "figures", "mistakes", "order"]
