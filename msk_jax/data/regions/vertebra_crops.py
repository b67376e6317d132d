"""One vertebra of a spine CT, cut in axial or sagittal slices."""

import numpy as np
import SimpleITK as sitk

from msk_jax.data.images.series import Series
from msk_jax.data.pixels.values import AIR_HU
from msk_jax.data.regions.region import AXIAL, SAGITTAL, Crop
from msk_jax.data.regions.vertebra import Place, VertebraRegion
from msk_jax.errors import SeriesError

_DIRECTIONS = {"axial": AXIAL, "sagittal": SAGITTAL}


def cut(region: VertebraRegion, series: Series, place: Place | None) -> dict[str, Crop]:
    """The crops of one vertebra, see `VertebraRegion.extract`."""
    if place is None:
        raise SeriesError(
            "Vertebrae are not looked for. Give a manifest with patient_id, level, "
            "centre_x_mm, centre_y_mm and centre_z_mm of each."
        )
    if series.spacing_mm[2] > region.max_slice_spacing_mm:
        raise SeriesError(
            f"The slices are {series.spacing_mm[2]:.2f} mm apart; at most "
            f"{region.max_slice_spacing_mm:g} mm are accepted. Use a thinner reconstruction."
        )
    level, *centre = place
    _check_inside(region, series, level, np.asarray(centre))
    planes = ("axial", "sagittal") if region.plane == "both" else (region.plane,)
    volume = series.to_sitk()
    return {
        f"{level}/{plane}": _slices(region, volume, np.asarray(centre), plane) for plane in planes
    }


def _check_inside(region: VertebraRegion, series: Series, level: str, centre: np.ndarray) -> None:
    low = np.asarray(series.origin_mm)
    high = low + (np.asarray(series.voxels.shape[::-1]) - 1) * series.spacing_mm
    half = (region.size - 1) * region.pixel_mm / 2
    missing = float(np.max(np.r_[low - centre, centre - high])) + half
    if missing > region.max_outside_mm:
        raise SeriesError(
            f"The neighbourhood of {level} leaves the scan by {missing:.0f} mm; "
            f"{region.max_outside_mm:g} mm are accepted. Correct its centre, or use a series "
            "that shows the whole vertebra."
        )


def _slices(region: VertebraRegion, volume: sitk.Image, centre: np.ndarray, plane: str) -> Crop:
    direction = _DIRECTIONS[plane]
    count = region.num_images + 2 * region.context_slices
    spacing = (region.pixel_mm, region.pixel_mm, region.step_mm)
    steps = np.array([region.size - 1, region.size - 1, count - 1]) / 2 * spacing
    axes = np.array(direction).reshape(3, 3)
    origin = tuple((centre - axes @ steps).tolist())
    crop = sitk.Resample(
        volume,
        (region.size, region.size, count),
        sitk.Transform(),
        sitk.sitkLinear,
        origin,
        spacing,
        direction,
        float(AIR_HU),
        sitk.sitkInt16,
    )
    along = int(np.argmax(np.abs(axes[:, 2])))
    positions = origin[along] + axes[along, 2] * region.step_mm * np.arange(count)
    voxels = sitk.GetArrayFromImage(crop)
    return Crop(voxels, positions.astype(np.float32), origin, spacing, direction)
