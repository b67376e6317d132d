"""A whole radiograph: which part of it the network sees."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from msk_jax.data.sources.cells import Cells

if TYPE_CHECKING:
    from msk_jax.data.images.series import Series
    from msk_jax.data.regions.region import Crop

WHOLE = "whole"
"""The one unit of a patient who has no particular views."""


class Whole:
    """The units of a region that takes all of an image: the views of a patient, or the only one."""

    views: tuple[str, ...]

    @property
    def unit_column(self) -> str:
        """Each view is a unit of its patient."""
        return "view" if self.views else ""

    @property
    def unit_names(self) -> tuple[str, ...]:
        """The views, or the one name of an image that is no particular view."""
        return self.views or (WHOLE,)

    def place(self, cells: Cells) -> str:
        """The view, or the one name there is: the whole image needs no place."""
        return cells.text("view") if self.views else WHOLE


def read_projection(files: Iterable[Path], modality: str = "CR/DX") -> "Series":
    """One radiograph, see `radiograph_crops.read_projection`; imported when one is read."""
    from msk_jax.data.regions import radiograph_crops

    return radiograph_crops.read_projection(files, modality)


@dataclass(frozen=True)
class RadiographRegion(Whole):
    """All of a radiograph, its longer side as long as the square's."""

    columns: ClassVar[tuple[str, ...]] = ()
    needs_place: ClassVar[bool] = False
    reads_pictures: ClassVar[bool] = True
    takes_options: ClassVar[bool] = False
    read = staticmethod(read_projection)

    size: int = 384
    """Rows and columns of the crop [U]: for a chest, six patches of 64 pixels along each side."""

    context_slices: int = 0
    """A radiograph has no neighbours [U]; other regions do."""

    views: tuple[str, ...] = ()
    """Views that a patient may have, a file of each [U]; none: one radiograph per patient."""

    @property
    def max_slices(self) -> int:
        """A radiograph is one picture."""
        return 1

    def extract(self, series: "Series", place: Hashable = WHOLE) -> "dict[str, Crop]":
        """The picture with its proportions kept, padded with its darkest value to a square.

        Args:
            series: of `read`.
            place: the view, which names the crop.
        """
        from msk_jax.data.regions.radiograph_crops import cut

        return cut(self, series, place)
