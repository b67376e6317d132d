"""Images of public collections that are no DICOM: PNG, JPEG and TIFF radiographs, NIfTI volumes."""

import gzip
import struct
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image, ImageOps
from pydicom.misc import is_dicom

from msk_jax.data.geometry import SeriesError
from msk_jax.data.headers import max_bytes
from msk_jax.data.pixels import ARBITRARY
from msk_jax.data.radiograph import Radiograph, Spacing
from msk_jax.data.volume import Volume

_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_VOLUMES = (".nii", ".nii.gz")
_SCREEN_DPI = (72, 96)  # what programs write when nobody measured anything
_DPI_RANGE = (50, 2500)  # 0.5 to 0.01 mm: what radiographs and film scanners have
_GREY_MODES = ("L", "I", "F", "I;16", "I;16B", "I;16L")
_FORMATS = ("PNG", "JPEG", "TIFF")


def is_picture(file: Path) -> bool:
    """Whether this is a picture or a NIfTI volume by its name, and no DICOM file by its mark."""
    return file.name.lower().endswith((*_PICTURES, *_VOLUMES)) and not is_dicom(file)


def is_volume(file: Path) -> bool:
    """Whether a name is that of a NIfTI volume."""
    return file.name.lower().endswith(_VOLUMES)


def read_picture(path: Path, spacing_mm: float | None = None, modality: str = "DX") -> Radiograph:
    """Read a PNG, JPEG or TIFF radiograph as grey values.

    Args:
      path: the file; the turn that a camera noted in it is applied, colours become luminance.
      spacing_mm: of its pixels, where the manifest knows it; else the file's resolution if it can
        be one of film, else unknown.
      modality: what to call it.

    Raises:
      SeriesError: not such a picture, damaged, several pages, or out of proportion to its file.
    """
    path = Path(path)
    try:
        with Image.open(path, formats=_FORMATS) as opened:
            width, height = opened.size
            if width * height * 4 > max_bytes(path):
                raise SeriesError(
                    f"{path.name} promises {width} x {height} pixels, too many for a file of its "
                    "size: it is damaged or made to harm. Remove it."
                )
            if getattr(opened, "n_frames", 1) > 1:
                raise SeriesError(f"{path.name} has several pages. Save the one that is meant.")
            resolution = _spacing_of(opened)
            image = ImageOps.exif_transpose(opened)
            if image.mode not in _GREY_MODES:
                image = image.convert("RGB").convert("L")  # ITU-R 601-2 luminance
            pixels = np.asarray(image).astype(np.float32)
        if not np.isfinite(pixels).all():
            raise SeriesError(f"{path.name} holds values that are no numbers. Save it again.")
    except SeriesError:
        raise
    except Exception as error:
        raise SeriesError(
            f"{path.name} cannot be read as PNG, JPEG or TIFF ({type(error).__name__}). Save it "
            "again."
        ) from error
    if spacing_mm is not None:
        resolution = Spacing((spacing_mm, spacing_mm), "patient", "manifest")
    return Radiograph(pixels, resolution, modality)


def _spacing_of(image: Image.Image) -> Spacing:
    try:
        across, down = (float(v) for v in image.info["dpi"])
    except (KeyError, TypeError, ValueError):
        return Spacing(None, "unknown", "")
    is_told = all(_DPI_RANGE[0] <= v <= _DPI_RANGE[1] for v in (across, down))
    if not is_told or round(across) in _SCREEN_DPI:
        return Spacing(None, "unknown", "")
    return Spacing((25.4 / down, 25.4 / across), "film", "resolution of the file")


def read_nifti(path: Path, units: str = ARBITRARY, modality: str = "") -> Volume:
    """Read a NIfTI volume; its affine gives spacing and orientation.

    Args:
      path: `.nii` or `.nii.gz`, three-dimensional.
      units: of its values, `HU` where the collection says so.
      modality: what to call it.

    Raises:
      SeriesError: damaged, not three-dimensional, no affine, or out of proportion to its file.
    """
    path = Path(path)
    try:
        _check_nifti(path)
        # By name: another format of that ending could point to files elsewhere.
        image = sitk.ReadImage(str(path), imageIO="NiftiImageIO")
    except SeriesError:
        raise
    except Exception as error:
        raise SeriesError(
            f"{path.name} cannot be read as NIfTI ({type(error).__name__}): it is truncated or "
            "damaged. Copy it again."
        ) from error
    voxels = sitk.GetArrayFromImage(image)
    if voxels.ndim != 3:
        raise SeriesError(f"{path.name} is no volume of three dimensions. Give one volume a file.")
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


def _check_nifti(path: Path) -> None:
    """Size and affine of a NIfTI-1 or NIfTI-2 header, before anything is allocated."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rb") as file:
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
    if len(sizes) < 3 or any(n > 1 for n in sizes[3:]):
        raise SeriesError(f"{path.name} is no volume of three dimensions. Give one volume a file.")
    needed = float(np.prod([float(n) for n in sizes])) * max(4, bits // 8)
    if needed > max_bytes(path):
        raise SeriesError(
            f"{path.name} promises {needed / 2**20:,.0f} MB, too much for a file of its size: it "
            "is damaged or made to harm. Remove it."
        )
    if not any(code > 0 for code in codes):
        raise SeriesError(
            f"{path.name} has no affine (qform and sform are 0), so that left and right are not "
            "known. Export it with its orientation."
        )
