"""Skin, fat, muscle, bowel, vessels and air around the bones of the pelvis."""

import numpy as np

from msk_jax.phantoms.anatomy import Anatomy


def coarse_noise(rng, shape, spacing, scale_mm) -> np.ndarray:
    """Smooth noise of about unit variance [slices, rows, columns] float32.

    Random values on a grid of `scale_mm` (z, y, x) are spread with cubic B-spline weights: three
    small matrix products instead of a large filter.
    """
    weights, counts = [], []
    for n, step, scale in zip(shape, spacing, scale_mm, strict=True):
        place = np.arange(n) * step / scale + 1.0
        count = int(place[-1]) + 3
        distance = np.abs(place[:, None] - np.arange(count)[None, :])
        spline = np.where(
            distance < 1,
            2 / 3 - distance**2 + distance**3 / 2,
            np.clip(2 - distance, 0, None) ** 3 / 6,
        )
        # unit variance at every place, not only on the nodes
        weights.append((spline / np.sqrt((spline**2).sum(1, keepdims=True))).astype(np.float32))
        counts.append(count)
    values = rng.standard_normal(counts, dtype=np.float32)
    for axis, weight in enumerate(weights):
        values = np.moveaxis(np.tensordot(weight, values, axes=(1, axis)), 0, axis)
    return values


def _edge(distance, width):
    """1 inside, 0 outside, over `width` mm around a signed distance of 0."""
    return np.clip(0.5 - distance / width, 0, 1)


def _ellipse(x, y, cx, cy, a, b):
    """Approximate signed distance to an ellipse."""
    return (np.sqrt(((x - cx) / a) ** 2 + ((y - cy) / b) ** 2) - 1) * min(a, b)


def soft_tissue(anatomy: Anatomy, rng, x, y, shape, spacing) -> np.ndarray:
    """HU [slices, rows, columns] float32 of everything but bone.

    x, y [rows, columns] are body coordinates in mm; spacing is (z, y, x) in mm.
    """
    pixel = spacing[1]
    a, b = anatomy.body_mm
    size = anatomy.size
    shape2 = 1.0 + 0.03 * np.cos(2 * np.arctan2(y, x))
    outer = _ellipse(x, y, 0, -12, a, b) * shape2
    fascia = outer + anatomy.fat_mm * (1 + 0.35 * (y / b) ** 2 * (y > 0))
    skin = outer + 2.0
    cavity = _ellipse(x, y, 0, -0.42 * b - 12, 78 * size, 0.4 * b)
    gluteal = coarse_noise(rng, shape, spacing, (25, 19, 19))
    streak = coarse_noise(rng, shape, spacing, (20, 5, 5))
    bowel = coarse_noise(rng, shape, spacing, (14, 16, 18))
    gas = coarse_noise(rng, shape, spacing, (10, 12, 14))
    fat_hu = -100.0
    volume = np.empty(shape, np.float32)
    in_body, in_skin = _edge(outer, 1.5 * pixel), _edge(skin, 1.5 * pixel)
    in_fascia, in_cavity = _edge(fascia, 2 * pixel), _edge(cavity, 3.0)
    vessels = np.minimum.reduce(
        [_ellipse(x, y, s * 36 * size, -34 * size, 6, 6) for s in (-1, 1)]
        + [_ellipse(x, y, s * 31 * size, -22 * size, 6, 5) for s in (-1, 1)]
    )
    in_vessel = _edge(vessels, 1.5)
    psoas = np.minimum(
        _ellipse(x, y, 58 * size, -38 * size, 19, 14),
        _ellipse(x, y, -58 * size, -38 * size, 19, 14),
    )
    in_psoas = _edge(psoas, 1.5)
    for k in range(shape[0]):
        plane = np.exp(-((gluteal[k] / 0.1) ** 2)) * 0.75  # fat planes between muscles
        muscle = anatomy.muscle_hu + 6 * streak[k] - (anatomy.muscle_hu - fat_hu) * plane
        wall = np.clip(bowel[k] * 4 + 0.5, 0, 1)
        content = 25 + 12 * streak[k]
        content = content + (-750 - content) * np.clip((gas[k] - 1.5) * 5, 0, 1) * (bowel[k] > 0.5)
        inner = (fat_hu + 4 * streak[k]) * (1 - wall) + content * wall
        tissue = muscle + (inner - muscle) * in_cavity
        tissue += (anatomy.muscle_hu + 4 * streak[k] - tissue) * in_psoas
        tissue += (anatomy.vessel_hu - tissue) * in_vessel
        rim = fat_hu + 6 * streak[k]
        tissue = rim + (tissue - rim) * in_fascia
        tissue = 30 + (tissue - 30) * in_skin
        volume[k] = -1000 + (tissue + 1000) * in_body
    return volume
