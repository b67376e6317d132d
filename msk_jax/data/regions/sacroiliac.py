"""The sacroiliac joints of a pelvic CT: which part of it the network sees.

All thresholds are our choice (`[U]`: the publication states none).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from msk_jax.data.sources.cells import Cells

if TYPE_CHECKING:
    from msk_jax.data.images.series import Series
    from msk_jax.data.regions.region import Crop


@dataclass(frozen=True)
class SacroiliacRegion:
    """Which part of a pelvic CT the network sees."""

    unit_column: ClassVar[str] = "side"
    unit_names: ClassVar[tuple[str, ...]] = ("left", "right")
    columns: ClassVar[tuple[str, ...]] = (
        "grade",
        "lesion_z_mm",
        "joint_top_mm",
        "joint_bottom_mm",
    )
    needs_place: ClassVar[bool] = False
    reads_pictures: ClassVar[bool] = False
    takes_options: ClassVar[bool] = False
    views: ClassVar[tuple[str, ...]] = ()
    pixel_mm: float = 0.75
    """Pixel of the crop, mm [U]: near the pixel of a pelvic CT."""

    slice_mm: float = 2.5
    """Distance between slices of the crop, mm [U]: 2-3 mm."""

    size: int = 128
    """Rows and columns of the crop [U]: 128 x 0.75 = 96 mm holds one joint."""

    context_slices: int = 2
    """Slices kept beyond the first and last stack centre, so that every stack of 5 is whole."""

    z_range: tuple[float, float] = (0.35, 0.75)
    """Part of the joint's extent that carries stack centres, counted from its top [U]: the middle
    to lower part, where the joint is synovial."""

    medial_overlap_mm: float = 5.0
    """How far the crop reaches across the midline, mm [U]: spares it from missing the joint's
    medial edge when the midline is a few millimetres off."""

    posterior_margin_mm: float = 0.0
    """How far the crop's posterior edge stays in front of the bone's, mm [U]: the joint lies
    further in front."""

    max_slice_spacing_mm: float = 3.2
    """Thicker CT is refused [U]: a 2-5 mm erosion would fall between its slices."""

    max_outside_mm: float = 8.0
    """How far the crop may leave the scanned field at the sides, mm [U]."""

    bone_hu: float = 200.0
    """Voxels above this are bone [U]: above muscle and contrast-free vessels, below cortex."""

    min_component_mm3: float = 2000.0
    """Smaller pieces of bone (calcified vessels, phleboliths, parts of the table) are ignored
    [U]."""

    min_pelvis_width_mm: float = 180.0
    """A narrower ring of bone is no adult pelvis [U]: an adult's is 250-300 mm wide at the
    iliac wings, a skull 140-160 mm."""

    joint_depth_mm: float = 45.0
    """Depth of the joints in front of the posterior edge, where the midline is taken, mm [U]."""

    search_depth_mm: float = 96.0
    """How far in front of the posterior edge the joint is looked for, mm [U]."""

    covered_mm: float = 60.0
    """A slice belongs to the joint's extent where bone covers every column from the midline to
    this distance on both sides, mm [U]: sacral ala plus joint plus iliac wing."""

    closed_gap_mm: float = 8.0
    """Gaps up to this width in the cover are closed, mm [U]: the joint space itself (up to 8 mm
    when pseudo-widened) and the sacral foramina."""

    joint_length_mm: tuple[float, float] = (30.0, 110.0)
    """A joint extent outside this range is not believed [U]: the adult joint is 50-70 mm high."""

    @staticmethod
    def read(files: Iterable[Path], modality: str = "CT") -> "Series":
        """The images that joints are cut from, see `series.read_series`."""
        from msk_jax.data.images.series import read_series

        return read_series(files, modality)

    @property
    def max_slices(self) -> int:
        """Slices of the tallest joint that is believed."""
        tallest_mm = self.joint_length_mm[1] * (max(self.z_range) - min(self.z_range))
        return int(tallest_mm / self.slice_mm) + 1 + 2 * self.context_slices

    def place(self, cells: Cells) -> tuple[float, float] | None:
        """Bottom and top of the joint in patient z, where the manifest gives them."""
        top, bottom = cells.number("joint_top_mm"), cells.number("joint_bottom_mm")
        if top is None and bottom is None:
            return None
        if top is None or bottom is None:
            cells.fault("joint_top_mm and joint_bottom_mm must be given together")
            return None
        if not bottom < top:
            cells.fault(f"joint_top_mm {top:g} does not lie above joint_bottom_mm {bottom:g}")
            return None
        return bottom, top

    def extract(
        self, series: "Series", joint_z_mm: tuple[float, float] | None = None
    ) -> "dict[str, Crop]":
        """Crop both joints.

        Args:
            series: a pelvic CT.
            joint_z_mm: patient z of the bottom and top of the joints, where it is known; found from
                the bone otherwise.

        Returns:
            `left` and `right` (the patient's), on grids that differ only in their mirrored x.

        Raises:
            SeriesError: slices too far apart, no pelvis, no joints found, or a region that leaves
                the scanned volume.
        """
        from msk_jax.data.regions.sacroiliac_joints import cut

        return cut(self, series, joint_z_mm)
