"""Where the slices of a series lie in the patient, and whether they form one straight volume.

All of it is arithmetic on the position, orientation and pixel spacing that each slice states
(DICOM PS3.3 C.7.6.2.1.1, Image Plane Module). Nothing is guessed from file names or instance
numbers, and nothing is repaired: what does not fit within the tolerances is refused.
"""

from dataclasses import dataclass

import numpy as np

from msk_jax.errors import SeriesError


@dataclass(frozen=True)
class Tolerance:
    """How far a series may stray from a straight axial stack before it is refused.

    The figures are ours: they keep the error in the patient coordinates of the sacroiliac joints,
    which lie within 60 mm of the middle of the volume, below about half a millimetre.
    """

    angle_deg: float = 0.5
    """Slice normal against the direction of the steps (gantry tilt), slices against the patient's
    axes (oblique acquisition): 0.5 degrees move a point 60 mm from the middle by 0.5 mm."""

    position_mm: float = 0.1
    """Slice position against the regular grid: scanners round positions to 0.1 mm or finer, so
    that honest positions are within 0.05 mm of the grid, and a grid fitted to its two rounded
    ends is off by as much again."""

    lateral_mm: float = 0.5
    """Slice centre against the straight line through the stack, measured within the slice."""

    cosine: float = 1e-2
    """Length of a direction against 1, and directions of rows and columns against a right angle:
    rounded to 3 decimals, the lengths are off by 0.0009 and the right angle by 0.0017 at most."""

    spacing_relative: float = 1e-3
    """Pixel spacing of one slice against that of another."""

    min_slices: int = 5
    """Fewer slices than this are no volume."""


DEFAULT_TOLERANCE = Tolerance()


@dataclass(frozen=True)
class SlicePlane:
    """One slice in patient coordinates (DICOM LPS, mm)."""

    name: str
    """Base name of the file, for messages."""

    position_mm: tuple[float, float, float]
    """Centre of the first pixel (ImagePositionPatient)."""

    orientation: tuple[float, float, float, float, float, float]
    """Direction of rising column index, then of rising row index (ImageOrientationPatient)."""

    pixel_mm: tuple[float, float]
    """Distance between rows, distance between columns (PixelSpacing)."""

    shape: tuple[int, int]
    """Rows, columns."""


@dataclass(frozen=True)
class Stack:
    """How to lay slices into canonical order: z, y and x ascending (superior, posterior, left)."""

    order: tuple[int, ...]
    """Indices into the slices given, from inferior to superior."""

    transpose: bool
    """Swap rows and columns of every slice, before the flips."""

    flip_y: bool
    flip_x: bool

    spacing_mm: tuple[float, float, float]
    """Distance between voxels along x, y, z."""

    origin_mm: tuple[float, float, float]
    """Centre of voxel [0, 0, 0] of the canonical volume, (x, y, z)."""

    def orient(self, pixels: np.ndarray) -> np.ndarray:
        """Turn one slice as stored, [rows, columns], into canonical [y, x]."""
        pixels = pixels.T if self.transpose else pixels
        return pixels[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]


@dataclass(frozen=True)
class Arrangement:
    """How to lay slices into an array [slices, rows, columns] along their own normal."""

    order: tuple[int, ...]
    """Indices into the slices given, in the direction of the slice normal."""

    spacing_mm: tuple[float, float, float]
    """Distance between columns, between rows, between slices (along the normal)."""

    origin_mm: tuple[float, float, float]
    """Centre of voxel [0, 0, 0] in patient coordinates (LPS)."""

    direction: tuple[float, ...]
    """Nine cosines, row by row, of the matrix whose columns are the directions of rising column,
    row and slice index: what SimpleITK calls the direction."""

    shear_mm: tuple[float, float]
    """How far each slice lies beside the one before, along rising column and rising row index."""


def arrange_slices(
    planes: list[SlicePlane] | tuple[SlicePlane, ...],
    tolerance: Tolerance = DEFAULT_TOLERANCE,
    thickness_mm: float | None = None,
    allow_shear: bool = False,
) -> Arrangement:
    """Check that slices of any orientation form one evenly spaced volume, and order them.

    Args:
        planes: the slices in any order.
        tolerance: see `Tolerance`.
        thickness_mm: the distance to state for a single slice.
        allow_shear: accept slices that are tilted against the direction in which they are stacked
            (gantry tilt), all by the same angle.

    Raises:
        SeriesError: as `stack_slices`, but for the direction of the slices, which may be any.
    """
    if len(planes) < tolerance.min_slices:
        raise _too_few(planes, tolerance)
    row, column, normal, order, positions = _ordered(planes, tolerance)
    shear = (0.0, 0.0)
    if len(planes) == 1:
        if not thickness_mm or thickness_mm <= 0:
            raise SeriesError(
                f"{planes[0].name} is a single slice and states no thickness, so that it is no "
                "volume. Export the whole series."
            )
        distance = float(thickness_mm)
    else:
        names = [planes[i].name for i in order]
        along = positions @ normal
        axis = int(np.abs(normal).argmax())
        _check_duplicates(along, positions, names, axis)
        _check_straight(along, positions, normal, tolerance, axis, allow_shear)
        _check_even(along, positions[:, axis], tolerance, axis)
        step = (positions[-1] - positions[0]) / (len(positions) - 1)
        distance = float(step @ normal)
        if angle_deg(step, normal) > tolerance.angle_deg:
            shear = (float(step @ row), float(step @ column))
    row_mm, column_mm = planes[0].pixel_mm
    return Arrangement(
        order=tuple(int(i) for i in order),
        spacing_mm=(float(column_mm), float(row_mm), distance),
        origin_mm=tuple(float(v) for v in positions[0]),
        direction=tuple(float(v) for v in np.stack([row, column, normal], axis=1).ravel()),
        shear_mm=shear,
    )


def stack_slices(
    planes: list[SlicePlane] | tuple[SlicePlane, ...], tolerance: Tolerance = DEFAULT_TOLERANCE
) -> Stack:
    """Check that slices form one straight, evenly spaced axial volume, and order them.

    Args:
        planes: the slices in any order.
        tolerance: see `Tolerance`.

    Raises:
        SeriesError: too few slices; sizes, spacings or orientations that differ; duplicated
            positions; a missing slice; uneven spacing; gantry tilt; an oblique or non-axial
            acquisition.
    """
    if len(planes) < tolerance.min_slices:
        raise _too_few(planes, tolerance)
    row, column, normal, order, positions = _ordered(planes, tolerance)
    along = positions @ normal
    _check_duplicates(along, positions, [planes[i].name for i in order])
    _check_straight(along, positions, normal, tolerance)
    _check_axial(row, column, normal, tolerance)
    _check_even(along, positions[:, 2], tolerance)
    if normal[2] < 0:
        order, positions = order[::-1], positions[::-1]
    return _canonical(planes[0], row, column, order, positions)


def angle_deg(a: np.ndarray, b: np.ndarray) -> float:
    """Angle between two lines (not arrows), in degrees, 0 to 90."""
    sine, cosine = np.linalg.norm(np.cross(a, b)), abs(float(np.dot(a, b)))
    return float(np.degrees(np.arctan2(sine, cosine)))


def orthonormal(orientations: np.ndarray) -> np.ndarray:
    """Directions of rising column and row index, of unit length and at a right angle: the nearest
    ones to those that headers round, each turned by as much as the other.

    Args:
        orientations: six cosines as of ImageOrientationPatient, [..., 6].

    Returns:
        [..., 2, 3].
    """
    axes = np.reshape(orientations, (*np.shape(orientations)[:-1], 2, 3))
    axes = axes / np.linalg.norm(axes, axis=-1, keepdims=True)
    row, column = axes[..., :1, :], axes[..., 1:, :]
    skew = (row * column).sum(axis=-1, keepdims=True)
    # Of two unit vectors, sum and difference are at a right angle, and so are their unit vectors'
    # sum and difference; what is at a right angle already stays as it is.
    longer, shorter = 1 / np.sqrt(1 - skew), 1 / np.sqrt(1 + skew)
    keep, take = (shorter + longer) / 2, (shorter - longer) / 2
    return np.concatenate([keep * row + take * column, keep * column + take * row], axis=-2)


def _too_few(planes, tolerance: Tolerance) -> SeriesError:
    return SeriesError(
        f"The series has {len(planes)} slice(s); at least {tolerance.min_slices} are needed "
        "for a volume. Export the whole series."
    )


def _ordered(planes, tolerance: Tolerance):
    """Row, column and normal directions; indices and positions along the normal."""
    _check_alike(planes, tolerance)
    row, column = orthonormal(np.asarray(planes[0].orientation, float))
    normal = np.cross(row, column)
    positions = np.asarray([plane.position_mm for plane in planes])
    order = np.argsort(positions @ normal, kind="stable")
    return row, column, normal, order, positions[order]


def _check_alike(planes, tolerance: Tolerance) -> None:
    sizes = sorted({plane.shape for plane in planes})
    if len(sizes) > 1:
        listed = ", ".join(f"{rows} x {columns}" for rows, columns in sizes[:4])
        raise SeriesError(
            f"The slices have different image sizes ({listed} pixels). Keep one reconstruction "
            "per series."
        )
    spacings = np.asarray([plane.pixel_mm for plane in planes])
    if not np.all(np.isfinite(spacings)) or np.any(spacings <= 0):
        raise SeriesError("The pixel spacing is not a positive number. Export the series again.")
    if np.ptp(spacings, axis=0).max() > tolerance.spacing_relative * spacings.min():
        low, high = spacings.min(), spacings.max()
        raise SeriesError(
            f"The slices have different pixel spacings ({low:.3f} to {high:.3f} mm). Keep one "
            "reconstruction per series."
        )
    stated = np.asarray([plane.orientation for plane in planes], float)
    axes = stated.reshape(-1, 2, 3)
    is_unit = (np.abs(np.linalg.norm(axes, axis=2) - 1) <= tolerance.cosine).all(axis=1)
    right_angle = np.abs((axes[:, 0] * axes[:, 1]).sum(axis=1)) <= tolerance.cosine
    skewed = ~(is_unit & right_angle)  # so is what is no number
    # What rounding left of their length must not pass for an angle. Compared as arrows: a slice
    # turned by 180 degrees differs.
    with np.errstate(invalid="ignore", divide="ignore"):
        straight = orthonormal(stated)
        chords = np.linalg.norm(straight - straight[0], axis=2).max(axis=1)
    turned = chords > 2 * np.sin(np.radians(tolerance.angle_deg) / 2)
    if not (skewed | turned).any():
        return
    i = np.argmax(skewed | turned)  # the first
    if skewed[i]:
        raise SeriesError(
            f"The image orientation of {planes[i].name} is not a pair of perpendicular unit "
            "vectors. Export the series again."
        )
    raise SeriesError(
        f"The slices have different orientations ({planes[0].name} and {planes[i].name}). "
        "Keep one reconstruction per series."
    )


def _check_duplicates(along, positions, names, axis: int = 2) -> None:
    for i in np.flatnonzero(np.diff(along) < 0.01):
        raise SeriesError(
            f"Two slices share the position {'xyz'[axis]} = {positions[i, axis]:.1f} mm "
            f"({names[i]} and "
            f"{names[i + 1]}). Remove the copy, or keep one acquisition per series."
        )


def _check_straight(
    along, positions, normal, tolerance: Tolerance, axis: int = 2, allow_shear: bool = False
) -> None:
    step = positions[-1] - positions[0]
    tilt = angle_deg(step, normal)
    if tilt > tolerance.angle_deg and not allow_shear:
        raise SeriesError(
            f"The slices are tilted by {tilt:.1f} degrees against the direction in which they are "
            f"stacked (gantry tilt; at most {tolerance.angle_deg:g} are accepted). Use a series "
            "scanned or reconstructed without tilt."
        )
    fraction = (along - along[0]) / (along[-1] - along[0])
    off_line = np.linalg.norm(positions - positions[0] - fraction[:, None] * step, axis=1)
    worst = int(off_line.argmax())
    if off_line[worst] > tolerance.lateral_mm:
        raise SeriesError(
            f"The slice at {'xyz'[axis]} = {positions[worst, axis]:.1f} mm lies "
            f"{off_line[worst]:.1f} mm beside the others. Keep one reconstruction per series."
        )


def _check_axial(row, column, normal, tolerance: Tolerance) -> None:
    off_axis = angle_deg(normal, np.array([0.0, 0.0, 1.0]))
    if off_axis > 45:
        raise SeriesError(
            "The series is not axial: its slices are coronal or sagittal. Use the axial series."
        )
    in_plane = max(np.degrees(np.arccos(np.clip(np.abs(v).max(), 0, 1))) for v in (row, column))
    off_axis = max(off_axis, float(in_plane))
    if off_axis > tolerance.angle_deg:
        raise SeriesError(
            f"The series is oblique: its slices are turned by {off_axis:.1f} degrees against the "
            f"patient's axes (at most {tolerance.angle_deg:g} are accepted). Use the axial series."
        )


def _check_even(along, z, tolerance: Tolerance, axis: int = 2) -> None:
    steps = np.diff(along)
    usual = float(np.median(steps))
    slack = 2 * tolerance.position_mm
    missing = np.round(steps / usual).astype(int) - 1
    is_gap = (missing >= 1) & (np.abs(steps - (missing + 1) * usual) <= slack * (missing + 1))
    is_usual = np.abs(steps - usual) <= slack
    # A gap is a hole in an otherwise even stack; anything else is a stack that is not even.
    if is_gap.any() and np.all(is_gap | is_usual) and is_gap.sum() < is_usual.sum():
        name = "xyz"[axis]
        holes = [
            f"between {name} = {min(z[i], z[i + 1]):.1f} and {name} = "
            f"{max(z[i], z[i + 1]):.1f} mm ({missing[i]} missing)"
            for i in np.flatnonzero(is_gap)
        ]
        more = f" and in {len(holes) - 3} more places" if len(holes) > 3 else ""
        raise SeriesError(
            f"Slices are missing {', '.join(holes[:3])}{more}, at {usual:.2f} mm between slices. "
            "Copy the whole series again."
        )
    grid = np.linspace(along[0], along[-1], len(along))
    if not is_usual.all() or np.abs(along - grid).max() > tolerance.position_mm:
        raise SeriesError(
            f"The slices are not evenly spaced: {steps.min():.2f} to {steps.max():.2f} mm apart. "
            "Use a series with one slice distance."
        )


def _canonical(plane: SlicePlane, row, column, order, positions) -> Stack:
    """Signs and axes of the stored slice -> flips; first pixel -> centre of voxel [0, 0, 0]."""
    transpose = bool(abs(row[1]) > abs(row[0]))
    along_x, along_y = (column, row) if transpose else (row, column)
    rows, columns = plane.shape
    row_mm, column_mm = plane.pixel_mm  # distance between rows, between columns
    size_x, size_y = (rows, columns) if transpose else (columns, rows)
    mm_x, mm_y = (row_mm, column_mm) if transpose else (column_mm, row_mm)
    extent_x, extent_y = mm_x * (size_x - 1), mm_y * (size_y - 1)
    # The remaining tilt is within tolerance; anchoring the axes at the middle of the volume
    # halves what is left of it at the edges and leaves next to nothing near the middle.
    corner = positions.mean(axis=0)
    centre = corner + along_x * extent_x / 2 + along_y * extent_y / 2
    spacing_z = (positions[-1, 2] - positions[0, 2]) / (len(positions) - 1)
    origin = centre - np.array([extent_x, extent_y, spacing_z * (len(positions) - 1)]) / 2
    return Stack(
        order=tuple(int(i) for i in order),
        transpose=transpose,
        flip_y=bool(along_y[1] < 0),
        flip_x=bool(along_x[0] < 0),
        spacing_mm=(float(mm_x), float(mm_y), float(spacing_z)),
        origin_mm=tuple(float(v) for v in origin),
    )
