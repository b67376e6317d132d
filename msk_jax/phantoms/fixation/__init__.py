"""Table of patients after fixation of a femoral neck fracture, by outcome (phantom P9)."""

from msk_jax.phantoms.fixation.settings import FixationPhantom

__all__ = ["FixationPhantom"]
