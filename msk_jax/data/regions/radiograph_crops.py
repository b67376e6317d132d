"""A whole radiograph on a square grid."""

from collections.abc import Hashable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset
from scipy import ndimage

from msk_jax.data.dicom.headers import read_header, text
from msk_jax.data.images.pictures import is_picture, read_picture
from msk_jax.data.images.radiograph import read_radiograph
from msk_jax.data.images.series import Series, parse_age
from msk_jax.data.regions.radiograph import RadiographRegion
from msk_jax.data.regions.region import CORONAL, Crop
from msk_jax.errors import SeriesError

TAILS = (0.5, 99.5)
"""Percentiles of an image that `stretched` puts at 0 and at `TOP`."""
TOP = 4000


def read_projection(files: Iterable[Path], modality: str = "CR/DX") -> Series:
    """One radiograph as a coronal volume that is one voxel deep, dense tissue high.

    Detectors differ in gain and offset, and their values mean nothing by themselves: see
    `stretched`.

    Args:
        files: the one file of the series, DICOM, PNG, JPEG or TIFF.
        modality: what it may be, `CR/DX` for either.

    Returns:
        Spacing is that of the header, wherever it holds; where it gives none, it is not known
        (`Series.spacing_known`). The position in the patient is unknown: the corner at the right
        foot is the origin.

    Raises:
        SeriesError: several files, another modality, an empty picture; as `read_radiograph`.
    """
    files = list(files)
    if len(files) != 1:
        raise SeriesError(
            f"The series holds {len(files)} images where one radiograph is due. Name one file by "
            "its path in the manifest."
        )
    if is_picture(files[0]):
        found, header = read_picture(files[0], modality=modality.partition("/")[0]), Dataset()
    else:
        found, header = read_radiograph(files[0]), read_header(files[0])
    if found.modality not in modality.split("/"):
        raise SeriesError(
            f"The modality is {found.modality or 'not stated'}, not {modality.replace('/', ' or ')}"
            "."
        )
    row_mm, column_mm = found.spacing.mm or (1.0, 1.0)
    return Series(
        voxels=stretched(found.pixels)[::-1, None],
        spacing_mm=(float(column_mm), 1.0, float(row_mm)),
        origin_mm=(0.0, 0.0, 0.0),
        modality=found.modality,
        patient_id=found.patient_id,
        series_uid=found.series_uid,
        age_years=parse_age(text(header, "PatientAge")),
        sex=text(header, "PatientSex").upper() or None,
        spacing_known=found.spacing.mm is not None,
    )


def stretched(values: np.ndarray) -> np.ndarray:
    """int16, of the same shape: the values' own percentiles `TAILS` become 0 and `TOP`, in a
    straight line.

    Raises:
        SeriesError: an image of one value.
    """
    low, high = np.percentile(values, TAILS)
    if not high > low:
        raise SeriesError("The image is empty: nearly all of it has one value.")
    limits = np.iinfo(np.int16)
    scaled = (values - low) * (TOP / (high - low))
    return np.rint(np.clip(scaled, limits.min, limits.max)).astype(np.int16)


def cut(region: RadiographRegion, series: Series, place: Hashable) -> dict[str, Crop]:
    """The crop of one radiograph, see `RadiographRegion.extract`."""
    shape, spacing = np.array(series.voxels.shape[::-1]), np.array(series.spacing_mm)
    pixel_mm = float((shape * spacing)[[0, 2]].max() / region.size)
    middle = np.array(series.origin_mm) + (shape - 1) / 2 * spacing
    half = (region.size - 1) / 2 * pixel_mm
    origin = (float(middle[0] - half), float(middle[1]), float(middle[2] + half))
    # Pixels finer than the grid's would alias.
    blur = np.maximum(pixel_mm / spacing - 1, 0) / 2
    values = series.voxels.astype(np.float32)
    values = ndimage.gaussian_filter(values, (blur[2], 0, blur[0]), mode="nearest")
    image = replace(series, voxels=values).to_sitk()
    grid = (pixel_mm, pixel_mm, float(spacing[1]))
    crop = sitk.Resample(
        image,
        (region.size, region.size, 1),
        sitk.Transform(),
        sitk.sitkLinear,
        origin,
        grid,
        CORONAL,
        float(values.min()),
        sitk.sitkFloat32,
    )
    voxels = np.rint(sitk.GetArrayFromImage(crop)).astype(np.int16)
    return {str(place): Crop(voxels, np.array([middle[1]], np.float32), origin, grid, CORONAL)}
