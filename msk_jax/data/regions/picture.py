"""A picture in colour, as of a stained section: which part of it the network sees."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from msk_jax.data.sources.cells import Cells

if TYPE_CHECKING:
    import numpy as np

    from msk_jax.data.images.series import Series
    from msk_jax.data.regions.region import Crop

PLANES = 3
"""Red, green and blue: the slices of a crop, in this order, 0 to 255."""


def read_colours(files: Iterable[Path], modality: str = "SM") -> "Series":
    """One picture, see `picture_crops.read_colours`; imported when one is read."""
    from msk_jax.data.regions import picture_crops

    return picture_crops.read_colours(files, modality)


@dataclass(frozen=True)
class PictureRegion:
    """All of a picture in colour, its longer side at most as long as the square's.

    The three planes are one stack: the one centre has `context_slices` on both sides.
    """

    columns: ClassVar[tuple[str, ...]] = ()
    needs_place: ClassVar[bool] = False
    reads_pictures: ClassVar[bool] = True
    takes_options: ClassVar[bool] = False
    views: ClassVar[tuple[str, ...]] = ()
    context_slices: ClassVar[int] = 1
    max_slices: ClassVar[int] = PLANES
    unit_names: ClassVar[tuple[str, ...]] = ()
    """Any name: sections are counted or lettered as their owners like."""
    read = staticmethod(read_colours)

    size: int = 1024
    """Rows and columns of the crop."""

    unit: str = "section"
    """Column of the manifest that names what a picture shows."""

    scale: float = 1.0
    """The most by which a picture is scaled to fill the square: 1 enlarges none [U]."""

    @property
    def unit_column(self) -> str:
        """Each section is a unit of its patient."""
        return self.unit

    def place(self, cells: Cells) -> str:
        """The section, which names the crop: the whole picture needs no place."""
        return cells.text(self.unit)

    def filled(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the crop that a picture of so many rows and columns fills."""
        factor = min(self.scale, self.size / max(height, width))
        return max(1, round(height * factor)), max(1, round(width * factor))

    def extract(self, series: "Series", place: Hashable = "") -> "dict[str, Crop]":
        """The picture with its proportions kept, padded with white to a square below and to the
        right.

        Args:
            series: of `read`.
            place: the section, which names the crop.
        """
        from msk_jax.data.regions.picture_crops import cut

        return cut(self, series, place)

    def placed(self, boxes: "np.ndarray", height: int, width: int) -> "np.ndarray":
        """Boxes [n, 4] in pixels of a picture of so many rows and columns, in pixels of its crop:
        padding lies below and to the right, so that they are scaled alone."""
        rows, columns = self.filled(height, width)
        across, down = columns / width, rows / height
        return (boxes * (across, down, across, down)).astype("float32")

    def returned(self, boxes: "np.ndarray", height: int, width: int) -> "np.ndarray":
        """Boxes [n, 4] in pixels of the crop of a picture of so many rows and columns, in pixels of
        the picture: what `placed` does, undone, and cut off where the picture ends."""
        rows, columns = self.filled(height, width)
        inside = boxes.clip(0, (columns, rows, columns, rows))
        across, down = width / columns, height / rows
        return (inside * (across, down, across, down)).astype("float32")
