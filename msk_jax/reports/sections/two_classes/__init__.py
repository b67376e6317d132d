"""Sections of a study of two classes, called by a threshold."""

from msk_jax.reports.sections.two_classes import (
    answer,
    confusion,
    curves,
    mistakes,
    operating_points,
)

__all__ = ["answer", "confusion", "curves", "mistakes", "operating_points"]
