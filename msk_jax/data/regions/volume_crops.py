"""A whole volume - CT, MR, NIfTI, acquired in any plane - on a grid that lies straight."""

from collections.abc import Hashable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset
from scipy import ndimage

from msk_jax.data.dicom.headers import read_header, text
from msk_jax.data.images.nifti import is_nifti, read_nifti
from msk_jax.data.images.pictures import is_picture
from msk_jax.data.images.series import Series, parse_age
from msk_jax.data.images.volume import ReadOptions, read_volume
from msk_jax.data.pixels.values import AIR_HU, ARBITRARY, MAX_HU
from msk_jax.data.regions.radiograph_crops import stretched
from msk_jax.data.regions.region import AXIAL, CORONAL, SAGITTAL, Crop
from msk_jax.data.regions.volume import VolumeRegion
from msk_jax.errors import SeriesError

_DIRECTIONS = {"axial": AXIAL, "sagittal": SAGITTAL, "coronal": CORONAL}


def read_whole(
    files: Iterable[Path], modality: str = "MR", options: ReadOptions | None = None
) -> Series:
    """One series, or one NIfTI file, in the plane that it was acquired in.

    Hounsfield units stay what they are. Other values, as those of MR, mean nothing by themselves
    and become what `radiograph_crops.stretched` makes of them.

    Args:
        files: of one DICOM series, or the one NIfTI file.
        modality: what it must be, `CT/MR` for either. A NIfTI file does not say; it is taken for
            the first, and of CT for Hounsfield units.
        options: what to do where the volume leaves a choice.

    Raises:
        SeriesError: another modality, a picture, an empty volume; as `volume.read_volume` and
            `nifti.read_nifti`.
    """
    files, wanted = list(files), modality.split("/")
    if len(files) == 1 and is_picture(files[0]):
        if not is_nifti(files[0]):
            raise SeriesError(f"{files[0].name} is a picture, and a volume is due. Give a volume.")
        units = "HU" if wanted[0] == "CT" else ARBITRARY
        found, header = read_nifti(files[0], units, wanted[0], options), Dataset()
    else:
        found = read_volume(files, modality if len(wanted) == 1 else None, options)
        header = read_header(files[0])
    if found.modality not in wanted:
        raise SeriesError(
            f"The series is {found.modality or 'of unknown modality'} where {' or '.join(wanted)} "
            "is due. Name another series of this patient."
        )
    if found.units == "HU":
        voxels = np.rint(np.clip(found.voxels, AIR_HU, MAX_HU)).astype(np.int16)
    else:
        voxels = stretched(found.voxels)
    return Series(
        voxels=voxels,
        spacing_mm=found.spacing_mm,
        origin_mm=found.origin_mm,
        modality=found.modality,
        patient_id=found.patient_id,
        series_uid=found.series_uid,
        age_years=parse_age(text(header, "PatientAge")),
        sex=text(header, "PatientSex").upper() or None,
        direction=found.direction,
    )


def cut(region: VolumeRegion, series: Series, place: Hashable) -> dict[str, Crop]:
    """The crop of one volume, see `VolumeRegion.extract`."""
    direction = _DIRECTIONS[region.plane]
    axes = np.reshape(direction, (3, 3))
    grid = np.array([region.pixel_mm, region.pixel_mm, region.slice_mm])
    size = np.array([region.size, region.size, region.num_slices])
    image = _smoothed(series, axes, grid).to_sitk()
    middle = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    origin = np.array(middle) - axes @ ((size - 1) / 2 * grid)
    box = sitk.Resample(
        image,
        size.tolist(),
        sitk.Transform(),
        sitk.sitkLinear,
        origin.tolist(),
        grid.tolist(),
        direction,
        float(series.voxels.min()),
        sitk.sitkFloat32,
    )
    along = int(np.argmax(np.abs(axes[:, 2])))
    positions = origin[along] + axes[along, 2] * region.slice_mm * np.arange(region.num_slices)
    crop = Crop(
        np.rint(sitk.GetArrayFromImage(box)).astype(np.int16),
        positions.astype(np.float32),
        tuple(origin.tolist()),
        tuple(grid.tolist()),
        direction,
    )
    return {str(place): crop}


def _smoothed(series: Series, axes: np.ndarray, grid: np.ndarray) -> Series:
    """Without what is finer than the grid, along each axis of the volume, and would alias."""
    own = np.reshape(series.direction, (3, 3))
    nearest = np.abs(axes.T @ own).argmax(axis=0)  # axis of the grid beside each of the volume's
    blur = np.maximum(grid[nearest] / series.spacing_mm - 1, 0) / 2
    values = series.voxels.astype(np.float32)
    return replace(series, voxels=ndimage.gaussian_filter(values, blur[::-1], mode="nearest"))
