"""One vertebra of a spine CT at a place that the manifest gives, in axial or sagittal slices."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import SimpleITK as sitk

from msk_jax.data.cells import Cells
from msk_jax.data.crops import AXIAL, SAGITTAL, Crop
from msk_jax.data.dicom import Series, read_series
from msk_jax.data.geometry import SeriesError
from msk_jax.data.pixels import AIR_HU

_DIRECTIONS = {"axial": AXIAL, "sagittal": SAGITTAL}
_CENTRE = ("centre_x_mm", "centre_y_mm", "centre_z_mm")
Place = tuple[str, float, float, float]
"""The level and the centre of its body, patient x, y, z in mm."""


@dataclass(frozen=True)
class VertebraRegion:
    """Which part of a spine CT the network sees. Nothing of it is published."""

    unit_column: ClassVar[str] = "level"
    unit_names: ClassVar[tuple[str, ...]] = (
        *(f"T{k}" for k in range(1, 13)), *(f"L{k}" for k in range(1, 7)),
    )  # fmt: skip
    columns: ClassVar[tuple[str, ...]] = _CENTRE
    needs_place: ClassVar[bool] = True
    reads_pictures: ClassVar[bool] = False
    takes_options: ClassVar[bool] = False
    views: ClassVar[tuple[str, ...]] = ()
    read = staticmethod(read_series)

    plane: Literal["axial", "sagittal", "both"] = "sagittal"
    """In which plane the vertebra is cut [U]."""

    pixel_mm: float = 0.4
    """Pixel of the crop, mm [U]: near that of a spine CT."""

    size: int = 224
    """Rows and columns of the crop [U]: 224 x 0.4 = 90 mm hold a vertebra and its neighbours."""

    num_images: int = 5
    """Slices of a plane that are judged, the middle one through the centre of the body [U]."""

    step_mm: float = 4.0
    """Distance between slices of the crop, mm [U]: 5 x 4 mm span the canal or two thirds of the
    body's height."""

    context_slices: int = 0
    """Slices kept beyond the first and last that are judged [U]: none, as the paper judges single
    images."""

    max_slice_spacing_mm: float = 3.2
    """Thicker CT is refused [U]: sagittal slices through it would show steps."""

    max_outside_mm: float = 30.0
    """How far the crop may leave the scanned field, mm [U]: a neighbour may be cut off, the
    vertebra itself may not."""

    @property
    def max_slices(self) -> int:
        """Slices of all planes of a vertebra."""
        planes = 2 if self.plane == "both" else 1
        return planes * (self.num_images + 2 * self.context_slices)

    def place(self, cells: Cells) -> Place | None:
        """Level and centre of the vertebral body."""
        centre = [cells.number(column) for column in _CENTRE]
        if None in centre:
            given = [name for name in _CENTRE if cells.text(name)]
            if len(given) < len(_CENTRE):
                cells.fault("centre_x_mm, centre_y_mm and centre_z_mm must all be given")
            return None
        return (cells.text(self.unit_column), *centre)

    def extract(self, series: Series, place: Place | None = None) -> dict[str, Crop]:
        """Cut one vertebra.

        Args:
          series: a CT that shows it.
          place: which, and where the centre of its body lies.

        Returns:
          `<level>/axial`, `<level>/sagittal` or both.

        Raises:
          SeriesError: no place, slices too far apart, or a vertebra outside the scan.
        """
        if place is None:
            raise SeriesError(
                "Vertebrae are not looked for. Give a manifest with patient_id, level, "
                "centre_x_mm, centre_y_mm and centre_z_mm of each."
            )
        if series.spacing_mm[2] > self.max_slice_spacing_mm:
            raise SeriesError(
                f"The slices are {series.spacing_mm[2]:.2f} mm apart; at most "
                f"{self.max_slice_spacing_mm:g} mm are accepted. Use a thinner reconstruction."
            )
        level, *centre = place
        self._check_inside(series, level, np.asarray(centre))
        planes = ("axial", "sagittal") if self.plane == "both" else (self.plane,)
        volume = series.to_sitk()
        return {f"{level}/{plane}": self._cut(volume, np.asarray(centre), plane)
                for plane in planes}  # fmt: skip

    def _check_inside(self, series: Series, level: str, centre: np.ndarray) -> None:
        low = np.asarray(series.origin_mm)
        high = low + (np.asarray(series.voxels.shape[::-1]) - 1) * series.spacing_mm
        half = (self.size - 1) * self.pixel_mm / 2
        missing = float(np.max(np.r_[low - centre, centre - high])) + half
        if missing > self.max_outside_mm:
            raise SeriesError(
                f"The neighbourhood of {level} leaves the scan by {missing:.0f} mm; "
                f"{self.max_outside_mm:g} mm are accepted. Correct its centre, or use a series "
                "that shows the whole vertebra."
            )

    def _cut(self, volume: sitk.Image, centre: np.ndarray, plane: str) -> Crop:
        direction = _DIRECTIONS[plane]
        count = self.num_images + 2 * self.context_slices
        spacing = (self.pixel_mm, self.pixel_mm, self.step_mm)
        steps = np.array([self.size - 1, self.size - 1, count - 1]) / 2 * spacing
        axes = np.array(direction).reshape(3, 3)
        origin = tuple((centre - axes @ steps).tolist())
        crop = sitk.Resample(
            volume, (self.size, self.size, count), sitk.Transform(), sitk.sitkLinear, origin,
            spacing, direction, float(AIR_HU), sitk.sitkInt16,
        )  # fmt: skip
        along = int(np.argmax(np.abs(axes[:, 2])))
        positions = origin[along] + axes[along, 2] * self.step_mm * np.arange(count)
        voxels = sitk.GetArrayFromImage(crop)
        return Crop(voxels, positions.astype(np.float32), origin, spacing, direction)
