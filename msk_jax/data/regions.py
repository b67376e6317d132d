"""The sacroiliac joints of a pelvic CT: where they are, and one small volume around each.

No network is needed to find them: the posterior pelvic ring is closed by bone from the midline
to the iliac wing on both sides only where the sacrum meets the ilium, that is along the joints.
All thresholds are our choice (`[U]`: the publication states none) and are fields of
`SacroiliacRegion`.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from msk_jax.data.bone import closed, coarse_bone, mirror_of, posterior_edges, widest_mm
from msk_jax.data.cells import Cells
from msk_jax.data.crops import AXIAL, MIRRORED, Crop
from msk_jax.data.dicom import Series, read_series
from msk_jax.data.geometry import SeriesError
from msk_jax.data.pixels import AIR_HU


@dataclass(frozen=True)
class BoneFrame:
    """Landmarks of the posterior pelvis in patient coordinates (mm)."""

    midline_x_mm: float
    """At the depth of the joints; a turned pelvis has its midline elsewhere in front."""

    posterior_y_mm: float
    """Posterior edge of the bone near the midline, over the joints' extent."""

    joint_z_mm: tuple[float, float]
    """Bottom and top of the sacroiliac joints."""


@dataclass(frozen=True)
class SacroiliacRegion:
    """Which part of a pelvic CT the network sees."""

    unit_column: ClassVar[str] = "side"
    unit_names: ClassVar[tuple[str, ...]] = ("left", "right")
    columns: ClassVar[tuple[str, ...]] = (
        "grade", "lesion_z_mm", "joint_top_mm", "joint_bottom_mm",
    )  # fmt: skip
    needs_place: ClassVar[bool] = False
    reads_pictures: ClassVar[bool] = False
    takes_options: ClassVar[bool] = False
    views: ClassVar[tuple[str, ...]] = ()
    read = staticmethod(read_series)

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

    @property
    def max_slices(self) -> int:
        """Slices of the tallest joint that is believed."""
        tallest_mm = self.joint_length_mm[1] * float(np.ptp(self.z_range))
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
        self, series: Series, joint_z_mm: tuple[float, float] | None = None
    ) -> dict[str, Crop]:
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
        if series.spacing_mm[2] > self.max_slice_spacing_mm:
            raise SeriesError(
                f"The slices are {series.spacing_mm[2]:.2f} mm apart; at most "
                f"{self.max_slice_spacing_mm:g} mm are accepted. Use a thinner reconstruction."
            )
        frame = self.locate(series, joint_z_mm)
        z_mm = self._slice_positions(frame.joint_z_mm)
        self._check_inside(series, frame, z_mm)
        volume = series.to_sitk()
        return {
            side: self._resample(volume, frame, z_mm, mirrored=side == "left")
            for side in ("left", "right")
        }

    def locate(self, series: Series, joint_z_mm: tuple[float, float] | None = None) -> BoneFrame:
        """Find midline, posterior edge and extent of the joints from the bone.

        Raises:
          SeriesError: no pelvis, or no joints found.
        """
        bone, spacing, origin = coarse_bone(series, self.bone_hu, self.min_component_mm3)
        z = origin[2] + spacing[2] * np.arange(bone.shape[0])
        if joint_z_mm is not None:
            inside = (z >= min(joint_z_mm)) & (z <= max(joint_z_mm))
            if not inside.any():
                raise SeriesError(
                    f"The joint extent of the manifest (z = {min(joint_z_mm):.1f} to "
                    f"{max(joint_z_mm):.1f} mm) lies outside the scan (z = {z[0]:.1f} to "
                    f"{z[-1]:.1f} mm). Correct joint_top_mm and joint_bottom_mm."
                )
        else:
            inside = np.ones(len(z), bool)
        self._check_width(bone[inside], spacing[0])
        mirror = mirror_of(bone[inside], spacing[0])
        if joint_z_mm is None:
            inside = self._joint_run(bone, spacing, mirror.column)
            joint_z_mm = (z[inside][0], z[inside][-1])
            self._check_width(bone[inside], spacing[0])
            mirror = mirror_of(bone[inside], spacing[0])
        edge = np.nanmedian(posterior_edges(bone[inside], mirror.column, spacing[0]))
        midline = mirror.column_at(edge - self.joint_depth_mm / spacing[1])
        return BoneFrame(
            midline_x_mm=float(origin[0] + spacing[0] * midline),
            posterior_y_mm=float(origin[1] + spacing[1] * edge),
            joint_z_mm=(float(min(joint_z_mm)), float(max(joint_z_mm))),
        )

    def _check_width(self, bone: np.ndarray, pixel_mm: float) -> None:
        width = widest_mm(bone, pixel_mm)
        if width < self.min_pelvis_width_mm:
            raise SeriesError(
                f"The bone in this CT is at most {width:.0f} mm wide where a pelvis has "
                f"{self.min_pelvis_width_mm:g} mm or more; is this a pelvic CT? Name the pelvic "
                "series of this patient."
            )

    def _joint_run(self, bone, spacing, midline: float) -> np.ndarray:
        """bool [slices]: the longest run of slices closed by bone from ilium to ilium."""
        covered = np.zeros(len(bone), bool)
        edges = posterior_edges(bone, midline, spacing[0])
        for k, edge in enumerate(edges):
            if np.isfinite(edge):
                covered[k] = self._is_covered(bone[k], spacing, midline, edge)
        # A single slice with a hole in its cover does not end the joint.
        reach = max(1, round(3.0 / spacing[2]))
        covered = closed(covered, 2 * reach + 1)
        labels, count = ndimage.label(covered)
        if count == 0:
            raise SeriesError(
                "No sacroiliac joints were found: no slice is closed by bone from one iliac wing "
                "over the sacrum to the other. Is this a pelvic CT? If it is, give joint_top_mm "
                "and joint_bottom_mm in the manifest."
            )
        run = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
        length, (low, high) = run.sum() * spacing[2], self.joint_length_mm
        if not low <= length <= high:
            raise SeriesError(
                f"What looks like the sacroiliac joints is {length:.0f} mm high, where {low:g} to "
                f"{high:g} mm are believed. Is this a pelvic CT, and is the pelvis whole? If so, "
                "give joint_top_mm and joint_bottom_mm in the manifest."
            )
        return run

    def _is_covered(self, bone: np.ndarray, spacing, midline: float, edge: float) -> bool:
        """Whether bone covers all columns out to `covered_mm` on both sides of one slice."""
        first = max(0, int(np.ceil(edge - self.search_depth_mm / spacing[1])))
        cover = bone[first : int(edge) + 1].any(axis=0)
        cover = closed(cover, int(self.closed_gap_mm // spacing[0]) + 1)
        reach = self.covered_mm / spacing[0]
        left, right = int(np.ceil(midline - reach)), int(np.floor(midline + reach))
        return left >= 0 and right < len(cover) and bool(cover[left : right + 1].all())

    def _slice_positions(self, joint_z_mm: tuple[float, float]) -> np.ndarray:
        bottom, top = joint_z_mm
        length = top - bottom
        low, high = top - self.z_range[1] * length, top - self.z_range[0] * length
        count = int((high - low) / self.slice_mm + 1e-6) + 1
        start = (low + high - (count - 1) * self.slice_mm) / 2  # centred in the range
        index = np.arange(-self.context_slices, count + self.context_slices)
        return start + index * self.slice_mm

    def _corner(self, frame: BoneFrame, mirrored: bool) -> tuple[float, float]:
        """(x, y) of the first row and column: anterior and lateral."""
        outward = 1 if mirrored else -1
        length = (self.size - 1) * self.pixel_mm
        x = frame.midline_x_mm + outward * (length - self.medial_overlap_mm)
        return x, frame.posterior_y_mm - self.posterior_margin_mm - length

    def _check_inside(self, series: Series, frame: BoneFrame, z_mm: np.ndarray) -> None:
        low = np.asarray(series.origin_mm)
        high = low + (np.asarray(series.voxels.shape[::-1]) - 1) * series.spacing_mm
        slack = series.spacing_mm[2] / 2
        if z_mm[0] < low[2] - slack or z_mm[-1] > high[2] + slack:
            raise SeriesError(
                f"The region of the joints (z = {z_mm[0]:.1f} to {z_mm[-1]:.1f} mm) leaves the "
                f"scan (z = {low[2]:.1f} to {high[2]:.1f} mm). Use a series that holds the whole "
                "joints."
            )
        (right, top), (left, _) = self._corner(frame, False), self._corner(frame, True)
        outside = max(low[0] - right, left - high[0], low[1] - top)
        if outside > self.max_outside_mm:
            raise SeriesError(
                f"The region of the joints leaves the scanned field by {outside:.0f} mm. Use a "
                "reconstruction with a wider field of view."
            )

    def _resample(self, volume: sitk.Image, frame, z_mm, mirrored: bool) -> Crop:
        x, y = self._corner(frame, mirrored)
        origin = (float(x), float(y), float(z_mm[0]))
        spacing = (self.pixel_mm, self.pixel_mm, self.slice_mm)
        size = (self.size, self.size, len(z_mm))
        direction = MIRRORED if mirrored else AXIAL
        crop = sitk.Resample(
            volume, size, sitk.Transform(), sitk.sitkLinear, origin, spacing,
            direction, float(AIR_HU), sitk.sitkInt16,
        )  # fmt: skip
        return Crop(
            voxels=sitk.GetArrayFromImage(crop),
            positions_mm=z_mm.astype(np.float32),
            origin_mm=origin,
            spacing_mm=spacing,
            direction=direction,
        )
