"""Bone of a CT on a coarse grid, and what its shape tells of a pelvis."""

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from msk_jax.data.images.series import Series

_TURN = 14  # degrees


def coarse_bone(
    series: Series, bone_hu: float, min_component_mm3: float, target_mm: float = 2.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bone on a coarse grid.

    Args:
        series: a CT.
        bone_hu: threshold on the block means.
        min_component_mm3: smaller connected pieces are dropped.
        target_mm: voxels are averaged in blocks up to about this size.

    Returns:
        bool [z, y, x]; spacing (x, y, z) in mm; centre of voxel [0, 0, 0] (x, y, z) in mm.
    """
    fine = np.asarray(series.spacing_mm)
    factors = np.maximum(1, np.rint(target_mm / fine)).astype(int)
    fx, fy, fz = np.minimum(factors, series.voxels.shape[::-1])
    nz, ny, nx = (n // f for n, f in zip(series.voxels.shape, (fz, fy, fx), strict=True))
    mean = np.empty((nz, ny, nx), np.float32)
    for k in range(nz):  # slice by slice: the sums of a whole CT would take gigabytes
        block = series.voxels[k * fz : (k + 1) * fz, : ny * fy, : nx * fx]
        block = block.reshape(fz * ny, fy, -1) if fz == 1 else block.sum(axis=0, dtype=np.int32)
        block = block.reshape(ny, fy, -1).sum(axis=1, dtype=np.int32)
        mean[k] = sum(block[:, i::fx] for i in range(fx))
    mean /= fx * fy * fz
    bone = mean > bone_hu
    spacing = fine * (fx, fy, fz)
    for box in ndimage.find_objects(bone.view(np.uint8)):  # all of the bone
        labels, _ = ndimage.label(bone[box])
        large = np.bincount(labels.ravel()) * spacing.prod() >= min_component_mm3
        large[0] = False
        bone[box] = large[labels]
    origin = np.asarray(series.origin_mm) + fine * (np.array([fx, fy, fz]) - 1) / 2
    return bone, spacing, origin


def closed(line: np.ndarray, width: int) -> np.ndarray:
    """Fill gaps of up to `width` - 1 in a bool line; its ends are not grown."""
    line, places = line.copy(), np.flatnonzero(line)
    steps = np.diff(places)
    for k in np.flatnonzero((steps > 1) & (steps <= width)):
        line[places[k] : places[k + 1]] = True
    return line


def widest_mm(bone: np.ndarray, pixel_mm: float) -> float:
    """Left-right extent of the bone in its widest slices (90th percentile), mm."""
    columns = bone.any(axis=1)
    widths = [np.ptp(np.flatnonzero(line)) + 1 for line in columns if line.any()]
    return float(np.percentile(widths, 90) * pixel_mm) if widths else 0.0


@dataclass(frozen=True)
class Mirror:
    """The mirror axis of a pelvis seen from above."""

    column: float
    """Where it crosses the middle row."""

    row: float
    """The middle row."""

    slope: float
    """Columns to the right per row downwards."""

    def column_at(self, row: float) -> float:
        """Where it crosses a row."""
        return self.column + self.slope * (row - self.row)


def mirror_of(bone: np.ndarray, pixel_mm: float) -> Mirror:
    """The axis about which the bone, seen from above, is most nearly its own mirror image.

    Among axes turned by up to `_TURN` (a patient does not lie straight); a hand beside the hip
    or a cut-off wing shifts the outer edges, but hardly this.
    """
    footprint = ndimage.gaussian_filter(bone.sum(axis=0).astype(np.float32), 1.5)
    middle = (np.array(footprint.shape) - 1) / 2
    columns = np.flatnonzero(bone.any(axis=(0, 1)))
    start, reach = (columns[0] + columns[-1]) / 2, 50.0 / pixel_mm
    # Every second turn on every second pixel, and those about the best of them on all.
    rough = _best_turn(footprint[::2, ::2], start / 2, reach / 2, range(-_TURN, _TURN + 1, 2))
    near = range(max(-_TURN, rough[2] - 2), min(_TURN, rough[2] + 2) + 1)
    _, column, turn = _best_turn(footprint, start, reach, near)
    turn = np.radians(turn)
    # Back to the image as it lies: the axis passes the middle row at u / cos and leans by tan.
    crossing = middle[1] + (column - middle[1]) / np.cos(turn)
    return Mirror(float(crossing), float(middle[0]), float(np.tan(turn)))


def _best_turn(
    footprint: np.ndarray, start: float, reach: float, turns: range
) -> tuple[float, float, int]:
    """(score, column, degrees) of the axis with the best mirror symmetry."""
    middle = (np.array(footprint.shape) - 1) / 2
    lines = [np.flatnonzero(footprint.any(axis=axis)) for axis in (1, 0)]
    corners = np.array(list(itertools.product(*((line[0], line[-1]) for line in lines)))) - middle
    best = (-1.0, 0.0, 0)
    for turn in turns:
        cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        matrix = np.array([[cos, -sin], [sin, cos]])
        # Only the box that the bone comes to lie in; all else is 0.
        place = corners @ matrix + middle
        low = np.maximum(np.floor(place.min(axis=0)).astype(int) - 2, 0)
        end = np.minimum(np.ceil(place.max(axis=0)).astype(int) + 3, footprint.shape)
        turned = np.zeros((end[0] - low[0], footprint.shape[1]), footprint.dtype)
        ndimage.affine_transform(
            footprint,
            matrix,
            middle - matrix @ (middle - low),
            output=turned[:, low[1] : end[1]],
            order=1,
        )
        best = max(best, (*_mirror_axis(turned, start, reach), turn))
    return best


def _mirror_axis(footprint: np.ndarray, start: float, reach: float) -> tuple[float, float]:
    """(score, column) of the upright axis with the best mirror symmetry, within a reach.

    Mirroring about column c pairs columns i and 2c - i, so the score of every c at once is the
    convolution of each row with itself.
    """
    width = footprint.shape[1]
    spectrum = np.fft.rfft(footprint, 2 * width, axis=1)
    scores = np.fft.irfft((spectrum**2).sum(axis=0), 2 * width)[: 2 * width - 1]
    axes = np.arange(2 * width - 1) / 2
    scores[np.abs(axes - start) > reach] = -1
    k = int(np.argmax(scores))
    return float(scores[k]), float(axes[k])


def posterior_edges(bone: np.ndarray, midline: float, pixel_mm: float) -> np.ndarray:
    """Row of the posterior edge of the bone within 80 mm of the midline, per slice; NaN: none."""
    reach = 80.0 / pixel_mm
    low, high = max(0, int(midline - reach)), int(midline + reach) + 1
    rows = bone[:, :, low:high].sum(axis=2)
    edges = np.full(len(bone), np.nan)
    for k, counts in enumerate(rows):
        total = counts.cumsum()
        if total[-1]:
            # The hindmost half percent may be a needle of a spinous process or a table rail.
            edges[k] = np.searchsorted(total, 0.995 * total[-1])
    return edges
