"""Who has which fracture, and how far it goes: findings of a vertebra from a seed and a number.

Ranges are those of the definitions (Genant's height loss, AO Spine's A1 and A3 or A4), our choice
within them, where severity times expression is 1; a fainter fracture falls short of them.
"""

from dataclasses import replace

import numpy as np

from msk_jax.phantoms.anatomy import stream
from msk_jax.phantoms.spine.vertebra import Findings, Plane


def draw_control(seed: int, patient: int, name: str) -> Findings:
    """What anyone may have: physiological wedging and look-alikes; `name` tells vertebrae apart."""
    rng = stream(seed, patient, f"control {name}")
    has_sclerosis, has_node, has_lip = rng.random(3) < (0.35, 0.25, 0.4)
    return Findings(
        anterior_loss=float(rng.uniform(0.0, 0.10)),
        posterior_loss=float(rng.uniform(0.0, 0.05)),
        spread=float(rng.uniform(-0.03, 0.03)),
        inferior=bool(rng.random() < 0.2),
        sclerosis_hu=float(rng.uniform(250, 450)) if has_sclerosis else 0.0,
        node_mm=float(rng.uniform(2, 5)) if has_node else 0.0,
        node_x_mm=float(rng.uniform(-8, 8)),
        lip_mm=float(rng.uniform(1, 5)) if has_lip else 0.0,
        vein_mm=float(rng.uniform(1.5, 4.0)),
    )


def draw_expression(seed: int, patient: int) -> float:
    """How far a patient's fracture goes, of what its class allows; some are subtle."""
    return float(stream(seed, patient, "expression").uniform(0.45, 1.0))


def add_fracture(control: Findings, kind: str, amount: float, seed: int, patient: int) -> Findings:
    """A healthy vertebra, broken.

    Args:
        control: the vertebra.
        kind: one of `ThoracolumbarPhantom.classes`.
        amount: severity times expression; 0 leaves the control, 1 is a plain case.
        seed, patient: of the random stream.
    """
    if kind == "normal" or amount == 0:
        return control
    rng = stream(seed, patient, "fracture")
    burst = kind == "burst"
    # The least that the class has, and how much more there may be, both faded by the severity.
    anterior = _between(rng, (0.20, 0.60) if burst else (0.15, 0.50), amount)
    share = min(amount, 1.0)
    broken = replace(
        control,
        anterior_loss=float(control.anterior_loss + (anterior - control.anterior_loss) * share),
        band_hu=float(rng.uniform(250, 400)),
        band_strength=float(rng.uniform(0.6, 1.0)) * share,
        cracks=tuple(
            _crack(rng, burst, share) for _ in range(rng.integers(*((3, 6) if burst else (1, 3))))
        ),
    )
    if not burst:
        return broken
    posterior = _between(rng, (0.10, 0.40), amount)
    return replace(
        broken,
        posterior_loss=float(control.posterior_loss + (posterior - control.posterior_loss) * share),
        retropulsion_mm=_between(rng, (3.0, 9.0), amount),
        spread=float(
            control.spread + (_between(rng, (0.10, 0.30), amount) - control.spread) * share
        ),
        lamina_mm=float(rng.uniform(1, 2.5)) * share if rng.random() < 0.3 else 0.0,
    )


def _between(rng: np.random.Generator, limits: tuple[float, float], amount: float) -> float:
    """A value of the class's range, near its upper end where the amount is large."""
    low, high = limits
    return float((low + (high - low) * rng.beta(1.5, 2.0)) * (0.5 + 0.5 * amount))


def _crack(rng: np.random.Generator, burst: bool, share: float) -> Plane:
    """Upright between the fragments of a burst body, nearly level in a compressed one."""
    turn = rng.uniform(0, np.pi)
    if burst:
        lean = rng.normal(0, 0.2)
        normal = (np.cos(turn), np.sin(turn), lean)
        offset, width = rng.uniform(-9, 9), rng.uniform(1.0, 3.0)
    else:
        normal = (0.15 * np.cos(turn), 0.35 + 0.1 * np.sin(turn), 0.93)
        offset, width = rng.uniform(0, 6), rng.uniform(0.8, 1.5)
    length = float(np.linalg.norm(normal))
    return Plane(
        tuple(float(n) / length for n in normal),
        float(offset),
        float(width * share),
        float(rng.uniform(20, 80)),
    )
