"""Radiographs of public collections that are no DICOM: PNG, JPEG and TIFF."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from pydicom.misc import is_dicom

from msk_jax.data.geometry import SeriesError
from msk_jax.data.headers import max_bytes
from msk_jax.data.nifti import NIFTI_ENDINGS
from msk_jax.data.radiograph import Radiograph, Spacing

_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_SCREEN_DPI = (72, 96)  # what programs write when nobody measured anything
_DPI_RANGE = (50, 2500)  # 0.5 to 0.01 mm: what radiographs and film scanners have
_GREY_MODES = ("L", "I", "F", "I;16", "I;16B", "I;16L")
_FORMATS = ("PNG", "JPEG", "TIFF")


def is_picture(file: Path) -> bool:
    """Whether this is a picture or a NIfTI volume by its name, and no DICOM file by its mark."""
    return file.name.lower().endswith((*_PICTURES, *NIFTI_ENDINGS)) and not is_dicom(file)


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
