"""Synthetic anatomy rendered as medical images, written as DICOM series with a manifest."""

from msk_jax.phantoms.ao_fractures import AOSpinePhantom
from msk_jax.phantoms.chest import ChestPhantom
from msk_jax.phantoms.knee import KneePhantom
from msk_jax.phantoms.sacroiliac import SacroiliacPhantom
from msk_jax.phantoms.thoracolumbar import ThoracolumbarPhantom
from msk_jax.phantoms.writing import write_cohort

AnyPhantom = SacroiliacPhantom | ThoracolumbarPhantom | AOSpinePhantom | ChestPhantom | KneePhantom
"""Each is a `writing.Phantom`."""

__all__ = [
    "AOSpinePhantom", "AnyPhantom", "ChestPhantom", "KneePhantom", "SacroiliacPhantom",
    "ThoracolumbarPhantom", "write_cohort",
]  # fmt: skip
