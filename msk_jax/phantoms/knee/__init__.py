"""Knee radiographs of lytic osteosarcoma and giant cell tumour (phantom P14)."""

from msk_jax.phantoms.knee.settings import KneePhantom

__all__ = ["KneePhantom"]
