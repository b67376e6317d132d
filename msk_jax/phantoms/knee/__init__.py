"""Knee radiographs of lytic osteosarcoma and giant cell tumour (phantom P14)."""

from msk_jax.phantoms.knee.cohort import KneePhantom, write_cohort

__all__ = ["KneePhantom", "write_cohort"]
