"""A volume in another frame: axes, spacing, straight with the patient. SimpleITK does the work."""

from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk

from msk_jax.data.images.series import Series
from msk_jax.data.images.volume import Volume
from msk_jax.errors import UserError


@dataclass(frozen=True)
class PatientFrame:
    """The frame that a network wants its volumes in."""

    axes: str = "LPS"
    """Where the column, row and slice index rise to, of L/R, P/A and S/I in any order."""

    spacing_mm: tuple[float, float, float] | None = None
    """Distance between columns, rows, slices; None keeps what the volume has along each axis."""

    straight: bool = False
    """Resample an oblique volume along the patient's own axes."""


def to_frame(volume: Volume, frame: PatientFrame, fill: float | None = None) -> Volume:
    """Reorient a volume, without touching a value, and resample it linearly where asked.

    Args:
        volume: of any orientation.
        frame: what is wanted.
        fill: value of what lies outside; by default the lowest of the volume.

    Raises:
        UserError: `axes` does not name each axis once, or a spacing is not positive.
    """
    _check(frame)
    fill = float(volume.voxels.min()) if fill is None else fill
    image = sitk.DICOMOrient(volume.to_sitk(), frame.axes)
    if frame.straight:
        image = _straighten(image, frame.axes, fill)
    if frame.spacing_mm is not None:
        image = _respace(image, frame.spacing_mm, fill)
    return replace(
        volume,
        voxels=sitk.GetArrayFromImage(image),
        spacing_mm=image.GetSpacing(),
        origin_mm=image.GetOrigin(),
        direction=image.GetDirection(),
    )


def upright(series: Series) -> Series:
    """A series in canonical order along the patient's axes, resampled only where it is oblique."""
    if np.array_equal(series.direction, np.eye(3).ravel()):
        return series
    image = sitk.DICOMOrient(series.to_sitk(), "LPS")
    if not np.allclose(image.GetDirection(), np.eye(3).ravel(), atol=1e-6):
        image = _straighten(image, "LPS", float(series.voxels.min()))
    return replace(
        series,
        voxels=sitk.GetArrayFromImage(image),
        spacing_mm=image.GetSpacing(),
        origin_mm=image.GetOrigin(),
        direction=tuple(np.eye(3).ravel().tolist()),
    )


def axes_of(volume: Volume) -> str:
    """Where the column, row and slice index rise to, as LPS; the nearest axis of an oblique one."""
    return sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(volume.direction)


def _check(frame: PatientFrame) -> None:
    pairs = [{"L", "R"}, {"P", "A"}, {"S", "I"}]
    if len(frame.axes) != 3 or any(len(pair & set(frame.axes)) != 1 for pair in pairs):
        raise UserError(
            f"{frame.axes!r} are no axes of a patient. Give one of L and R, one of P and A, and "
            "one of S and I, in the order of columns, rows and slices, as LPS."
        )
    if frame.spacing_mm is not None and not all(0 < mm < np.inf for mm in frame.spacing_mm):
        raise UserError(f"The spacing {frame.spacing_mm} mm is not positive. Give three distances.")


def _straighten(image: sitk.Image, axes: str, fill: float) -> sitk.Image:
    """The smallest box along the patient's axes that holds the whole volume."""
    direction = np.reshape(
        sitk.DICOMOrientImageFilter.GetDirectionCosinesFromOrientation(axes), (3, 3)
    )
    size = np.array(image.GetSize())
    corners = [
        image.TransformContinuousIndexToPhysicalPoint(tuple(map(float, np.array(c) * (size - 1))))
        for c in np.ndindex(2, 2, 2)
    ]
    along = np.array(corners) @ direction  # distances along the new axes
    spacing = np.array(image.GetSpacing())
    count = np.ceil(np.ptp(along, axis=0) / spacing - 1e-6).astype(int) + 1
    return _onto(image, count, spacing, direction @ along.min(axis=0), direction, fill)


def _respace(image: sitk.Image, spacing_mm, fill: float) -> sitk.Image:
    """Another spacing over the same extent, the outer faces of the outer voxels kept."""
    old, new = np.array(image.GetSpacing()), np.array(spacing_mm, float)
    size = np.array(image.GetSize())
    count = np.maximum(1, np.rint(size * old / new)).astype(int)
    direction = np.reshape(image.GetDirection(), (3, 3))
    shift = ((size - 1) * old - (count - 1) * new) / 2  # both centres in one place
    origin = np.array(image.GetOrigin()) + direction @ shift
    return _onto(image, count, new, origin, direction, fill)


def _onto(image: sitk.Image, count, spacing, origin, direction, fill: float) -> sitk.Image:
    return sitk.Resample(
        image,
        [int(n) for n in count],
        sitk.Transform(),
        sitk.sitkLinear,
        [float(v) for v in origin],
        [float(v) for v in spacing],
        [float(v) for v in np.ravel(direction)],
        fill,
    )
