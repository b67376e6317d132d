"""The bone around the lacunae: marrow spaces with their cells, vessels, cracks, lamellae.

Nothing here knows which lacunae are empty. How many cells the marrow has and how much of the
picture it takes varies by section, so that the amount of blue or white says little.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, zoom

from msk_jax.phantoms.histology.ellipses import Ellipses, cover, stamp

MARROW_SHARE = (0.06, 0.36)  # of a picture
CELLS_PER_MM2 = (600.0, 7000.0)  # of marrow
CANALS_PER_MM2 = 5.0
CRACKS_PER_MM2 = 14.0
COARSE = 4  # pixels over which distances are worked out
NODES = 3  # of a coarse grid, over the standard deviation of a smooth field


@dataclass(frozen=True)
class Tissue:
    """One field of bone, before the lacunae; fields are [rows, columns] float32."""

    bone: np.ndarray  # share of matrix in each pixel
    depth_um: np.ndarray  # distance from the nearest marrow or vessel, 0 in it
    room_um: np.ndarray  # the same, from cracks too
    fat: np.ndarray  # share of marrow fat or of a vessel's lumen
    nuclei: np.ndarray  # haematoxylin of nuclei that lie in no lacuna
    cytoplasm: np.ndarray  # share of cytoplasm
    blood: np.ndarray  # share of red cells
    cracks: np.ndarray  # share of clefts
    marrow_share: float
    cells: int


def smooth_field(rng: np.random.Generator, size: int, scale: float) -> np.ndarray:
    """A random field [size, size] float32 of unit variance, Gaussian over `scale` pixels (SD).

    A field of many pixels is drawn on a coarser grid and interpolated: by hand, for a product of
    matrices would start the threads of a linear algebra library in every process that renders.
    """
    spacing = max(scale / NODES, 1.0)
    nodes = size if spacing == 1 else int(np.ceil(size / spacing)) + 2
    sigma = scale / spacing
    field = gaussian_filter(rng.standard_normal((nodes, nodes), np.float32), sigma, mode="wrap")
    field *= np.float32(2 * np.sqrt(np.pi) * sigma)
    if spacing == 1:
        return field
    places = np.arange(size) / spacing
    low = places.astype(int)
    share = (places - low).astype(np.float32)
    field = field[low] * (1 - share)[:, None] + field[low + 1] * share[:, None]
    return np.take(field, low, axis=1) * (1 - share) + np.take(field, low + 1, axis=1) * share


def draw_tissue(rng: np.random.Generator, size: int, pixel_um: float) -> Tissue:
    """A field of bone of `size` rows and columns."""
    share = float(rng.uniform(*MARROW_SHARE))
    field = smooth_field(rng, size, 55 / pixel_um) + 0.04 * smooth_field(rng, size, 5 / pixel_um)
    level = np.quantile(field[::COARSE, ::COARSE], 1 - share)
    slope = np.hypot(*np.gradient(field)) + 1e-4
    marrow = np.clip(0.5 + (field - level) / slope / 2, 0, 1).astype(np.float32)
    canals = _draw_canals(rng, size, pixel_um)
    lumen = np.zeros((size, size), np.float32)
    stamp(lumen, cover(canals, lumen.shape))
    cracks = np.zeros((size, size), np.float32)
    points = _draw_cracks(rng, size, pixel_um)
    stamp(cracks, cover(points, cracks.shape))
    space = np.maximum(marrow, lumen)
    cracks *= 1 - space
    depth = _distance(space, pixel_um)
    room = np.minimum(depth, _distance(cracks, pixel_um)) if len(points) else depth
    layers = {name: np.zeros((size, size), np.float32) for name in _LAYERS}
    cells = _fill_marrow(rng, layers, marrow, pixel_um)
    _line(rng, layers, depth, pixel_um)
    _fill_canals(rng, layers, canals, lumen, pixel_um)
    return Tissue(
        1 - space, depth, room, cracks=cracks, marrow_share=float(marrow.mean()), cells=cells,
        **layers,
    )  # fmt: skip


_LAYERS = ("fat", "nuclei", "cytoplasm", "blood")


def lamellae(rng: np.random.Generator, tissue: Tissue, pixel_um: float) -> np.ndarray:
    """Relative staining of the matrix, [rows, columns] float32 about 1: bright and dark lamellae
    along the surfaces of the bone, dark cement lines, and patches."""
    size = len(tissue.bone)
    wander = smooth_field(rng, size, 28 / pixel_um)
    depth = tissue.depth_um + 5 * wander + 0.9 * smooth_field(rng, size, 6 / pixel_um)
    period = rng.uniform(4.5, 7.5)
    strength = 0.055 + 0.04 * np.clip(smooth_field(rng, size, 35 / pixel_um), -1, 2)
    waves = np.sin(depth * np.float32(2 * np.pi / period)) * strength
    every = rng.uniform(45, 80)
    cement = np.exp(-(((depth - every / 2) % every - every / 2) ** 2) / 1.2)
    cement *= np.clip(0.5 + smooth_field(rng, size, 40 / pixel_um), 0, 1)
    patches = 0.07 * smooth_field(rng, size, 45 / pixel_um)
    fibres = 0.06 * smooth_field(rng, size, 0.8 / pixel_um)
    return 1 + waves + 0.16 * cement + patches + fibres


def direction(tissue: Tissue, x: np.ndarray, y: np.ndarray, pixel_um: float) -> np.ndarray:
    """Direction of the lamellae at points in pixels, in radians against x, towards y."""
    smooth = gaussian_filter(tissue.depth_um[::COARSE, ::COARSE], 12 / pixel_um / COARSE)
    down, right = np.gradient(smooth)
    rows, columns = (
        np.clip((v / COARSE).astype(int), 0, len(smooth) - 1) for v in (y, x)
    )  # fmt: skip
    return np.arctan2(down[rows, columns], right[rows, columns]) + np.pi / 2


def _distance(space: np.ndarray, pixel_um: float) -> np.ndarray:
    """Distance in um from what fills at least half a pixel, which is 0."""
    size = len(space)
    blocks = -(-size // COARSE)
    padded = np.pad(space, (0, blocks * COARSE - size), mode="edge")
    coarse = padded.reshape(blocks, COARSE, blocks, COARSE).max((1, 3)) < 0.5
    if coarse.all():
        return np.full(space.shape, 1e3, np.float32)
    distance = distance_transform_edt(coarse).astype(np.float32) * np.float32(COARSE * pixel_um)
    return zoom(distance, COARSE, order=1, grid_mode=True, mode="nearest")[:size, :size]


def _draw_canals(rng: np.random.Generator, size: int, pixel_um: float) -> Ellipses:
    """Vessels in canals, cut across or aslant."""
    count = int(rng.poisson(CANALS_PER_MM2 * (size * pixel_um / 1000) ** 2))
    minor = rng.uniform(7, 18, count) / pixel_um
    x, y = rng.uniform(0, size, (2, count))
    return Ellipses(x, y, minor * rng.uniform(1, 2.2, count), minor, rng.uniform(0, np.pi, count))


def _draw_cracks(rng: np.random.Generator, size: int, pixel_um: float) -> Ellipses:
    """Clefts as rows of discs: some longer than a picture's half, some as long as a lacuna."""
    count = int(rng.poisson(CRACKS_PER_MM2 * (size * pixel_um / 1000) ** 2))
    parts = []
    for _ in range(count):
        is_long = rng.random() < 0.3
        length = rng.uniform(60, 260) if is_long else rng.uniform(8, 30)
        widest = rng.uniform(0.7, 2.2) / pixel_um
        steps = max(int(length / pixel_um / 0.7), 4)
        turn = np.cumsum(rng.standard_normal(steps)) * 0.05 + rng.uniform(0, 2 * np.pi)
        x = rng.uniform(0, size) + np.cumsum(np.cos(turn)) * 0.7
        y = rng.uniform(0, size) + np.cumsum(np.sin(turn)) * 0.7
        taper = np.sin(np.pi * (np.arange(steps) + 0.5) / steps) ** 0.5
        parts.append(np.stack([x, y, np.maximum(widest * taper / 2 * 1.6, 0.5)]))
    x, y, radius = np.concatenate(parts, axis=1) if parts else np.zeros((3, 0))
    return Ellipses(x, y, radius, radius, np.zeros_like(x))


def _fill_marrow(rng, layers: dict, marrow: np.ndarray, pixel_um: float) -> int:
    """Fat cells, and between them blood-forming cells; their number."""
    size = len(marrow)
    area_mm2 = float(marrow.sum()) * (pixel_um / 1000) ** 2
    tries = int(area_mm2 * rng.uniform(300, 1800)) + 1
    x, y, radius = rng.uniform(0, size, tries), rng.uniform(0, size, tries), None
    radius = rng.uniform(12, 28, tries) / pixel_um
    chosen: list[int] = []
    for k in range(tries):
        gap = np.hypot(x[chosen] - x[k], y[chosen] - y[k]) - radius[chosen] - radius[k]
        if marrow[int(y[k]), int(x[k])] > 0.5 and (not chosen or gap.min() > -2 / pixel_um):
            chosen.append(k)
    stretch = rng.uniform(1, 1.25, len(chosen))
    fat = Ellipses(
        x[chosen], y[chosen], radius[chosen] * stretch, radius[chosen] / stretch,
        rng.uniform(0, np.pi, len(chosen)),
    )  # fmt: skip
    stamp(layers["cytoplasm"], cover(fat, marrow.shape, 1.5, grow=0.8 / pixel_um), 0.8)
    stamp(layers["fat"], cover(fat, marrow.shape, softness=1.5))
    layers["fat"] *= marrow
    layers["cytoplasm"] *= 1 - layers["fat"]
    cells = int(rng.poisson(area_mm2 * np.exp(rng.uniform(*np.log(CELLS_PER_MM2)))))
    crowd = smooth_field(rng, size, 18 / pixel_um)
    x, y = rng.uniform(0, size, (2, 12 * cells + 60))
    rows, columns = y.astype(int), x.astype(int)
    free = (marrow[rows, columns] > 0.9) & (layers["fat"][rows, columns] < 0.1)
    free &= crowd[rows, columns] > rng.normal(0, 0.7, len(x))
    x, y = x[free][:cells], y[free][:cells]
    minor = rng.uniform(1.7, 3.8, len(x)) / pixel_um
    nuclei = Ellipses(
        x, y, minor * rng.uniform(1, 1.5, len(x)), minor, rng.uniform(0, np.pi, len(x))
    )
    stamp(layers["cytoplasm"], cover(nuclei, marrow.shape, 2.0, grow=1.2 / pixel_um))
    stamp(layers["nuclei"], cover(nuclei, marrow.shape, 1.5), rng.uniform(0.3, 1.1, len(x)))
    for name in ("nuclei", "cytoplasm"):
        layers[name] *= marrow
    return len(x)


def _line(rng, layers: dict, depth_um: np.ndarray, pixel_um: float) -> None:
    """Flat lining cells along the surface of the bone."""
    size = len(depth_um)
    rows, columns = np.nonzero((depth_um[::2, ::2] > 0) & (depth_um[::2, ::2] < 2.2))
    if not len(rows):
        return
    count = int(len(rows) * pixel_um * rng.uniform(0.004, 0.03))
    chosen = rng.integers(0, len(rows), count)
    x, y = 2.0 * columns[chosen] + rng.random(count), 2.0 * rows[chosen] + rng.random(count)
    down, right = np.gradient(gaussian_filter(depth_um[::COARSE, ::COARSE], 2))
    place = tuple(np.clip((v / COARSE).astype(int), 0, len(down) - 1) for v in (y, x))
    angle = np.arctan2(down[place], right[place])
    x, y = (
        v - 1.5 / pixel_um * f(angle) for v, f in ((x, np.cos), (y, np.sin))
    )  # fmt: skip
    minor = rng.uniform(0.7, 1.3, count) / pixel_um
    flat = Ellipses(x, y, minor * rng.uniform(2.5, 5, count), minor, angle + np.pi / 2)
    stamp(layers["nuclei"], cover(flat, (size, size), 1.5), rng.uniform(0.35, 0.9, count))


def _fill_canals(rng, layers: dict, canals: Ellipses, lumen: np.ndarray, pixel_um: float) -> None:
    """An empty lumen with some red cells, and flat nuclei on its wall."""
    layers["fat"][:] = np.maximum(layers["fat"], 0.8 * lumen)
    for k in range(len(canals)):
        count = int(rng.integers(2, 7))
        angle = rng.uniform(0, 2 * np.pi, count)
        wall = canals.at([k]).outline(angle, grow=-1.2 / pixel_um)[0]
        tangent = canals.at([k]).outline(angle + 0.05)[0] - canals.at([k]).outline(angle - 0.05)[0]
        minor = rng.uniform(0.7, 1.2, count) / pixel_um
        flat = Ellipses(
            *wall.T,
            minor * rng.uniform(2, 4, count),
            minor,
            np.arctan2(tangent[:, 1], tangent[:, 0]),
        )
        stamp(layers["nuclei"], cover(flat, lumen.shape, 1.5), rng.uniform(0.4, 0.9, count))
        count = int(rng.integers(0, 14))
        within = np.sqrt(rng.random(count)) * 0.75
        middle = np.array([canals.x[k], canals.y[k]])
        spots = middle + within[:, None] * (
            canals.at([k]).outline(rng.uniform(0, 2 * np.pi, count))[0] - middle
        )
        radius = rng.uniform(2.2, 3.2, count) / pixel_um
        red = Ellipses(*spots.T, radius, radius, np.zeros(count))
        stamp(layers["blood"], cover(red, lumen.shape, 1.5))
