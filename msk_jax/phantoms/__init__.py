"""Synthetic anatomy rendered as medical images, written as DICOM series with a manifest."""

from msk_jax.phantoms.sacroiliac import SacroiliacPhantom
from msk_jax.phantoms.thoracolumbar import ThoracolumbarPhantom
from msk_jax.phantoms.writing import write_cohort

AnyPhantom = SacroiliacPhantom | ThoracolumbarPhantom
"""Each is a `writing.Phantom`."""

__all__ = ["AnyPhantom", "SacroiliacPhantom", "ThoracolumbarPhantom", "write_cohort"]
