"""NIfTI volumes and masks: their affine gives spacing and orientation."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from msk_jax.data.geometry import SeriesError
from msk_jax.data.headers import max_bytes
from msk_jax.data.pixels import ARBITRARY
from msk_jax.data.volume import Volume

NIFTI_ENDINGS = (".nii", ".nii.gz")

MAX_INFLATION = 1032
"""More than this times its size no deflated file can unfold to."""

MAX_BYTES = 2 * 2**30
"""What a compressed volume may take in memory, however small its file: masks are mostly nought and
unfold to many hundred times their size. 512 x 512 x 2048 voxels."""


def is_nifti(file: Path) -> bool:
    """Whether a name is that of a NIfTI volume."""
    return file.name.lower().endswith(NIFTI_ENDINGS)


def read_nifti(path: Path, units: str = ARBITRARY, modality: str = "") -> Volume:
    """Read a NIfTI volume.

    Args:
      path: `.nii` or `.nii.gz`, three-dimensional.
      units: of its values, `HU` where the collection says so.
      modality: what to call it.

    Raises:
      SeriesError: damaged, not three-dimensional, no affine, or out of proportion to its file.
    """
    path = Path(path)
    image, is_placed = _read(path, (3,))
    if not is_placed:
        raise SeriesError(
            f"{path.name} has no affine (qform and sform are 0), so that left and right are not "
            "known. Export it with its orientation."
        )
    voxels = sitk.GetArrayFromImage(image)
    if voxels.ndim != 3:  # of three dimensions, whose voxels are colours or complex
        raise SeriesError(f"{path.name} is no volume of 3 dimensions. Give one volume a file.")
    voxels = voxels.astype(np.float64 if voxels.dtype.itemsize > 4 else np.float32)
    if not np.isfinite(voxels).all():
        raise SeriesError(f"{path.name} holds values that are no numbers. Save it again.")
    return Volume(
        voxels=voxels,
        spacing_mm=image.GetSpacing(),
        origin_mm=image.GetOrigin(),
        direction=image.GetDirection(),
        units=units,
        modality=modality,
    )


def read_labels(path: Path) -> sitk.Image:
    """Read a NIfTI mask of two or three dimensions as it is stored.

    Raises:
      SeriesError: damaged, of other dimensions, or out of proportion to its file.
    """
    return _read(Path(path), (2, 3))[0]


def _read(path: Path, dimensions: tuple[int, ...]) -> tuple[sitk.Image, bool]:
    """An image, and whether it has an affine."""
    try:
        is_placed = _check(path, dimensions)
        # By name: another format of that ending could point to files elsewhere.
        return sitk.ReadImage(str(path), imageIO="NiftiImageIO"), is_placed
    except SeriesError:
        raise
    except Exception as error:
        raise SeriesError(
            f"{path.name} cannot be read as NIfTI ({type(error).__name__}): it is truncated or "
            "damaged. Copy it again."
        ) from error


def _check(path: Path, dimensions: tuple[int, ...]) -> bool:
    """Look at a NIfTI-1 or NIfTI-2 header before anything is allocated; see `_read`."""
    is_packed = path.name.lower().endswith(".gz")
    with (gzip.open if is_packed else open)(path, "rb") as file:
        head = file.read(540)
    if len(head) < 348:
        raise SeriesError(f"{path.name} is truncated. Copy it again.")
    order = "<" if struct.unpack("<i", head[:4])[0] in (348, 540) else ">"
    header_bytes = struct.unpack(f"{order}i", head[:4])[0]
    if header_bytes not in (348, 540):
        raise SeriesError(f"{path.name} is no NIfTI file. Save it again.")
    if header_bytes == 348:
        dims = struct.unpack(f"{order}8h", head[40:56])
        bits, codes = struct.unpack(f"{order}h", head[72:74])[0], head[252:256]
        codes = struct.unpack(f"{order}2h", codes)
    else:
        dims = struct.unpack(f"{order}8q", head[16:80])
        bits = struct.unpack(f"{order}h", head[14:16])[0]
        codes = struct.unpack(f"{order}2i", head[344:352])
    sizes = [max(1, n) for n in dims[1 : 1 + max(0, min(7, dims[0]))]]
    if len(sizes) < min(dimensions) or any(n > 1 for n in sizes[max(dimensions) :]):
        raise SeriesError(
            f"{path.name} is no volume of {' or '.join(map(str, dimensions))} dimensions. Give one "
            "volume a file."
        )
    count = float(np.prod([float(n) for n in sizes]))
    stored, needed = count * max(1, bits // 8), count * max(4, bits // 8)
    limit = max_bytes(path)
    if is_packed and stored <= MAX_INFLATION * os.path.getsize(path):
        limit = max(limit, MAX_BYTES)
    if needed > limit:
        raise SeriesError(
            f"{path.name} promises {needed / 2**20:,.0f} MB, too much for a file of its size: it "
            "is damaged or made to harm. Remove it."
        )
    return any(code > 0 for code in codes)
