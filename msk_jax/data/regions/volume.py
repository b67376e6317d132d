"""A whole volume - CT, MR, NIfTI, acquired in any plane: which part of it the network sees."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from msk_jax.data.regions.radiograph import WHOLE, Whole

if TYPE_CHECKING:
    from msk_jax.data.images.series import Series
    from msk_jax.data.images.volume import ReadOptions
    from msk_jax.data.regions.region import Crop


def read_whole(
    files: Iterable[Path], modality: str = "MR", options: "ReadOptions | None" = None
) -> "Series":
    """One volume, see `volume_crops.read_whole`; imported when one is read."""
    from msk_jax.data.regions import volume_crops

    return volume_crops.read_whole(files, modality, options)


@dataclass(frozen=True)
class VolumeRegion(Whole):
    """The middle of a volume, or all of it: a box of a stated size, straight with the patient."""

    columns: ClassVar[tuple[str, ...]] = ()
    needs_place: ClassVar[bool] = False
    reads_pictures: ClassVar[bool] = True
    takes_options: ClassVar[bool] = True
    read = staticmethod(read_whole)

    plane: Literal["axial", "sagittal", "coronal"] = "axial"
    """Slices of the box. Axial and coronal ones have the patient's right on the left, sagittal
    ones the front; axial ones have the front on top, the others the head."""

    pixel_mm: float = 1.0
    """Pixel of the box, mm."""

    slice_mm: float = 4.0
    """Distance between its slices, mm."""

    size: int = 192
    """Rows and columns of the box; what lies beyond the volume is its lowest value."""

    num_slices: int = 24
    """Slices of the box, those of the context included."""

    context_slices: int = 0
    """Slices before the first and behind the last that is judged, for stacks of several."""

    views: tuple[str, ...] = ()
    """Series that a patient may have, as `("T1", "STIR")`, a row of the manifest of each; none: one
    volume per patient."""

    @property
    def max_slices(self) -> int:
        """All of the box."""
        return self.num_slices

    def extract(self, series: "Series", place: Hashable = WHOLE) -> "dict[str, Crop]":
        """The box about the middle of the volume, by linear interpolation.

        Args:
            series: of `read`.
            place: the view, which names the crop.
        """
        from msk_jax.data.regions.volume_crops import cut

        return cut(self, series, place)
