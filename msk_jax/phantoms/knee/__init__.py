"""Knee radiographs of lytic osteosarcoma and giant cell tumour (phantom P14)."""

from msk_jax.phantoms.knee.cohort import KneePhantom

__all__ = ["KneePhantom"]
