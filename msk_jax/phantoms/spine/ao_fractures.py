"""Fractures of AO Spine's types A0 to A4: the same spines, other findings of the vertebra.

Vaccaro AR et al., Spine 2013;38(23):2028-2037: A0 at most a process is broken; A1 one end plate,
while the posterior wall is whole; A2 split in the coronal plane through both end plates, the wall
is whole; A3 one end plate and the wall; A4 both and the wall. Sizes within a type are our choice.
"""

from dataclasses import replace

import numpy as np

from msk_jax.phantoms.anatomy import stream
from msk_jax.phantoms.spine.fractures import add_fracture
from msk_jax.phantoms.spine.vertebra import Findings, Plane

_FORM = {"A1": "compression", "A3": "burst", "A4": "burst"}


def add_ao_fracture(
    control: Findings, kind: str, amount: float, seed: int, patient: int
) -> Findings:
    """A healthy vertebra, broken.

    Args:
        control: the vertebra.
        kind: one of `thoracolumbar_settings.TYPES`.
        amount: severity times expression; 0 leaves the control, 1 is a plain case.
        seed, patient: of the random stream.
    """
    if amount == 0:
        return control
    rng = stream(seed, patient, "ao fracture")
    share = min(amount, 1.0)
    if kind == "A0":
        gap = float(rng.uniform(1.0, 2.5)) * share
        return replace(control, process_mm=gap) if rng.random() < 0.5 else control
    if kind == "A2":
        return replace(control, cracks=(_split(rng, share),))
    broken = add_fracture(control, _FORM[kind], amount, seed, patient)
    if kind == "A3":  # the cracks stay in the half of the end plate that gave way
        half = -1 if control.inferior else 1
        return replace(broken, cracks=tuple(replace(crack, half=half) for crack in broken.cracks))
    if kind == "A4":
        return replace(broken, both=float(rng.uniform(0.35, 0.5)))
    return broken


def _split(rng: np.random.Generator, share: float) -> Plane:
    """A gap across the body from one end plate to the other, seen from the side as a line."""
    normal = np.array([rng.normal(0, 0.1), 1.0, rng.normal(0, 0.1)])
    normal = tuple((normal / np.linalg.norm(normal)).tolist())
    width = float(rng.uniform(2.0, 4.5)) * share
    return Plane(normal, float(rng.uniform(-5, 5)), width, float(rng.uniform(20, 80)))
