"""Chest radiographs of three centres with and without osteoporosis (phantom P3)."""

from msk_jax.phantoms.chest.cohort import ChestPhantom, write_cohort

__all__ = ["ChestPhantom", "write_cohort"]
