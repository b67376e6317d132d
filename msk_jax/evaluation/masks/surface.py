"""Segmentations against each other: overlap, distances of the surfaces in mm, volumes."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from scipy.spatial import cKDTree

from msk_jax.evaluation.core.checks import check_choice
from msk_jax.evaluation.masks.surfels import surfel_areas

Convention = Literal["surfel", "boundary", "pooled"]


@dataclass(frozen=True)
class Overlap:
    """How two masks overlap and how far their volumes differ."""

    dice: float
    """2 |A ∩ B| / (|A| + |B|); 1 where both are empty."""
    iou: float
    """|A ∩ B| / |A ∪ B|; 1 where both are empty."""
    volume_mm3: float
    """Of the mask that is judged."""
    reference_mm3: float
    """Of the reference."""
    volume_error: float | None
    """(volume - reference) / reference; None where the reference is empty."""


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances between the surfaces of two masks; None where a mask is empty."""

    hd95_mm: float | None
    """95th percentile of the distances, the larger of the two directions unless pooled."""
    hd_mm: float | None
    """Largest distance."""
    asd_mm: tuple[float, float] | None
    """Average distance from the mask to the reference, and back."""
    assd_mm: float | None
    """Average over both surfaces together."""
    nsd: float
    """Share of both surfaces within the tolerance of the other; 1 where both are empty, 0 where
    one is."""
    convention: Convention
    """What the percentiles and averages weigh."""
    why: str | None = None
    """Why distances are missing."""


def overlap(mask: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]) -> Overlap:
    """Dice, intersection over union and volumes.

    Args:
        mask: bool, 2-D or 3-D.
        reference: bool, of the same shape.
        spacing: of the voxels, mm along each axis.

    Raises:
        ValueError: shapes or spacing that do not fit, or masks with other values than 0 and 1.
    """
    mask, reference = _checked(mask, reference, spacing)
    a, b, both = (int(np.count_nonzero(x)) for x in (mask, reference, mask & reference))
    voxel = float(np.prod(spacing))
    return Overlap(
        dice=2 * both / (a + b) if a + b else 1.0,
        iou=both / (a + b - both) if a + b else 1.0,
        volume_mm3=a * voxel,
        reference_mm3=b * voxel,
        volume_error=(a - b) / b if b else None,
    )


def surface_distances(
    mask: np.ndarray,
    reference: np.ndarray,
    spacing: tuple[float, ...],
    *,
    tolerance_mm: float = 1.0,
    convention: Convention = "surfel",
) -> SurfaceDistances:
    """Distances between surfaces in mm of masks and spacing as in `overlap`.

    Args:
        tolerance_mm: of the normalised surface distance.
        convention: "surfel": surface elements between voxels, weighed by their area (3-D) or
            length, percentile per direction, as in surface-distance. "boundary": voxels of the mask
            with a neighbour outside, equal weights, percentile per direction, as in MONAI.
            "pooled": boundary voxels, the percentile of both directions together. The three differ
            by up to a voxel; say which. Outside the image is background.

    Raises:
        ValueError: as `overlap`, or a negative tolerance.

    Source: S. Nikolov et al., J Med Internet Res 2021;23:e26151.
    """
    check_choice("convention", convention, ("surfel", "boundary", "pooled"))
    mask, reference = _checked(mask, reference, spacing)
    if not tolerance_mm >= 0:
        raise ValueError(f"A tolerance of {tolerance_mm} mm cannot be.")
    if not (mask.any() and reference.any()):
        nsd = float(not (mask.any() or reference.any()))
        why = f"{'Both masks are' if nsd else 'One mask is'} empty."
        return SurfaceDistances(None, None, None, None, nsd, convention, why)
    # What lies further than a voxel from either mask cannot be surface.
    box = _box(mask | reference)
    find = partial(_surfels if convention == "surfel" else _boundary, spacing=spacing)
    # NumPy and the tree let other threads run while they work.
    with ThreadPoolExecutor(2) as threads:
        cut = threads.map(lambda whole: np.pad(whole[box], 1), (mask, reference))
        (points, weight), (others, other_weight) = threads.map(find, cut)
        tree, other_tree = threads.map(_tree, (points, others))
    there, back = (t.query(p, workers=-1)[0] for t, p in ((other_tree, points), (tree, others)))
    if convention == "pooled":
        hd95 = float(np.percentile(np.r_[there, back], 95))
    elif convention == "boundary":
        hd95 = max(float(np.percentile(d, 95)) for d in (there, back))
    else:
        hd95 = max(_weighted_percentile(there, weight), _weighted_percentile(back, other_weight))
    total = weight.sum() + other_weight.sum()
    near = weight[there <= tolerance_mm].sum() + other_weight[back <= tolerance_mm].sum()
    return SurfaceDistances(
        hd95_mm=hd95,
        hd_mm=float(max(there.max(), back.max())),
        asd_mm=(
            float(np.average(there, weights=weight)),
            float(np.average(back, weights=other_weight)),
        ),
        assd_mm=float((there @ weight + back @ other_weight) / total),
        nsd=float(near / total),
        convention=convention,
    )


def _checked(
    mask: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    mask, reference = np.asarray(mask), np.asarray(reference)
    if mask.shape != reference.shape or mask.ndim not in (2, 3):
        raise ValueError(f"Masks {mask.shape} and {reference.shape} must be equal, 2-D or 3-D.")
    if len(spacing) != mask.ndim or not all(np.isfinite(s) and s > 0 for s in spacing):
        raise ValueError(f"A spacing of {spacing} mm does not fit a {mask.ndim}-D mask.")
    for array in (mask, reference):
        if array.dtype != bool and not np.isin(array, (0, 1)).all():
            raise ValueError("A mask may hold 0 and 1 only; judge labels one by one.")
    return mask.astype(bool), reference.astype(bool)


def _box(mask: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that holds a mask."""
    box = []
    for _ in range(mask.ndim):
        # Whole slices first: they are contiguous, and what is left has an axis less.
        places = np.flatnonzero(mask.reshape(len(mask), -1).any(axis=1))
        box.append(slice(places[0], places[-1] + 1))
        mask = mask[box[-1]].any(axis=0)
    return tuple(box)


def _tree(points: np.ndarray) -> cKDTree:
    """Distances are the same with any shape of the tree; this one is built in half the time."""
    return cKDTree(points, leafsize=32, balanced_tree=False)


def _points(mask: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Where a mask is true [points, axes] in mm; as np.argwhere, but faster in 3-D."""
    return np.stack(np.unravel_index(np.flatnonzero(mask), mask.shape), axis=1) * np.array(spacing)


def _boundary(mask: np.ndarray, spacing: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Voxels of the mask with a face neighbour outside [points, axes] in mm, each of weight 1.

    The outermost voxels are background.
    """
    inner = mask.copy()
    for axis in range(mask.ndim):
        here, before, behind = (
            tuple(part if a == axis else slice(None) for a in range(mask.ndim))
            for part in (slice(1, -1), slice(None, -2), slice(2, None))
        )
        inner[here] &= mask[before] & mask[behind]
    points = _points(mask & ~inner, spacing)
    return points, np.ones(len(points))


def _weighted_percentile(values: np.ndarray, weights: np.ndarray, percent: float = 95.0) -> float:
    """The first value at which the weights of all up to it reach the percentage."""
    order = np.argsort(values)
    share = np.cumsum(weights[order]) / weights.sum()
    place = np.searchsorted(share, percent / 100)
    return float(values[order][min(place, len(values) - 1)])


def _surfels(mask: np.ndarray, spacing: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Surface elements on the grid of corners between 2^d voxels, and the area of each.

    Returns:
        The corners whose voxels are not all alike [points, axes] in mm, and the area (3-D, mm²) or
        length (2-D, mm) of the surface through each.
    """
    d = mask.ndim
    code = np.zeros([s - 1 for s in mask.shape], np.uint8)
    for bit, corner in enumerate(np.ndindex(*(2,) * d)):
        window = tuple(slice(c, c + n - 1) for c, n in zip(corner, mask.shape, strict=True))
        code |= mask[window].astype(np.uint8) << bit
    on = (code != 0) & (code != 2 ** (2**d) - 1)
    return _points(on, spacing), surfel_areas(tuple(map(float, spacing)))[code[on]]
