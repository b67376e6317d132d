"""From tissue and lacunae to what a camera on a microscope stores.

Amounts of haematoxylin, eosin and residual stain add up to an optical density by the vectors of
Ruifrok and Johnston (Anal Quant Cytol Histol 2001;23(4):291-299), whose third vector, of
diaminobenzidine, takes what the other two leave of the hue of eosin on bone and of red cells. Light
passes by Beer-Lambert; then come the objective's blur, uneven illumination and noise. Outlines are
drawn with the share of each pixel that they cover.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from msk_jax.phantoms.histology.animal import Animal, Section
from msk_jax.phantoms.histology.ellipses import Ellipses, cover, stamp
from msk_jax.phantoms.histology.lacunae import Lacunae
from msk_jax.phantoms.histology.tissue import Tissue, lamellae, smooth_field

STAINS = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [0.268, 0.570, 0.776]])
"""Optical density of red, green and blue light for one unit of haematoxylin, eosin, residual."""

# Haematoxylin, eosin, residual.
MATRIX = (0.03, 0.15, 0.105)
MARROW = (0.025, 0.055, 0.04)
CYTOPLASM = (0.10, 0.09, 0.04)
BLOOD = (0.0, 0.36, 0.30)
WHITE = (0.004, 0.01, 0.008)
WALL = (0.10, 0.05, 0.02)  # on top of the matrix, around a lacuna
NUCLEUS_EOSIN = 0.10  # in shares of a nucleus's haematoxylin


@dataclass(frozen=True)
class Rendering:
    """One tile: the picture, and where the lacunae are."""

    picture: np.ndarray  # [rows, columns, 3] uint8
    labels: np.ndarray  # [rows, columns] uint8: 0, or 1 + the class of the lacuna, as drawn


def render(config, section: Section, tissue: Tissue, lacunae: Lacunae) -> Rendering:
    """Render a tile of the cohort `config` (a HistologyPhantom)."""
    rng = section.stream(config.seed, "texture")
    size, pixel = config.matrix, config.pixel_um
    stains = _tissue_stains(rng, tissue, size, pixel)
    hollow = _lay_lacunae(rng, stains, lacunae, size, pixel)
    _mix(stains, tissue.cracks * (1 - hollow), WHITE)
    stains *= section.stain.astype(np.float32)[:, None, None]
    vectors = (-np.log(10) * STAINS).astype(np.float32)
    light = np.exp([sum(vectors[s, k] * stains[s] for s in range(3)) for k in range(3)])
    picture = _photograph(section.stream(config.seed, "camera"), light, section.animal, pixel)
    return Rendering(picture, _labels(lacunae, size))


def _mix(stains: np.ndarray, share: np.ndarray, amounts) -> None:
    """Put other amounts [3] (or [3, rows, columns]) in the place of that share of each pixel."""
    for layer, amount in zip(stains, amounts, strict=True):
        layer += share * (np.float32(amount) - layer)


def _tissue_stains(rng, tissue: Tissue, size: int, pixel: float) -> np.ndarray:
    """Amounts [3, rows, columns] float32 without lacunae."""
    relative = lamellae(rng, tissue, pixel)
    stroma = 1 + 0.3 * smooth_field(rng, size, 3 / pixel)
    stroma += 0.3 * smooth_field(rng, size, 0.9 / pixel)
    stains = np.empty((3, size, size), np.float32)
    space = 1 - tissue.bone
    for layer, matrix, marrow in zip(stains, MATRIX, MARROW, strict=True):
        layer[:] = matrix * relative * tissue.bone + marrow * stroma * space
    _mix(stains, tissue.fat, WHITE)
    _mix(stains, tissue.cytoplasm, CYTOPLASM)
    _mix(stains, tissue.blood, BLOOD)
    grain = 1 + 0.25 * smooth_field(rng, size, 0.7 / pixel)
    _lay_nuclei(stains, tissue.nuclei, grain)
    return stains


def _lay_nuclei(stains: np.ndarray, haematoxylin: np.ndarray, grain: np.ndarray) -> None:
    """Nuclei with the chromatin's grain, in the place of what lies there."""
    share = np.minimum(haematoxylin / 0.3, 1)
    amount = haematoxylin * np.clip(grain, 0.4, 1.7)
    _mix(stains, share, (amount, NUCLEUS_EOSIN * amount, 0.04 * amount))


def _lay_lacunae(rng, stains: np.ndarray, lacunae: Lacunae, size: int, pixel: float) -> np.ndarray:
    """Wall, hollow, debris and nucleus of every lacuna; share [rows, columns] of their hollows."""
    shape = (size, size)
    wall, hollow, haematoxylin, eosin, nuclei, specks = np.zeros((6, *shape), np.float32)
    outline = cover(lacunae.ellipses, shape, 1.0)
    stamp(wall, cover(lacunae.ellipses, shape, 1.5 / pixel, grow=0.7 / pixel))
    stamp(hollow, outline)
    stamp(haematoxylin, outline, lacunae.haze[:, 0])
    stamp(eosin, outline, lacunae.haze[:, 1])
    for layer, amount in zip(stains, WALL, strict=True):
        layer += amount * np.maximum(wall - hollow, 0)
    haze = 1 + 0.4 * smooth_field(rng, size, 1.2 / pixel)
    _mix(stains, hollow, (haematoxylin * haze, eosin * haze, 0.4 * eosin * haze + 0.004))
    count = len(lacunae)
    drift = rng.uniform(-0.5, 0.5, (2, count)) * lacunae.ellipses.minor
    grain_radius = rng.uniform(0.4, 0.9, count) / pixel
    debris = Ellipses(
        lacunae.ellipses.x + drift[0], lacunae.ellipses.y + drift[1], grain_radius, grain_radius,
        np.zeros(count),
    )  # fmt: skip
    stamp(specks, cover(debris, shape, 1.5), lacunae.speck)
    stains[0] += specks
    there = lacunae.ratio > 1e-3
    stamp(nuclei, cover(lacunae.nuclei.at(there), shape, 1.5), lacunae.staining[there])
    chromatin = 1 + 0.22 * smooth_field(rng, size, 0.7 / pixel)
    _lay_nuclei(stains, nuclei, chromatin)
    return hollow


def _photograph(rng, light: np.ndarray, animal: Animal, pixel: float) -> np.ndarray:
    """The picture [rows, columns, 3] uint8 of transmitted light [3, rows, columns]."""
    size = light.shape[1]
    place = np.linspace(-1, 1, size, dtype=np.float32)
    middle = rng.uniform(-0.3, 0.3, 2).astype(np.float32)
    radius = (place - middle[0]) ** 2 + ((place - middle[1]) ** 2)[:, None]
    lamp = 1 - np.float32(animal.vignetting / 2) * radius
    white = rng.uniform(0.90, 0.985) * (1 + rng.uniform(-0.02, 0.02, 3))
    picture = np.empty((size, size, 3), np.float32)
    for k in range(3):
        blurred = gaussian_filter(light[k], animal.blur_um / pixel, truncate=3)
        picture[..., k] = blurred * lamp * np.float32(255 * white[k])
    noise = rng.standard_normal(picture.shape, np.float32)
    picture += noise * np.float32(animal.noise) * (0.4 + 0.6 * np.sqrt(picture / 255))
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _labels(lacunae: Lacunae, size: int) -> np.ndarray:
    """Where each lacuna covers at least half of a pixel."""
    labels = np.zeros(size * size, np.uint8)
    places, which, share = cover(lacunae.ellipses, (size, size))
    most = share >= 0.5
    labels[places[most]] = lacunae.classes[which[most]] + 1
    return labels.reshape(size, size)
