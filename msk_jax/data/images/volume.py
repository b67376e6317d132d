"""One series as one array with its place in the patient and its units, whatever its orientation."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset
from scipy import ndimage

from msk_jax.data.dicom.acquisitions import choose_part
from msk_jax.data.dicom.frames import (
    Frame,
    check_kind,
    check_one_patient,
    check_one_series,
    frames_of,
    groups_of,
    thickness_mm,
)
from msk_jax.data.dicom.geometry import Arrangement, Tolerance, arrange_slices
from msk_jax.data.dicom.headers import number, quiet, read_header, text
from msk_jax.data.dicom.laterality import laterality
from msk_jax.data.images.nifti_place import NiftiForm
from msk_jax.data.pixels.values import AIR_HU, Frames, check_padded, lowest_unpadded, read_frames
from msk_jax.errors import SeriesError

MAX_SHEAR_GROWTH = 2.0
"""Straightening may enlarge a slice to this many times its rows or columns."""


@dataclass(frozen=True)
class ReadOptions:
    """What to do where a series leaves a choice."""

    part: int | None = None
    """Which acquisition, from 0, where a series holds several, see `acquisitions.choose_part`; none
    refuses such series."""

    deshear: bool = False
    """Straighten a series with gantry tilt by linear interpolation; otherwise it is refused."""

    nifti_form: NiftiForm | None = None
    """Which statement of a NIfTI file about its place to trust where they differ."""

    real_world: bool = False
    """Values by the real-world-value map instead of the modality transformation."""

    tolerance: Tolerance = field(default_factory=lambda: Tolerance(min_slices=1))


@dataclass(frozen=True)
class Volume:
    """A series as an array. Identifying: `patient_id` and `series_uid` come from the header."""

    voxels: np.ndarray
    """float32 or float64 [slices, rows, columns], in `units`; padding is air (CT) or the lowest
    value."""

    spacing_mm: tuple[float, float, float]
    """Distance between columns, between rows, between slices."""

    origin_mm: tuple[float, float, float]
    """Centre of voxel [0, 0, 0] in patient coordinates (LPS)."""

    direction: tuple[float, ...]
    """Nine direction cosines, as SimpleITK has them."""

    units: str
    modality: str
    patient_id: str = ""
    series_uid: str = ""
    laterality: str = ""
    """L, R, B, U (unpaired) or '' where the header does not say."""

    window: tuple[float, float] | None = None
    """Centre and width that the first slice suggests for display, in `units`."""

    def to_sitk(self) -> sitk.Image:
        """The volume as a SimpleITK image, whose patient coordinates are LPS as well."""
        image = sitk.GetImageFromArray(self.voxels)
        image.SetSpacing(self.spacing_mm)
        image.SetOrigin(self.origin_mm)
        image.SetDirection(self.direction)
        return image

    def patient_mm(self, index: tuple[float, float, float]) -> np.ndarray:
        """Patient coordinates (x, y, z) of a voxel [slice, row, column], fractions allowed."""
        step = np.asarray(index, float)[::-1] * self.spacing_mm
        return np.asarray(self.origin_mm) + np.reshape(self.direction, (3, 3)) @ step


@quiet
def read_volume(
    paths: Iterable[Path], modality: str | None = None, options: ReadOptions | None = None
) -> Volume:
    """Read the files of one series, classic or enhanced multi-frame, into one volume.

    Slices are ordered by their position along the slice normal; file order, file names and
    instance numbers play no part.

    Args:
        paths: the files of the series, in any order.
        modality: what every file must say; by default what the first says.
        options: what to do where the series leaves a choice.

    Raises:
        SeriesError: anything that keeps the files from being one straight, complete, evenly spaced
            volume of one patient with known units; see `geometry.arrange_slices` and
            `values.read_frames` as well.
    """
    options = options or ReadOptions()
    paths, headers, frames = read_frames_of_series(paths, modality)
    frames = choose_part(frames, options.part)
    planes = [frame.plane for frame in frames]
    thickness = thickness_mm(groups_of(headers[frames[0].file], frames[0].index))
    laid = arrange_slices(planes, options.tolerance, thickness, allow_shear=options.deshear)
    ordered = [frames[i] for i in laid.order]
    voxels, padding, units = _decode(paths, headers, ordered, options.real_world)
    if padding is not None:
        voxels[padding] = AIR_HU if units == "HU" else lowest_unpadded(voxels, padding)
        check_padded(voxels)
    if any(laid.shear_mm):
        voxels, laid = deshear(voxels, laid, AIR_HU if units == "HU" else float(voxels.min()))
    first = headers[ordered[0].file]
    return Volume(
        voxels=voxels,
        spacing_mm=laid.spacing_mm,
        origin_mm=laid.origin_mm,
        direction=laid.direction,
        units=units,
        modality=text(first, "Modality").upper(),
        patient_id=text(first, "PatientID"),
        series_uid=text(first, "SeriesInstanceUID"),
        laterality=laterality(first),
        window=window_of(first),
    )


def read_frames_of_series(
    paths: Iterable[Path], modality: str | None
) -> tuple[list[Path], list[Dataset], list[Frame]]:
    """Open the files of a series and find its frames; raises what `read_volume` does."""
    paths = sorted(Path(path) for path in paths)
    if not paths:
        raise SeriesError("The series has no files. Give the folder with its DICOM files.")
    headers = [read_header(path) for path in paths]
    check_one_series(headers)
    check_one_patient([text(header, "PatientID") for header in headers])
    check_kind(paths, headers, modality)
    frames = [
        frame
        for i, (path, header) in enumerate(zip(paths, headers, strict=True))
        for frame in frames_of(i, path, header)
    ]
    return paths, headers, frames


def window_of(header: Dataset) -> tuple[float, float] | None:
    """The first window centre and width of a header, or None."""
    centre, width = number(header, "WindowCenter"), number(header, "WindowWidth")
    return None if centre is None or width is None or width <= 0 else (centre, width)


def _decode(paths, headers, ordered: list[Frame], real_world: bool):
    """Voxels [slices, rows, columns], where padding is (None: nowhere), units."""
    voxels, padding, units = None, None, {}
    decoded: dict[int, Frames] = {}
    last = {frame.file: k for k, frame in enumerate(ordered)}
    for k, frame in enumerate(ordered):
        if frame.file not in decoded:
            decoded[frame.file] = read_frames(paths[frame.file], headers[frame.file], real_world)
            units[decoded[frame.file].units] = paths[frame.file].name
        found = decoded[frame.file]
        if voxels is None:
            voxels = np.empty((len(ordered), *frame.plane.shape), found.values.dtype)
        voxels[k] = found.values[frame.index]
        if found.padding[frame.index].any():
            padding = np.zeros(voxels.shape, bool) if padding is None else padding
            padding[k] = found.padding[frame.index]
        if last[frame.file] == k:
            del decoded[frame.file]
    if len(units) > 1:
        listed = ", ".join(f"{unit} in {name}" for unit, name in sorted(units.items()))
        raise SeriesError(
            f"The slices have different units ({listed}). Keep one reconstruction per series."
        )
    return voxels, padding, next(iter(units))


def deshear(voxels: np.ndarray, laid: Arrangement, fill: float) -> tuple[np.ndarray, Arrangement]:
    """Move every slice within its plane to where it lies on the straight grid."""
    count, rows, columns = voxels.shape
    # Where each slice's first pixel lies on the grid of the first slice, in pixels (row, column).
    step = np.array([laid.shear_mm[1] / laid.spacing_mm[1], laid.shear_mm[0] / laid.spacing_mm[0]])
    offsets = np.arange(count)[:, None] * step
    low, high = np.floor(offsets.min(axis=0)), np.ceil(offsets.max(axis=0))
    size = np.array([rows, columns]) + (high - low).astype(int)
    if (size > MAX_SHEAR_GROWTH * np.array([rows, columns])).any():
        raise SeriesError(
            "The slices are tilted so far that straightening would more than double the image. "
            "Use a series scanned or reconstructed without tilt."
        )
    straight = np.empty((count, *size), voxels.dtype)
    for k in range(count):
        canvas = np.full(size, fill, voxels.dtype)
        canvas[:rows, :columns] = voxels[k]
        ndimage.shift(canvas, offsets[k] - low, straight[k], order=1, mode="constant", cval=fill)
    row, column, _ = np.reshape(laid.direction, (3, 3)).T
    start = low[1] * laid.spacing_mm[0] * row + low[0] * laid.spacing_mm[1] * column
    origin = tuple(float(v) for v in np.asarray(laid.origin_mm) + start)
    return straight, Arrangement(laid.order, laid.spacing_mm, origin, laid.direction, (0.0, 0.0))
