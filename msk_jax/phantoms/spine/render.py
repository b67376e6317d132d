"""Rendering: a spine about one level to Hounsfield units on a CT grid, with a truth mask.

Voxels that may be bone are super-sampled (2 x 2 in the plane, 3 across), and edges are anti-aliased
over a sample; the rest is smooth.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from msk_jax.phantoms.anatomy import stream
from msk_jax.phantoms.ct import Grid, Scanner, add_scanner, trabecular_texture
from msk_jax.phantoms.soft_tissue import coarse_noise
from msk_jax.phantoms.spine.vertebra import (
    BAND,
    FRAGMENT,
    LINE,
    MIMIC,
    Findings,
    Spine,
    end_plates,
    materials,
    near_bone,
)

IN_PLANE, ACROSS = 2, 3
NEIGHBOURS = (-2, -1, 0, 1, 2)
MARGIN_MM = 2.0  # of points that are super-sampled
REACH_MM = 48.0  # the scan reaches this far above and below the level's middle


@dataclass(frozen=True)
class Rendering:
    """hu int16 and labels uint8 [slices, rows, columns]."""

    hu: np.ndarray
    labels: np.ndarray


def spine_grid(spine: Spine, matrix: int, pixel_mm: float, spacing_mm: float) -> Grid:
    """A small field of view with the spine in its front half."""
    slices = int(np.ceil(2 * REACH_MM / spacing_mm)) + 1
    x, y, z = spine.centre_mm
    half = (matrix - 1) / 2 * pixel_mm
    corner = np.round([x - half, y + 18 - half, z - (slices - 1) / 2 * spacing_mm], 2)
    return Grid(matrix, slices, pixel_mm, spacing_mm, tuple(corner.tolist()))


def to_spine(spine: Spine, x, y, z):
    """Coordinates along the spine of patient coordinates (arrays of one shape, mm)."""
    turn = Rotation.from_euler("xyz", spine.tilt_deg, degrees=True).as_matrix().T.astype(np.float32)
    p = [np.asarray(a - c, np.float32) for a, c in zip((x, y, z), spine.centre_mm, strict=True)]
    return tuple(sum(turn[i, j] * p[j] for j in range(3)) for i in range(3))


def render(
    spine: Spine,
    findings: dict[int, Findings],
    grid: Grid,
    scanner: Scanner,
    seed: int,
    patient: int,
) -> Rendering:
    """Render one patient; noise and texture depend on (seed, patient) alone.

    Args:
        spine: the patient.
        findings: of the level (0) and its neighbours (-2 to 2, upwards).
        grid: of the CT.
        scanner: its blur and noise.
        seed, patient: of the random streams.
    """
    rng = stream(seed, patient, "scan")
    spacing = (grid.spacing_mm, grid.pixel_mm, grid.pixel_mm)
    texture = trabecular_texture(rng, grid.shape, spacing) * spine.texture_hu
    uneven = coarse_noise(rng, grid.shape, spacing, (12, 12, 12)) * 12
    streak = coarse_noise(rng, grid.shape, spacing, (20, 6, 6))
    volume = np.empty(grid.shape, np.float32)
    labels = np.zeros(grid.shape, np.uint8)
    axis = np.arange(grid.matrix, dtype=np.float32) * np.float32(grid.pixel_mm)
    rows, columns = np.meshgrid(grid.origin_mm[1] + axis, grid.origin_mm[0] + axis, indexing="ij")
    for k, z_mm in enumerate(grid.z_mm):
        place = to_spine(spine, columns, rows, np.float32(z_mm))
        soft = _soft_tissue(spine, *place[:2], streak[k])
        near = _near(spine, findings, *(p.ravel() for p in place))
        hu, bone, spongy, truth = _bone(
            spine, findings, columns.ravel()[near], rows.ravel()[near], z_mm, grid
        )
        hu += spongy * (texture[k] + uneven[k]).ravel()[near]
        flat = soft.ravel()
        flat[near] += (hu - flat[near]) * bone
        volume[k] = flat.reshape(soft.shape)
        for code in (MIMIC, FRAGMENT, BAND, LINE):
            if code in truth:
                labels[k].ravel()[near[truth[code] >= 0.5]] = code
    return Rendering(add_scanner(volume, rng, scanner, grid.pixel_mm), labels)


def _near(spine: Spine, findings: dict[int, Findings], x, y, z) -> np.ndarray:
    """Which points of the spine's frame may have bone in their voxel."""
    box = np.flatnonzero((np.abs(x) < 46) & (y > -26) & (y < 66))
    x, y, z = x[box], y[box], z[box]
    found = np.zeros(len(box), bool)
    for level in NEIGHBOURS:
        local = z - np.float32(level * spine.pitch_mm)
        there = np.flatnonzero(np.abs(local) < 30)
        if len(there):
            found[there] |= near_bone(
                spine.vertebra, findings[level], x[there], y[there], local[there], MARGIN_MM
            )
    return box[found]


def _bone(spine: Spine, findings: dict[int, Findings], x, y, z_mm: float, grid: Grid):
    """Means over the samples of each voxel: HU of the bone, shares of bone and marrow, truth."""
    plane = ((np.arange(IN_PLANE) + 0.5) / IN_PLANE - 0.5) * grid.pixel_mm
    across = ((np.arange(ACROSS) + 0.5) / ACROSS - 0.5) * grid.spacing_mm
    steps = np.stack(np.meshgrid(plane, plane, across), axis=-1).reshape(-1, 3).astype(np.float32)
    # All samples of all voxels at once: small calls would cost more than what they compute.
    u, v, w = to_spine(
        spine,
        (x[:, None] + steps[:, 0]).ravel(),
        (y[:, None] + steps[:, 1]).ravel(),
        np.tile(np.float32(z_mm) + steps[:, 2], len(x)),
    )
    total, weight, spongy = (np.zeros_like(u) for _ in range(3))
    truth = {}
    for level in NEIGHBOURS:
        local = w - np.float32(level * spine.pitch_mm)
        there = np.flatnonzero(np.abs(local) < 30)
        if not len(there):
            continue
        hu, bone, inside, marks = materials(
            spine, findings[level], u[there], v[there], local[there], grid.pixel_mm / IN_PLANE
        )
        total[there] += hu * bone
        weight[there] += bone
        spongy[there] += inside
        for code, mark in marks.items() if level == 0 else ():
            truth.setdefault(code, np.zeros_like(u))[there] = mark

    def mean(values):
        return values.reshape(len(x), len(steps)).mean(axis=1)

    share = mean(weight)
    return (
        mean(total) / np.maximum(share, 1e-3),
        np.minimum(share, 1),
        np.minimum(mean(spongy), 1),
        {code: mean(marks) for code, marks in truth.items()},
    )


def _soft_tissue(spine: Spine, x, y, streak) -> np.ndarray:
    """HU [rows, columns] of everything but bone in one slice."""
    v = spine.vertebra

    def ellipse(cx, cy, a, b, edge=2.0):
        away = (np.sqrt(((x - cx) / a) ** 2 + ((y - cy) / b) ** 2) - 1) * min(a, b)
        return np.clip(0.5 - away / edge, 0, 1)

    tissue = -100 + 6 * streak  # retroperitoneal fat
    muscle = spine.muscle_hu + 6 * streak
    for side in (-1, 1):
        tissue += (muscle - tissue) * ellipse(side * 40, 2, 17, 22)  # psoas
        tissue += (muscle - tissue) * ellipse(side * 33, v.wall_mm + 32, 29, 24)  # erector spinae
        tissue += (35 + 5 * streak - tissue) * ellipse(side * 68, -14, 22, 28)  # kidney
    tissue += (spine.vessel_hu - tissue) * ellipse(-9, -v.half_depth_mm - 12, 11, 10)
    tissue += (spine.vessel_hu * 0.8 - tissue) * ellipse(13, -v.half_depth_mm - 11, 11, 8)
    # Bodies lie over it, so that a collapsed one leaves disc and blood above it, and no fat.
    tissue += (spine.disc_hu - tissue) * ellipse(0, 0, v.half_width_mm, v.half_depth_mm)
    canal = ellipse(0, v.wall_mm + v.canal_mm / 2, v.canal_half_mm, v.canal_mm / 2)
    tissue += (30 + 3 * streak - tissue) * canal
    back = np.clip((y - (spine.skin_mm - spine.fat_mm)) / 2, 0, 1)
    tissue += (-100 + 6 * streak - tissue) * back
    return tissue + (-1000 - tissue) * np.clip((y - spine.skin_mm) / 1.0, 0, 1)


def measured(spine: Spine, f: Findings) -> dict[str, float]:
    """What an ideal reader would measure on the level: heights, what the end plate that gave way
    less has lost, canal, pedicles."""
    v = spine.vertebra
    edge = np.float32(0.85 * v.half_depth_mm)
    zero = np.float32(0)
    heights, second = [], []
    for y in (-edge, zero, edge):
        upper, lower, *lost = end_plates(v, f, zero, y)
        heights.append(float(upper - lower))
        second.append(float(min(lost)))
    return {
        "anterior_height_mm": round(heights[0], 2),
        "middle_height_mm": round(heights[1], 2),
        "posterior_height_mm": round(heights[2], 2),
        "second_loss_mm": round(max(second), 2),
        "canal_mm": round(v.canal_mm - f.retropulsion_mm, 2),
        "pedicles_mm": round(2 * (v.canal_half_mm + 5) * (1 + f.spread), 2),
    }
