"""The sacroiliac joints of a pelvic CT: where they are, and one small volume around each.

No network is needed to find them: the posterior pelvic ring is closed by bone from the midline
to the iliac wing on both sides only where the sacrum meets the ilium, that is along the joints.
All thresholds are fields of `SacroiliacRegion`.
"""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from msk_jax.data.images.series import Series
from msk_jax.data.pixels.values import AIR_HU
from msk_jax.data.regions.bone import closed, coarse_bone, mirror_of, posterior_edges, widest_mm
from msk_jax.data.regions.region import AXIAL, MIRRORED, Crop
from msk_jax.data.regions.sacroiliac import SacroiliacRegion
from msk_jax.errors import SeriesError


@dataclass(frozen=True)
class BoneFrame:
    """Landmarks of the posterior pelvis in patient coordinates (mm)."""

    midline_x_mm: float
    """At the depth of the joints; a turned pelvis has its midline elsewhere in front."""

    posterior_y_mm: float
    """Posterior edge of the bone near the midline, over the joints' extent."""

    joint_z_mm: tuple[float, float]
    """Bottom and top of the sacroiliac joints."""


def cut(
    region: SacroiliacRegion, series: Series, joint_z_mm: tuple[float, float] | None = None
) -> dict[str, Crop]:
    """The crops of both joints, see `SacroiliacRegion.extract`."""
    if series.spacing_mm[2] > region.max_slice_spacing_mm:
        raise SeriesError(
            f"The slices are {series.spacing_mm[2]:.2f} mm apart; at most "
            f"{region.max_slice_spacing_mm:g} mm are accepted. Use a thinner reconstruction."
        )
    frame = locate(region, series, joint_z_mm)
    z_mm = _slice_positions(region, frame.joint_z_mm)
    _check_inside(region, series, frame, z_mm)
    volume = series.to_sitk()
    return {
        side: _resample(region, volume, frame, z_mm, mirrored=side == "left")
        for side in ("left", "right")
    }


def locate(
    region: SacroiliacRegion, series: Series, joint_z_mm: tuple[float, float] | None = None
) -> BoneFrame:
    """Find midline, posterior edge and extent of the joints from the bone.

    Raises:
        SeriesError: no pelvis, or no joints found.
    """
    bone, spacing, origin = coarse_bone(series, region.bone_hu, region.min_component_mm3)
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
    _check_width(region, bone[inside], spacing[0])
    mirror = mirror_of(bone[inside], spacing[0])
    if joint_z_mm is None:
        inside = _joint_run(region, bone, spacing, mirror.column)
        joint_z_mm = (z[inside][0], z[inside][-1])
        _check_width(region, bone[inside], spacing[0])
        mirror = mirror_of(bone[inside], spacing[0])
    edge = np.nanmedian(posterior_edges(bone[inside], mirror.column, spacing[0]))
    midline = mirror.column_at(edge - region.joint_depth_mm / spacing[1])
    return BoneFrame(
        midline_x_mm=float(origin[0] + spacing[0] * midline),
        posterior_y_mm=float(origin[1] + spacing[1] * edge),
        joint_z_mm=(float(min(joint_z_mm)), float(max(joint_z_mm))),
    )


def _check_width(region: SacroiliacRegion, bone: np.ndarray, pixel_mm: float) -> None:
    width = widest_mm(bone, pixel_mm)
    if width < region.min_pelvis_width_mm:
        raise SeriesError(
            f"The bone in this CT is at most {width:.0f} mm wide where a pelvis has "
            f"{region.min_pelvis_width_mm:g} mm or more; is this a pelvic CT? Name the pelvic "
            "series of this patient."
        )


def _joint_run(region: SacroiliacRegion, bone, spacing, midline: float) -> np.ndarray:
    """bool [slices]: the longest run of slices closed by bone from ilium to ilium."""
    covered = np.zeros(len(bone), bool)
    edges = posterior_edges(bone, midline, spacing[0])
    for k, edge in enumerate(edges):
        if np.isfinite(edge):
            covered[k] = _is_covered(region, bone[k], spacing, midline, edge)
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
    length, (low, high) = run.sum() * spacing[2], region.joint_length_mm
    if not low <= length <= high:
        raise SeriesError(
            f"What looks like the sacroiliac joints is {length:.0f} mm high, where {low:g} to "
            f"{high:g} mm are believed. Is this a pelvic CT, and is the pelvis whole? If so, "
            "give joint_top_mm and joint_bottom_mm in the manifest."
        )
    return run


def _is_covered(
    region: SacroiliacRegion, bone: np.ndarray, spacing, midline: float, edge: float
) -> bool:
    """Whether bone covers all columns out to `covered_mm` on both sides of one slice."""
    first = max(0, int(np.ceil(edge - region.search_depth_mm / spacing[1])))
    cover = bone[first : int(edge) + 1].any(axis=0)
    cover = closed(cover, int(region.closed_gap_mm // spacing[0]) + 1)
    reach = region.covered_mm / spacing[0]
    left, right = int(np.ceil(midline - reach)), int(np.floor(midline + reach))
    return left >= 0 and right < len(cover) and bool(cover[left : right + 1].all())


def _slice_positions(region: SacroiliacRegion, joint_z_mm: tuple[float, float]) -> np.ndarray:
    bottom, top = joint_z_mm
    length = top - bottom
    low, high = top - region.z_range[1] * length, top - region.z_range[0] * length
    count = int((high - low) / region.slice_mm + 1e-6) + 1
    start = (low + high - (count - 1) * region.slice_mm) / 2  # centred in the range
    index = np.arange(-region.context_slices, count + region.context_slices)
    return start + index * region.slice_mm


def _corner(region: SacroiliacRegion, frame: BoneFrame, mirrored: bool) -> tuple[float, float]:
    """(x, y) of the first row and column: anterior and lateral."""
    outward = 1 if mirrored else -1
    length = (region.size - 1) * region.pixel_mm
    x = frame.midline_x_mm + outward * (length - region.medial_overlap_mm)
    return x, frame.posterior_y_mm - region.posterior_margin_mm - length


def _check_inside(
    region: SacroiliacRegion, series: Series, frame: BoneFrame, z_mm: np.ndarray
) -> None:
    low = np.asarray(series.origin_mm)
    high = low + (np.asarray(series.voxels.shape[::-1]) - 1) * series.spacing_mm
    slack = series.spacing_mm[2] / 2
    if z_mm[0] < low[2] - slack or z_mm[-1] > high[2] + slack:
        raise SeriesError(
            f"The region of the joints (z = {z_mm[0]:.1f} to {z_mm[-1]:.1f} mm) leaves the "
            f"scan (z = {low[2]:.1f} to {high[2]:.1f} mm). Use a series that holds the whole "
            "joints."
        )
    (right, top), (left, _) = _corner(region, frame, False), _corner(region, frame, True)
    outside = max(low[0] - right, left - high[0], low[1] - top)
    if outside > region.max_outside_mm:
        raise SeriesError(
            f"The region of the joints leaves the scanned field by {outside:.0f} mm. Use a "
            "reconstruction with a wider field of view."
        )


def _resample(region: SacroiliacRegion, volume: sitk.Image, frame, z_mm, mirrored: bool) -> Crop:
    x, y = _corner(region, frame, mirrored)
    origin = (float(x), float(y), float(z_mm[0]))
    spacing = (region.pixel_mm, region.pixel_mm, region.slice_mm)
    size = (region.size, region.size, len(z_mm))
    direction = MIRRORED if mirrored else AXIAL
    crop = sitk.Resample(
        volume,
        size,
        sitk.Transform(),
        sitk.sitkLinear,
        origin,
        spacing,
        direction,
        float(AIR_HU),
        sitk.sitkInt16,
    )
    return Crop(
        voxels=sitk.GetArrayFromImage(crop),
        positions_mm=z_mm.astype(np.float32),
        origin_mm=origin,
        spacing_mm=spacing,
        direction=direction,
    )
