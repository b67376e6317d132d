"""NIfTI volumes and masks: stored values, and the place that their header states."""

import gzip
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import SimpleITK as sitk

from msk_jax.data.dicom.geometry import Arrangement
from msk_jax.data.dicom.headers import max_bytes
from msk_jax.data.images.nifti_place import (
    AGREEMENT_MM,
    NiftiForm,
    affine_of,
    corners_apart,
    skew_deg,
    straightened,
)
from msk_jax.data.images.volume import ReadOptions, Volume, deshear
from msk_jax.data.pixels.values import AIR_HU, ARBITRARY
from msk_jax.errors import SeriesError

_PAIR_ENDINGS = (".hdr", ".img")
NIFTI_ENDINGS = (".nii", ".nii.gz", *_PAIR_ENDINGS)
"""The last two are of pairs of files, which are refused by name."""

MAX_INFLATION = 1032
"""More than this times its size no deflated file can unfold to."""

MAX_BYTES = 2 * 2**30
"""What a compressed volume may take in memory, however small its file: masks are mostly nought and
unfold to many hundred times their size. 512 x 512 x 2048 voxels."""

_GZIP = b"\x1f\x8b"
_HEADER_BYTES = {348: "Nifti1Header", 540: "Nifti2Header"}


@dataclass(frozen=True)
class _Stored:
    """What a file holds."""

    name: str
    header: Any
    """nibabel's."""

    voxels: np.ndarray
    """[i, j, k] or [i, j], scaled."""


def is_nifti(file: Path) -> bool:
    """Whether a name is that of a NIfTI volume."""
    return file.name.lower().endswith(NIFTI_ENDINGS)


def read_nifti(
    path: Path, units: str = ARBITRARY, modality: str = "", options: ReadOptions | None = None
) -> Volume:
    """Read a NIfTI volume.

    NIfTI-1 and NIfTI-2 in either byte order, compressed by gzip or not, whatever the name says of
    that. Values are stored ones times slope plus intercept; a slope of 0 means that they are not
    scaled, and the intercept then does not count. Where the volume lies is what its sform and its
    qform (with pixdim) agree on within 0.1 mm at the farthest corner.

    Args:
        path: `.nii` or `.nii.gz`, three-dimensional.
        units: of its values, `HU` where the collection says so.
        modality: what to call it.
        options: `nifti_form`, which statement to trust where they differ; `deshear`, to straighten
            a volume whose axes are not perpendicular. The others are for DICOM.

    Raises:
        SeriesError: damaged, not three-dimensional, no grey values, values that are no numbers, no
            affine, statements about its place that differ, sheared, or out of proportion to its
            file.
    """
    options = options or ReadOptions()
    stored = _read(Path(path), (3,))
    affine = affine_of(stored.name, stored.header, stored.voxels.shape, options.nifti_form)
    if affine is None:
        raise _unplaced(stored.name)
    voxels, laid = stored.voxels.T, _laid(affine)
    if corners_apart(affine, straightened(affine), stored.voxels.shape) > AGREEMENT_MM:
        if not options.deshear:
            raise SeriesError(
                f"The axes of {stored.name} are {skew_deg(affine):.1f} degrees off a right angle "
                "(gantry tilt, or an affine registration). Give --deshear to straighten it, or "
                "resample it."
            )
        voxels, laid = _sheared(stored.name, stored.voxels, affine)
        voxels, laid = deshear(voxels, laid, AIR_HU if units == "HU" else float(voxels.min()))
    return Volume(
        voxels=np.ascontiguousarray(voxels),
        spacing_mm=laid.spacing_mm,
        origin_mm=laid.origin_mm,
        direction=laid.direction,
        units=units,
        modality=modality,
    )


def read_labels(path: Path, nifti_form: NiftiForm | None = None) -> sitk.Image:
    """Read a NIfTI mask of two or three dimensions.

    One of two, or of one slice, is a mask of a picture, row for row: it needs no place in the
    patient, and its spacing is that of the header's pixdim.

    Args:
        path: see `read_nifti`.
        nifti_form: which statement about its place to trust where they differ.

    Raises:
        SeriesError: damaged, of other dimensions, no place or one that contradicts itself, sheared,
            or out of proportion to its file.
    """
    stored = _read(Path(path), (2, 3))
    image = sitk.GetImageFromArray(stored.voxels.T)
    if stored.voxels.shape[2:] in ((), (1,)):
        image.SetSpacing([*_pixel_mm(stored.header), 1.0][: image.GetDimension()])
        return image
    affine = affine_of(stored.name, stored.header, stored.voxels.shape, nifti_form)
    if affine is None:
        raise _unplaced(stored.name)
    if corners_apart(affine, straightened(affine), stored.voxels.shape) > AGREEMENT_MM:
        raise SeriesError(
            f"The axes of the mask {stored.name} are {skew_deg(affine):.1f} degrees off a right "
            "angle. Resample it to the grid of its image."
        )
    laid = _laid(affine)
    image.SetSpacing(laid.spacing_mm)
    image.SetOrigin(laid.origin_mm)
    image.SetDirection(laid.direction)
    return image


def _pixel_mm(header: Any) -> tuple[float, float]:
    """Distances within a flat mask; only their proportion counts."""
    column, row = (float(v) for v in header["pixdim"][1:3])
    return (column, row) if 0 < column < np.inf and 0 < row < np.inf else (1.0, 1.0)


def _unplaced(name: str) -> SeriesError:
    return SeriesError(
        f"{name} has no affine (qform and sform are 0), so that left and right are not known. "
        "Export it with its orientation."
    )


def _laid(affine: np.ndarray) -> Arrangement:
    """Axes that are perpendicular but for rounding, of voxels [k, j, i]."""
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    return Arrangement(
        order=(),
        spacing_mm=tuple(steps.tolist()),
        origin_mm=tuple(affine[:3, 3].tolist()),
        direction=tuple((straightened(affine)[:3, :3] / steps).ravel().tolist()),
        shear_mm=(0.0, 0.0),
    )


def _sheared(name: str, voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, Arrangement]:
    """A volume [i, j, k] as slices whose rows and columns are perpendicular, and how each lies
    beside the one before."""
    for slices in (2, 1, 0):  # the third axis, if it will do: it is that of the slices
        column, row = (axis for axis in (0, 1, 2) if axis != slices)
        inside = affine.copy()
        inside[:3, slices] = np.cross(affine[:3, column], affine[:3, row])
        shape = [voxels.shape[axis] if axis != slices else 1 for axis in (0, 1, 2)]
        if corners_apart(inside, straightened(inside), tuple(shape)) <= AGREEMENT_MM:
            break
    else:
        raise SeriesError(
            f"No two axes of {name} are perpendicular, so that it cannot be straightened slice by "
            "slice. Resample it."
        )
    directions = straightened(inside)[:3, :3]
    across, down = (directions[:, a] / np.linalg.norm(directions[:, a]) for a in (column, row))
    normal = np.cross(across, down)
    origin, step = affine[:3, 3], affine[:3, slices]
    arranged = voxels.transpose(slices, row, column)
    if step @ normal < 0:
        arranged = arranged[::-1]
        origin, step = origin + (len(arranged) - 1) * step, -step
    widths = np.linalg.norm(affine[:3, [column, row]], axis=0)
    return arranged, Arrangement(
        order=(),
        spacing_mm=(float(widths[0]), float(widths[1]), float(step @ normal)),
        origin_mm=tuple(origin.tolist()),
        direction=tuple(np.stack([across, down, normal], axis=1).ravel().tolist()),
        shear_mm=(float(step @ across), float(step @ down)),
    )


def _read(path: Path, dimensions: tuple[int, ...]) -> _Stored:
    if path.name.lower().endswith(_PAIR_ENDINGS):
        raise SeriesError(
            f"{path.name} is one of a pair of files (.hdr and .img), which is not read. Save the "
            "volume as one .nii file."
        )
    try:
        with _opened(path) as (file, is_packed):
            header = _header(file, path.name)
            sizes = _sizes(header, path, dimensions, is_packed)
            return _Stored(path.name, header, _values(file, header, sizes, path.name))
    except SeriesError:
        raise
    except Exception as error:
        raise SeriesError(
            f"{path.name} cannot be read as NIfTI ({type(error).__name__}): it is truncated or "
            "damaged. Copy it again."
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, bool]]:
    """A file, unpacked where its content is packed, and whether it is."""
    with path.open("rb") as file:
        is_packed = file.read(2) == _GZIP
        file.seek(0)
        if not is_packed:
            yield file, False
            return
        with gzip.open(file) as unpacked:
            yield unpacked, True


def _header(file: BinaryIO, name: str) -> Any:
    """nibabel's header of a single file, of version 1 or 2."""
    import nibabel  # takes half a second, and few runs read NIfTI

    head = file.read(540)
    if len(head) < 348:
        raise SeriesError(f"{name} cannot be read as NIfTI: it is truncated. Copy it again.")
    for order in "<>":
        length = struct.unpack(f"{order}i", head[:4])[0]
        if length in _HEADER_BYTES:
            break
    else:
        raise SeriesError(f"{name} is no NIfTI file. Save it again.")
    header = getattr(nibabel, _HEADER_BYTES[length])(head[:length], endianness=order, check=False)
    mark = bytes(header["magic"])[:2]
    if mark == b"ni":
        raise SeriesError(
            f"{name} is the header of a pair of files (.hdr and .img). Save the volume as one "
            ".nii file."
        )
    if mark != b"n+":
        raise SeriesError(
            f"{name} is no NIfTI file but of the older Analyze form, which does not tell left from "
            "right. Convert it again from the original images."
        )
    return header


def _sizes(
    header: Any, path: Path, dimensions: tuple[int, ...], is_packed: bool
) -> tuple[int, ...]:
    """Voxels along each axis, before anything is allocated."""
    count = int(header["dim"][0])
    sizes = [max(1, int(n)) for n in header["dim"][1 : 1 + max(0, min(7, count))]]
    if len(sizes) < min(dimensions) or any(n > 1 for n in sizes[max(dimensions) :]):
        raise SeriesError(
            f"{path.name} is no volume of {' or '.join(map(str, dimensions))} dimensions. Give one "
            "volume a file."
        )
    sizes = sizes[: max(dimensions)]
    if int(header["datatype"]) not in _DATATYPES:
        raise SeriesError(
            f"The voxels of {path.name} are no grey values but colours, complex numbers or single "
            f"bits (datatype {int(header['datatype'])}). Save it as whole or floating numbers."
        )
    width = header.get_data_dtype().itemsize
    number = float(np.prod([float(n) for n in sizes]))
    stored, needed = number * width, number * max(4, width)
    limit = max_bytes(path)
    if is_packed and stored <= MAX_INFLATION * os.path.getsize(path):
        limit = max(limit, MAX_BYTES)
    if needed > limit:
        raise SeriesError(
            f"{path.name} promises {needed / 2**20:,.0f} MB, too much for a file of its size: it "
            "is damaged or made to harm. Remove it."
        )
    return tuple(sizes)


_DATATYPES = (2, 4, 8, 16, 64, 256, 512, 768, 1024, 1280, 1536)
"""Codes of whole numbers of 8 to 64 bits and of floating ones of 32 to 128."""


def _values(file: BinaryIO, header: Any, sizes: tuple[int, ...], name: str) -> np.ndarray:
    """Scaled values in an order of bytes and a type that all else can take."""
    from nibabel.volumeutils import array_from_file

    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    # nibabel writes no number for both where nothing is scaled.
    is_scaled = slope != 0 and not np.isnan(slope)
    if is_scaled and not np.isfinite([slope, intercept]).all():
        raise SeriesError(
            f"{name} states a slope of {slope:g} and an intercept of {intercept:g}, by which no "
            "value can be had. Save it again."
        )
    start = int(header["vox_offset"]) or header.single_vox_offset
    kind = header.get_data_dtype()
    values = np.asarray(array_from_file(sizes, kind, file, start, order="F", mmap=False))
    file.read(1)  # at the end gzip compares its check sum
    is_deep = kind.itemsize > 4 or (kind.kind != "f" and kind.itemsize == 4)
    if is_scaled and (slope, intercept) != (1, 0):
        values = values.astype(np.float64) * slope + intercept
    values = values.astype(np.float64 if is_deep else np.float32)
    missing = values.size - np.count_nonzero(np.isfinite(values))
    if missing:
        raise SeriesError(
            f"{name} holds values that are no numbers, or too large for one ({missing:,} of "
            f"{values.size:,} voxels). Give them the value of air or of the background, and save "
            "it again."
        )
    return values
