"""Attenuation of a chest without its bones: wall, lungs, heart, vessels, belly, breasts."""

import numpy as np
from scipy.ndimage import gaussian_filter

from msk_jax.phantoms.chest.anatomy import Chest
from msk_jax.phantoms.projection import MU_FAT, MU_SOFT, ellipse_chord, share, smooth_step
from msk_jax.phantoms.soft_tissue import coarse_noise

AERATED = 0.26  # density of the lung
STEP_MM = 1.2  # along a vessel
# Inner half width of the rib cage against y, both in mm at size 1.
CAGE_Y = (-150.0, -132.0, -115.0, -92.0, -65.0, -35.0, 0.0, 40.0, 90.0, 140.0, 200.0)
CAGE_X = (18.0, 46.0, 70.0, 92.0, 108.0, 119.0, 127.0, 131.0, 133.0, 130.0, 122.0)


def cage(chest: Chest, y):
    """Inner half width in mm of the rib cage at heights y."""
    return chest.size * chest.width * np.interp(y / chest.size, CAGE_Y, CAGE_X)


def soft_tissue(chest: Chest, rng, x, y, pixel: float):
    """Attenuation [rows, columns] float32 at places x, y [rows, columns] of the patient, in mm."""
    half = cage(chest, y)
    ribs = ellipse_chord(x, half, chest.depth_mm * np.minimum(half / 110, 1), pixel)
    outline = half + np.float32(0.55 * chest.wall_mm)
    # shoulders and neck
    rise = smooth_step(-y, 82 - chest.shoulder_mm, 128 - chest.shoulder_mm)
    outline = outline + rise * (225 - outline)
    rest = smooth_step(-y - 0.35 * np.abs(x), 118 + chest.shoulder_mm, 134 + chest.shoulder_mm)
    outline = outline + rest * (np.float32(62) - outline)
    depth = (chest.depth_mm + chest.wall_mm) * (1 - 0.42 * rise)
    body = ellipse_chord(x, outline, depth, pixel)
    lung = _lungs(chest, x, y, half, ribs, pixel)
    streaks = coarse_noise(rng, (1, *x.shape), (1, pixel, pixel), (1, 20, 16))[0]
    fat = np.minimum(body, 2 * chest.wall_mm) * np.float32(0.5) * (1 + 0.15 * streaks)
    attenuation = MU_SOFT * body - (MU_SOFT - MU_FAT) * fat
    attenuation -= MU_SOFT * (1 - AERATED) * np.minimum(lung, 0.93 * body)
    attenuation += MU_SOFT * _vessels(chest, rng, x, y, lung, pixel)
    attenuation += MU_FAT * _breasts(chest, x, y)
    attenuation -= MU_SOFT * _gas(chest, rng, x, y)
    fine = gaussian_filter(rng.standard_normal(x.shape, dtype=np.float32), 1.2 / pixel)
    attenuation += chest.lung_texture * fine / fine.std() * np.minimum(lung / 150, 1)
    return np.maximum(attenuation, 0).astype(np.float32)


def _lungs(chest: Chest, x, y, half, ribs, pixel: float):
    """Path length through the lungs."""
    s = chest.size
    right = x < 0
    dome = s * (78 + chest.inspiration_mm - np.where(right, chest.dome_gap_mm, 0.0))
    lateral = np.abs(x) / half
    dome = dome + 46 * s * np.clip(lateral - 0.45, 0, 1) ** 2 * 3.0
    low = smooth_step(dome - y, -3, 22) * 0.75 + 0.25 * smooth_step(dome - y, -1.5, 2.5)
    # the back of the lung reaches behind the dome
    low = np.maximum(low, 0.16 * smooth_step(dome + 38 - y, 0, 30))
    top = smooth_step(y + 138 * s, 0, 26)
    mediastinum = 15 + 6 * np.sin(y / 60) + 8 * smooth_step(y, -20, 60)
    column = ellipse_chord(x, 3 * mediastinum, chest.depth_mm * 0.55, pixel)
    column = column * 0.8 + 1.4 * chest.depth_mm * share(np.abs(x) - mediastinum - 4, 9)
    turn = np.radians(chest.heart_turn_deg)
    cx, cy = 24 * s, s * (42 + 0.8 * chest.inspiration_mm)
    u = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)
    v = (y - cy) * np.cos(turn) - (x - cx) * np.sin(turn)
    a, b = chest.heart_mm[1] * s, chest.heart_mm[0] * s
    square = 1 - (u / a) ** 2 - (v / b) ** 2
    heart = 1.5 * b * np.sqrt(np.maximum(square, 0))
    arch = np.hypot(x - 19 * s, y + 52 * s)
    arch = 2.4 * np.sqrt(np.maximum(chest.arch_mm**2 - arch**2, 0))
    aorta = 22 * share(np.abs(x - 20 * s + 0.06 * (y - 30)) - 9, 4) * smooth_step(y, -55, -30)
    lung = ribs * low * top * smooth_step(half - np.abs(x), 0, 5) * 0.94
    return np.maximum(lung - column - heart - arch - aorta, 0)


def _vessels(chest: Chest, rng, x, y, lung, pixel: float):
    """Path length through the pulmonary vessels: trees that start at the hila."""
    points, radii = [], []
    for side in (-1, 1):
        stems = [
            (side * 26 * chest.size, -14.0 + 6 * rng.normal(), angle, 4.6)
            for angle in np.linspace(-1.25, 1.5, 9) + 0.12 * rng.standard_normal(9)
        ]
        while stems:
            x0, y0, angle, radius = stems.pop()
            length = rng.uniform(16, 30) * (0.6 + radius / 5)
            steps = np.arange(0, length, STEP_MM)
            bend = angle + rng.normal(0, 0.012) * steps
            px = x0 + side * np.cumsum(np.cos(bend)) * STEP_MM
            py = y0 + np.cumsum(np.sin(bend)) * STEP_MM
            points.append(np.stack([px, py], 1))
            radii.append(np.linspace(radius, 0.8 * radius, len(steps)))
            if radius > 1.1:
                fork = rng.uniform(0.2, 0.5)
                for sign, thinner in ((1, rng.uniform(0.6, 0.78)), (-1, rng.uniform(0.6, 0.78))):
                    end = bend[-1] + sign * fork
                    stems.append((px[-1], py[-1], end, radius * thinner))
    return _splat(np.concatenate(points), np.concatenate(radii), x, y, pixel) * (lung > 8)


def _splat(points, radii, x, y, pixel: float):
    """Path length through round tubes, every point spread as a Gaussian of its tube's width."""
    columns = np.rint((points[:, 0] - x.min()) / pixel).astype(int)
    rows = np.rint((points[:, 1] - y.min()) / pixel).astype(int)
    path = np.zeros(x.shape, np.float32)
    classes = np.digitize(radii, (1.0, 1.6, 2.6))
    for k in range(4):
        kept = (classes == k) & (rows >= 0) & (rows < x.shape[0])
        kept &= (columns >= 0) & (columns < x.shape[1])
        if not kept.any():
            continue
        mass = np.bincount(
            rows[kept] * x.shape[1] + columns[kept], np.pi * radii[kept] ** 2 * STEP_MM, x.size
        )
        width = max(0.55 * radii[kept].mean() / pixel, 0.5)
        path += gaussian_filter(mass.reshape(x.shape).astype(np.float32), width) / pixel**2
    return path


def _breasts(chest: Chest, x, y):
    """Path length through soft folds over the lower lungs."""
    if chest.breast == 0:
        return 0.0
    total = np.zeros_like(x)
    for side in (-1, 1):
        u, v = (x - side * 76 * chest.size) / 58, (y - 42) / 50
        total += np.sqrt(np.maximum(1 - u * u - v * v, 0)) * smooth_step(1 - v, 0, 0.3)
    return 42 * chest.breast * total


def _gas(chest: Chest, rng, x, y):
    """Path length through the gas of stomach and colon under the left dome."""
    cx, cy = rng.uniform(55, 80), 118 + chest.inspiration_mm + rng.uniform(-4, 10)
    a, b = rng.uniform(16, 30), rng.uniform(9, 17)
    wave = 1 + 0.12 * np.sin(3 * np.arctan2(y - cy, x - cx))
    square = 1 - ((x - cx) / (a * wave)) ** 2 - ((y - cy) / (b * wave)) ** 2
    return 34 * np.sqrt(np.maximum(square, 0))
