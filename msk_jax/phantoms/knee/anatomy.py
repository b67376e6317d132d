"""A knee as stacks of ellipses: one description for every view.

The frame is the leg's: x to the lateral side, d to the front, z distal, in mm; the joint line is
z = 0. Every number here is nuisance.
"""

from dataclasses import dataclass

import numpy as np

from msk_jax.phantoms.anatomy import stream

PHYSES = {"femur": -38.0, "tibia": 17.0}  # heights of the growth plates at size 1


@dataclass(frozen=True)
class Knee:
    """One patient's leg and how it lay before the detector."""

    size: float
    turn_deg: float  # of the leg about its axis
    tilt_deg: tuple[float, float]  # in the picture, of either view
    shift_mm: tuple[tuple[float, float], tuple[float, float]]
    cortex: float  # thickness against the usual
    trabecular_mg: float
    texture: float
    soft_mm: float  # half width of the soft tissue at the knee
    fat_mm: float
    scar: float  # of a closed physis
    bone_factor: float  # contrast of bone against that at 60 keV
    magnification: float


def draw_knee(seed: int, number: int) -> Knee:
    """Draw a leg; the same law for all."""
    rng = stream(seed, number, "knee")
    uniform = lambda low, high: float(rng.uniform(low, high))  # noqa: E731
    tilts = np.clip(rng.normal(0, 3.5, 2), -10, 10)
    return Knee(
        size=uniform(0.92, 1.08),
        turn_deg=uniform(-10, 10),
        tilt_deg=(float(tilts[0]), float(tilts[1])),
        shift_mm=tuple((float(rng.normal(0, 6)), float(rng.normal(0, 7))) for _ in range(2)),
        cortex=uniform(0.8, 1.25),
        trabecular_mg=uniform(190, 330),
        texture=uniform(0.06, 0.18),
        soft_mm=uniform(56, 76),
        fat_mm=uniform(5, 18),
        scar=uniform(0, 1),
        bone_factor=uniform(0.9, 1.4),
        magnification=round(uniform(1.03, 1.10), 3),
    )


@dataclass(frozen=True)
class Section:
    """Ellipses of one body at heights z (any shape): centre, half axes and wall, in mm."""

    x: np.ndarray
    d: np.ndarray
    a: np.ndarray  # half axis along x; 0 where there is nothing
    b: np.ndarray  # half axis along d
    wall: np.ndarray


# Rows of (z, x, d, a, b, wall) at size 1.
_STACKS = {
    "femur": (
        (-260, 0, 2, 14, 14.5, 5.0),
        (-110, 0, 2, 14.5, 15, 4.6),
        (-85, 0, 2, 16, 16, 3.6),
        (-62, 0, 3, 21, 18, 2.2),
        (-45, 0, 3, 29, 21, 1.5),
        (-32, 0, 2, 36, 23, 1.2),
        (-22, 0, 2, 38, 22, 1.1),
        (-15, 0, 2, 35, 19, 1.1),
        (-11, 0, 3, 24, 14, 1.1),
        (-9, 0, 4, 0, 0, 1.1),
    ),
    "tibia": (
        (1.9, 0, 0, 0, 0, 1.3),
        (2.6, 0, 0, 34, 22, 1.3),
        (6, 0, 0, 37, 24, 1.2),
        (14, 0, 0, 37, 24, 1.2),
        (28, 0, 0, 31, 22, 1.6),
        (45, 0, 1, 22, 19, 2.4),
        (70, 0, 2, 16, 17, 3.8),
        (110, 0, 2, 13.5, 16, 4.6),
        (260, 0, 2, 12.5, 14.5, 5.0),
    ),
    "fibula": (
        (11, 34, -15, 0, 0, 0.9),
        (14, 34, -15, 6, 7, 0.9),
        (20, 34, -15, 9, 9, 1.0),
        (32, 34, -15, 7.5, 7.5, 1.3),
        (50, 33, -15, 5.5, 5.5, 1.9),
        (260, 28, -13, 6, 6.5, 2.4),
    ),
}
# Ellipsoids: centre (x, d, z), half axes (x, d, z), wall.
_LUMPS = {
    "condyle medial": ((-20, -5, -23), (16, 29, 20.5), 1.1),
    "condyle lateral": ((20, -5, -22.5), (16, 28, 19.5), 1.1),
    "patella": ((0, 38, -30), (20, 9, 20), 1.4),
    "spine medial": ((-5, 0, 2.5), (4.5, 8, 6), 1.0),
    "spine lateral": ((6, -2, 2.5), (4.5, 8, 5), 1.0),
}
PARTS = {
    "femur": ("femur", "condyle medial", "condyle lateral"),
    "tibia": ("tibia", "spine medial", "spine lateral"),
    "fibula": ("fibula",),
    "patella": ("patella",),
}


def section(knee: Knee, part: str, z) -> Section:
    """The ellipses of a part at heights z."""
    s = knee.size
    if part in _STACKS:
        rows = np.array(_STACKS[part], float).T
        x, d, a, b, wall = (np.interp(z / s, rows[0], r).astype(np.float32) for r in rows[1:])
        wall = wall * knee.cortex
        return Section(s * x, s * d, s * a, s * b, s * wall)
    (x, d, middle), (a, b, c), wall = _LUMPS[part]
    round_ = np.sqrt(np.maximum(1 - ((z - s * middle) / (s * c)) ** 2, 0)).astype(np.float32)
    one = np.ones_like(round_)
    return Section(x * s * one, d * s * one, a * s * round_, b * s * round_, wall * s * one)


def distance(knee: Knee, bone: str, x, d, z):
    """Signed distance in mm (negative inside, near the surface) to a bone, and its wall there.

    x, d, z broadcast; across z the surfaces are taken as upright.
    """
    nearest, wall = None, None
    for part in PARTS[bone]:
        cut = section(knee, part, z)
        a, b = np.maximum(cut.a, 0.1), np.maximum(cut.b, 0.1)
        away = (np.sqrt(((x - cut.x) / a) ** 2 + ((d - cut.d) / b) ** 2) - 1) * np.minimum(a, b)
        away = np.where(cut.a > 0.1, away, 30.0).astype(np.float32)
        wall = (
            np.broadcast_to(cut.wall, away.shape)
            if wall is None
            else np.where(away < nearest, cut.wall, wall)
        )
        nearest = away if nearest is None else np.minimum(nearest, away)
    return nearest, wall.astype(np.float32)
