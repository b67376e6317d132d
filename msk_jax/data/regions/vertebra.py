"""One vertebra of a spine CT at a place that the manifest gives, in axial or sagittal slices."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from msk_jax.data.sources.cells import Cells

if TYPE_CHECKING:
    from msk_jax.data.images.series import Series
    from msk_jax.data.regions.region import Crop

_CENTRE = ("centre_x_mm", "centre_y_mm", "centre_z_mm")
Place = tuple[str, float, float, float]
"""The level and the centre of its body, patient x, y, z in mm."""


@dataclass(frozen=True)
class VertebraRegion:
    """Which part of a spine CT the network sees. Nothing of it is published."""

    unit_column: ClassVar[str] = "level"
    unit_names: ClassVar[tuple[str, ...]] = (
        *(f"T{k}" for k in range(1, 13)),
        *(f"L{k}" for k in range(1, 7)),
    )
    columns: ClassVar[tuple[str, ...]] = _CENTRE
    needs_place: ClassVar[bool] = True
    reads_pictures: ClassVar[bool] = False
    takes_options: ClassVar[bool] = False
    views: ClassVar[tuple[str, ...]] = ()

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

    @staticmethod
    def read(files: Iterable[Path], modality: str = "CT") -> "Series":
        """The images that vertebrae are cut from, see `series.read_series`."""
        from msk_jax.data.images.series import read_series

        return read_series(files, modality)

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

    def extract(self, series: "Series", place: Place | None = None) -> "dict[str, Crop]":
        """Cut one vertebra.

        Args:
            series: a CT that shows it.
            place: which, and where the centre of its body lies.

        Returns:
            `<level>/axial`, `<level>/sagittal` or both.

        Raises:
            SeriesError: no place, slices too far apart, or a vertebra outside the scan.
        """
        from msk_jax.data.regions.vertebra_crops import cut

        return cut(self, series, place)
