"""Chest radiographs of three centres with and without osteoporosis (phantom P3)."""

from msk_jax.phantoms.chest.settings import ChestPhantom

__all__ = ["ChestPhantom"]
