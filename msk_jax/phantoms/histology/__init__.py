"""Sections of necrotic and healthy bone, stained with haematoxylin and eosin (phantom P8)."""

from msk_jax.phantoms.histology.settings import HistologyPhantom

__all__ = ["HistologyPhantom"]
