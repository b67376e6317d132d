"""Synthetic anatomy rendered as medical images, written as DICOM series with a manifest."""

from msk_jax.phantoms.sacroiliac import SacroiliacPhantom, write_cohort

__all__ = ["SacroiliacPhantom", "write_cohort"]
