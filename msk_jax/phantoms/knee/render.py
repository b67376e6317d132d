"""A patient of the knee cohort as a frontal and a lateral radiograph, with masks of the signs."""

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from msk_jax.phantoms.anatomy import stream
from msk_jax.phantoms.knee.anatomy import PARTS, PHYSES, Knee, section
from msk_jax.phantoms.knee.signs import Tumour
from msk_jax.phantoms.knee.tumour import MASS, PERIOSTEUM, PHYSIS, TUMOUR, Box, render_tumour
from msk_jax.phantoms.projection import (
    CORTEX_EXCESS,
    MINERAL_EXCESS,
    MU_FAT,
    MU_SOFT,
    Detector,
    Rendering,
    ellipse_chord,
    expose,
    stamp,
)
from msk_jax.phantoms.soft_tissue import coarse_noise

VIEWS = ("AP", "LL")
BONES_MM = 60  # no bone is further from the leg's axis
SHOWN_MM = {TUMOUR: 1.0, PERIOSTEUM: 0.5, MASS: 1.5}  # path length from which a mask counts


def render(
    knee: Knee,
    tumour: Tumour | None,
    physis_open: bool,
    side: str,
    detectors: dict[str, Detector],
    matrix: int,
    pixel_mm: float,
    seed: int,
    number: int,
) -> dict[str, Rendering]:
    """Both views of one patient from one description; without `tumour` the same leg, healthy."""
    pixel = pixel_mm / knee.magnification
    box = tumour and render_tumour(knee, tumour, stream(seed, number, "tumour field"), pixel)
    views = {}
    for index, view in enumerate(VIEWS):
        rng = stream(seed, number, f"view {view}")
        across, z = _places(knee, index, matrix, pixel)
        if view == "AP" and side == "R":  # the picture's right is the patient's left
            across = -across
        angle = np.radians(knee.turn_deg + 90 * index)
        soft = _soft(knee, rng, across, z, pixel)
        excess, labels = np.zeros(z.shape, np.float32), np.zeros(z.shape, np.uint8)
        near = np.flatnonzero((np.abs(across) < BONES_MM * knee.size).any(0))
        window = np.s_[:, near[0] : near[-1] + 1]
        excess[window], labels[window] = _bones(
            knee, physis_open, rng, across[window], z[window], angle, pixel
        )
        excess *= np.float32(knee.bone_factor)
        added = np.float32(0)
        if box is not None:
            change, added = _place(box, view, across, z, labels)
            excess = np.maximum(excess + change, 0)
        shown = expose(
            soft, excess + added, detectors[view], pixel, stream(seed, number, f"noise {view}")
        )
        row, column = (int(v * matrix) for v in rng.uniform((0.04, 0.84), (0.14, 0.92)))
        stamp(shown, side, row, column, matrix // 190 + 1)
        views[view] = Rendering(shown, labels, soft, excess + added)
    return views


def _places(knee: Knee, index: int, matrix: int, pixel: float):
    """Coordinates (across, z) in mm of the pixels of a view, [rows, columns]."""
    axis = ((np.arange(matrix) - (matrix - 1) / 2) * pixel).astype(np.float32)
    gx, gy = np.meshgrid(axis - knee.shift_mm[index][0], axis - knee.shift_mm[index][1])
    turn = np.float32(np.radians(knee.tilt_deg[index]))
    return gx * np.cos(turn) + gy * np.sin(turn), gy * np.cos(turn) - gx * np.sin(turn)


def _soft(knee: Knee, rng, across, z, pixel: float):
    """Attenuation of muscle, fat and skin: thigh, knee, calf."""
    s = knee.size
    half = (
        knee.soft_mm * s * np.interp(z / s, (-140, -70, 0, 60, 140), (1.22, 1.06, 1.0, 0.97, 0.9))
    )
    outer = ellipse_chord(across, half, half, pixel)
    inner = ellipse_chord(across, half - knee.fat_mm, half - knee.fat_mm, pixel)
    streak = coarse_noise(rng, (1, *z.shape), (1, pixel, pixel), (1, 22, 5))[0]
    fascia = coarse_noise(rng, (1, *z.shape), (1, pixel, pixel), (1, 40, 12))[0]
    planes = inner * (0.10 + 0.04 * streak + 0.05 * fascia)
    attenuation = MU_FAT * (outer - inner) + MU_SOFT * (inner - planes) + MU_FAT * planes
    return np.maximum(attenuation, 0).astype(np.float32)


def _bones(knee: Knee, physis_open: bool, rng, across, z, angle: float, pixel: float):
    """What the bones add before any tumour, and the mask with the growth plates."""
    labels = np.zeros(z.shape, np.uint8)
    noise = rng.standard_normal((2, *z.shape), dtype=np.float32)
    upright = gaussian_filter(noise[0], (3.5 / pixel, 0.5 / pixel), truncate=3)
    grain = gaussian_filter(noise[1], 0.7 / pixel, truncate=3)
    texture = np.clip(
        1 + knee.texture * (upright / upright.std() + 0.7 * grain / grain.std()), 0.2, 2
    )
    wave = coarse_noise(rng, (1, 2, z.shape[1]), (1, 1, pixel), (1, 1, 14))[0, 0]
    total = np.zeros(z.shape, np.float32)
    for bone, parts in PARTS.items():
        paths = [_chords(section(knee, part, z), across, angle, pixel) for part in parts]
        walls, insides = (np.stack(v) for v in zip(*paths, strict=True))
        # the shaft's stack and the lumps at its end overlap: the longer path counts
        lumps = insides[1:].sum(0) if len(parts) > 1 else np.zeros_like(z)
        shaft = insides[0] >= lumps
        inside = np.where(shaft, insides[0], lumps)
        wall = np.where(shaft, walls[0], walls[1:].sum(0)) if len(parts) > 1 else walls[0]
        added = CORTEX_EXCESS * wall + MINERAL_EXCESS * knee.trabecular_mg * inside * texture
        if bone in PHYSES:
            away = z - knee.size * PHYSES[bone] - 1.2 * wave[None, :]
            added = added * (1 + _plate(away, physis_open, knee.scar))
            labels[(np.abs(away) < 4) & (inside + wall > 1)] = PHYSIS
        total += added.astype(np.float32)
    return total, labels


def _plate(away, physis_open: bool, scar: float):
    """Change of density across a growth plate, open or closed."""
    if physis_open:
        return 0.25 * np.exp(-(((np.abs(away) - 2.0) / 0.7) ** 2)) - 0.5 * np.exp(
            -((away / 1.2) ** 2)
        )
    return 0.15 * scar * np.exp(-((away / 0.8) ** 2))


def _chords(cut, across, angle: float, pixel: float):
    """Path lengths through wall and inside of turned ellipses, exact at any angle."""
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    middle = cut.x * c + cut.d * s
    offset = across - middle

    def chord(a, b):
        half = np.sqrt((a * c) ** 2 + (b * s) ** 2)
        return ellipse_chord(offset, half, a * b / np.maximum(half, 1e-3), pixel)

    outer = chord(cut.a, cut.b)
    inner = chord(np.maximum(cut.a - cut.wall, 0), np.maximum(cut.b - cut.wall, 0))
    return outer - inner, inner


def _place(box: Box, view: str, across, z, labels):
    """The tumour's projections at the picture's pixels; its masks go into `labels`."""
    step = float(box.z[1] - box.z[0])
    at = np.stack([(z - box.z[0]) / step, (across - box.across[view][0]) / step])

    def look(field):
        return map_coordinates(field, at, order=1, mode="constant", prefilter=False)

    for code in (MASS, PERIOSTEUM, TUMOUR):
        labels[look(box.paths[view][code]) > SHOWN_MM[code]] = code
    return look(box.excess[view]), look(box.soft[view])
