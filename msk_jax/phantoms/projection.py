"""What projection radiographs share: path lengths of simple bodies, and the way to a picture.

A path length is averaged over the pixel by the exact integral across the edge, so that a cortex
thinner than a pixel keeps its mass. Attenuations are those of a beam of about 60 keV.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from msk_jax.phantoms.phantom import COARSE

MU_SOFT = 0.0195  # per mm: muscle, blood
MU_FAT = 0.0176
CORTEX_EXCESS = 0.031  # per mm: cortical bone over the soft tissue that it displaces
MINERAL_EXCESS = 2.6e-5  # per mm and mg/cm3 of mineral in trabecular bone
LEVELS = 4095  # 12 bits
# 5 x 7 dots, a row as the bits of a number.
LETTERS = {"L": (16, 16, 16, 16, 16, 16, 31), "R": (30, 17, 17, 30, 20, 18, 17)}


@dataclass(frozen=True)
class Detector:
    """How the attenuation of a patient becomes the stored values of a detector."""

    photons: float  # per pixel in the unattenuated beam, after the dose to the detector
    psf_mm: float  # full width at half maximum
    scatter: float  # scattered share of the primary beam
    scatter_mm: float
    latitude: float  # share of the slowly changing background that processing takes away
    sharpening: float  # by processing, of what is finer than a millimetre or two
    gain: float  # contrast of the picture
    offset: float  # brightness of the picture
    gamma: float


@dataclass(frozen=True)
class Rendering:
    """stored uint16 and labels uint8 (0: nothing marked), both [rows, columns]; and, noise-free,
    the attenuation of soft tissue and what the bones add."""

    stored: np.ndarray
    labels: np.ndarray
    soft: np.ndarray
    excess: np.ndarray


def share(distance, pixel: float):
    """Share of a pixel that is inside, from the signed distance (negative inside) in mm."""
    return np.clip(0.5 - distance / np.float32(pixel), 0, 1)


def smooth_step(value, start: float, end: float):
    """0 before start, 1 after end, without a corner between."""
    place = np.clip((value - start) / (end - start), 0, 1)
    return place * place * (3 - 2 * place)


def ellipse_chord(offset, across, along, pixel: float):
    """Path length in mm through an ellipse, averaged over a pixel.

    Args:
        offset: distance of the pixel's centre from the ellipse's axis, in mm.
        across, along: half axes across and along the ray, in mm; broadcast with `offset`.
        pixel: width of the pixel in mm.
    """
    across = np.maximum(across, 1e-3)
    offset = np.asarray(offset, np.float32)
    low = np.clip((offset - pixel / 2) / across, -1, 1)
    high = np.clip((offset + pixel / 2) / across, -1, 1)
    return across * along * (_half_disc(high) - _half_disc(low)) / pixel


def _half_disc(u):
    """Integral of 2 sqrt(1 - u^2)."""
    return u * np.sqrt(1 - u * u) + np.arcsin(u)


@dataclass(frozen=True)
class Curve:
    """A curve in the picture, sampled densely: points [n, 2] (x, y) in mm, one value each."""

    points: np.ndarray
    across_mm: np.ndarray  # [n] half axis of the cross-section in the picture
    along_mm: np.ndarray  # [n] half axis along the ray
    obliquity: np.ndarray | float = 1.0  # [n] lengthening of the path where the curve dips


def tube(curve: Curve, x, y, wall_mm: float, pixel: float):
    """Path lengths through a tube: [rows, columns] of its wall and of its inside, and a slice.

    Args:
        curve: the middle line.
        x [columns], y [rows]: places of the pixels in mm, ascending.
        wall_mm: thickness of the wall.
        pixel: in mm.

    Returns:
        (wall, inside, window): path lengths within `window`, a pair of slices of the picture; None
        if the curve lies outside.
    """
    reach = float(np.max(curve.across_mm)) + pixel
    low, high = curve.points.min(0) - reach, curve.points.max(0) + reach
    columns = slice(*np.searchsorted(x, (low[0], high[0])))
    rows = slice(*np.searchsorted(y, (low[1], high[1])))
    gx, gy = np.meshgrid(x[columns], y[rows])
    if not gx.size:
        return None
    distance, nearest = cKDTree(curve.points).query(
        np.stack([gx.ravel(), gy.ravel()], 1), distance_upper_bound=reach
    )
    hit = np.isfinite(distance)
    nearest, distance = nearest[hit], distance[hit]
    a, b = curve.across_mm[nearest], curve.along_mm[nearest]
    slant = np.broadcast_to(curve.obliquity, len(curve.points))[nearest]
    outer = ellipse_chord(distance, a, b, pixel)
    inner = ellipse_chord(distance, np.maximum(a - wall_mm, 0), np.maximum(b - wall_mm, 0), pixel)
    wall, inside = np.zeros(gx.size, np.float32), np.zeros(gx.size, np.float32)
    wall[hit], inside[hit] = (outer - inner) * slant, inner * slant
    return wall.reshape(gx.shape), inside.reshape(gx.shape), (rows, columns)


def polyline(corners, step_mm: float = 0.7) -> np.ndarray:
    """Points [n, 2] along a smooth curve through `corners` [k, 2], about step_mm apart."""
    corners = np.asarray(corners, float)
    length = np.r_[0, np.cumsum(np.hypot(*np.diff(corners, axis=0).T))]
    places = np.linspace(0, length[-1], max(int(length[-1] / step_mm), 2) + 1)
    if len(corners) < 3:
        return np.stack([np.interp(places, length, c) for c in corners.T], 1)
    return CubicSpline(length, corners)(places)


def broad(picture, sigma_mm: float, pixel: float):
    """A wide Gaussian blur, worked out on blocks of COARSE pixels."""
    rows, columns = picture.shape
    blocks = picture.reshape(rows // COARSE, COARSE, columns // COARSE, COARSE).mean((1, 3))
    blurred = gaussian_filter(blocks, sigma_mm / pixel / COARSE, mode="nearest", truncate=3)
    return _between(rows) @ blurred.astype(np.float32) @ _between(columns).T


@lru_cache(maxsize=8)
def _between(count: int) -> np.ndarray:
    """Weights [count, count / COARSE] of linear interpolation between the middles of blocks."""
    blocks = count // COARSE
    place = np.clip((np.arange(count) + 0.5) / COARSE - 0.5, 0, blocks - 1)
    return np.maximum(1 - np.abs(place[:, None] - np.arange(blocks)), 0).astype(np.float32)


def expose(soft, excess, detector: Detector, pixel: float, rng) -> np.ndarray:
    """The stored picture, uint16 [rows, columns], dense tissue bright.

    Scatter, background and window follow from the soft tissue alone, so that nothing about the
    bones is told outside of them (but for the detector's blur).

    Args:
        soft: attenuation without bones, [rows, columns]; a multiple of COARSE each way.
        excess: what the bones add to it.
        detector: see `Detector`.
        pixel: in mm.
        rng: of the noise.
    """
    through = np.exp(-soft)
    veil = np.float32(detector.scatter) * broad(through, detector.scatter_mm, pixel)
    primary = gaussian_filter(np.exp(-soft - excess), detector.psf_mm / 2.355 / pixel, truncate=3)
    signal = primary + veil
    noise = rng.standard_normal(soft.shape, dtype=np.float32)
    signal = signal + noise * np.sqrt(signal / np.float32(detector.photons))
    reference = -np.log(through + veil)
    background = np.float32(detector.latitude) * broad(reference, 30.0, pixel)
    picture = -np.log(np.maximum(signal, 1e-5)) - background
    smooth = gaussian_filter(picture, 1.6 / pixel, truncate=3)
    picture += np.float32(detector.sharpening) * (picture - smooth)
    body = soft > 0.2
    low, high = np.percentile((reference - background)[body][::7], (1, 99))
    scaled = (picture - low) / (high - low + 0.5)
    value = 0.5 + detector.gain * (scaled - 0.5) + detector.offset
    value = np.clip(value, 0, 1) ** detector.gamma
    return np.rint(value * LEVELS).astype(np.uint16)


def stamp(picture: np.ndarray, letter: str, row: int, column: int, dot: int) -> None:
    """Write a lead letter into a stored picture; row and column are its upper left corner."""
    bits = np.array([[code >> (4 - k) & 1 for k in range(5)] for code in LETTERS[letter]], bool)
    bits = np.kron(bits, np.ones((dot, dot), bool))
    place = picture[row : row + bits.shape[0], column : column + bits.shape[1]]
    place[bits[: place.shape[0], : place.shape[1]]] = int(0.97 * LEVELS)
