"""The joints of a pelvis made of boxes: found where we put them, cropped where they are."""

import csv

import numpy as np
import pytest
import SimpleITK as sitk

from msk_jax.data.images.series import Series, read_series
from msk_jax.data.regions.bone import coarse_bone
from msk_jax.data.regions.sacroiliac import SacroiliacRegion
from msk_jax.data.regions.sacroiliac_joints import locate
from msk_jax.data.sources.scan import scan
from msk_jax.errors import SeriesError
from msk_jax.phantoms import SacroiliacPhantom, write_cohort
from tests.data.ct_files import JOINT_Z, box_pelvis, write_ct

REGION = SacroiliacRegion()


def series_of(voxels, origin, spacing) -> Series:
    return Series(voxels, tuple(spacing), tuple(origin), "CT", "P", "1.2", None, None)


def pelvis(spacing=(3.0, 3.0, 2.5), shape=(48, 128, 128), shift=(0.0, 0.0)) -> Series:
    voxels, origin = box_pelvis(spacing, shape, shift)
    return series_of(voxels, origin, spacing)


@pytest.mark.parametrize(
    ("spacing", "shape"),
    [((3.0, 3.0, 2.5), (48, 128, 128)), ((1.4, 2.6, 1.1), (110, 150, 260))],
)
def test_landmarks(spacing, shape):
    frame = locate(REGION, pelvis(spacing, shape, shift=(7.0, -4.0)))
    assert frame.joint_z_mm == pytest.approx(JOINT_Z, abs=3)
    assert frame.midline_x_mm == pytest.approx(7, abs=1.5)
    assert frame.posterior_y_mm == pytest.approx(-4 + 45, abs=3)


def test_midline_of_a_turned_patient():
    straight = pelvis()
    turn = sitk.Euler3DTransform((0, 15, 0), 0, 0, np.radians(8))
    image = sitk.Resample(straight.to_sitk(), turn, sitk.sitkLinear, -1000.0)
    turned = series_of(sitk.GetArrayFromImage(image), straight.origin_mm, straight.spacing_mm)
    # The midline is turned about (0, 15): at the joints' depth it lies at x = tan(8) (y - 15).
    frame = locate(REGION, turned)
    y = frame.posterior_y_mm - REGION.joint_depth_mm
    expected = np.tan(np.radians(8)) * (y - 15)
    assert frame.midline_x_mm == pytest.approx(expected, abs=2)


def test_slices_cover_the_wanted_part_of_the_joint():
    crops = REGION.extract(pelvis(), joint_z_mm=(-25, 25))
    z = crops["left"].positions_mm
    # Counted from the top of a 50 mm joint: 35 % is z = 7.5, 75 % is z = -12.5.
    centres = z[2:-2]
    assert centres[0] == -12.5 and centres[-1] == 7.5
    assert np.allclose(np.diff(z), 2.5) and len(z) == 9 + 4
    assert np.array_equal(z, crops["right"].positions_mm)


def test_layout_is_the_same_on_both_sides():
    crops = REGION.extract(pelvis(shift=(7.0, -4.0)))
    left, right = crops["left"], crops["right"]
    assert left.mirrored and not right.mirrored
    assert left.voxels.shape == right.voxels.shape == (len(left.positions_mm), 128, 128)
    assert left.voxels.dtype == np.int16
    # The box pelvis is symmetric, so the mirrored left looks like the right but for the
    # fraction of a voxel by which the midline was missed.
    assert np.mean(np.abs(left.voxels.astype(int) - right.voxels) > 200) < 0.05
    # The last column lies 5 mm across the midline.
    x_right = right.origin_mm[0] + 127 * 0.75
    x_left = left.origin_mm[0] - 127 * 0.75
    assert (x_right + x_left) / 2 == pytest.approx(7, abs=1.5)
    assert x_right - x_left == pytest.approx(10)


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, -1, 0)])
@pytest.mark.parametrize("spacing", [(3.0, 3.0, 2.5), (2.2, 2.9, 1.7)])
@pytest.mark.parametrize("point", [(-40.0, -12.0, -3.0), (52.0, 6.0, 4.0)])
def test_a_bright_point_keeps_its_place(tmp_path, orientation, spacing, point):
    shape = (round(125 / spacing[2]), 128, 160)
    voxels, origin = box_pelvis(spacing, shape)
    axes = [o + np.arange(n) * s for o, n, s in zip(origin, shape[::-1], spacing, strict=True)]
    blob = [np.exp(-(((a - p) / 4) ** 2) / 2) for a, p in zip(axes, point, strict=True)]
    glow = blob[2][:, None, None] * blob[1][None, :, None] * blob[0][None, None, :]
    voxels = np.where(glow > 0.2, 10000 * glow, voxels).astype(np.int16)
    stored, first = voxels, np.array(origin)
    if orientation[0] < 0:
        stored = voxels[:, ::-1, ::-1]
        first = np.array([axes[0][-1], axes[1][-1], axes[2][0]])
    files = write_ct(tmp_path, stored, origin=first, spacing=spacing, orientation=orientation)
    crop = REGION.extract(read_series(files))["left" if point[0] > 0 else "right"]
    assert crop.mirrored == (point[0] > 0)
    weight = np.where(crop.voxels > 2500, crop.voxels, 0).astype(float)
    index = [np.average(grid, weights=weight) for grid in np.indices(weight.shape)]
    way = -1 if crop.mirrored else 1
    found = [
        crop.origin_mm[0] + way * index[2] * crop.spacing_mm[0],
        crop.origin_mm[1] + index[1] * crop.spacing_mm[1],
        np.interp(index[0], np.arange(len(crop.positions_mm)), crop.positions_mm),
    ]
    assert found == pytest.approx(point, abs=0.35)


def test_map_of_the_crop_goes_back_onto_the_ct():
    ct = pelvis()
    crop = REGION.extract(ct)["left"]
    # A soft spot about voxel [6, 63.5, 23.5], wide enough for the 3 mm pixels of the CT.
    k, j, i = np.indices(crop.voxels.shape, np.float32)
    where = np.exp(-(((k - 6) / 1.6) ** 2 + ((j - 63.5) / 6) ** 2 + ((i - 23.5) / 6) ** 2) / 2)
    back = sitk.Resample(crop.to_sitk(where), ct.to_sitk(), sitk.Transform(), sitk.sitkLinear, 0.0)
    z, y, x = (
        np.average(g, weights=sitk.GetArrayFromImage(back)) for g in np.indices(ct.voxels.shape)
    )
    found = np.array((x, y, z)) * ct.spacing_mm + ct.origin_mm
    expected = (
        crop.origin_mm[0] - 23.5 * 0.75,
        crop.origin_mm[1] + 63.5 * 0.75,
        crop.positions_mm[6],
    )
    assert found == pytest.approx(expected, abs=0.2)
    with pytest.raises(ValueError, match="shape"):
        crop.to_sitk(where[1:])


def refuse(series, match, region=REGION, **given):
    with pytest.raises(SeriesError, match=match):
        region.extract(series, **given)


def test_refuses_thick_slices():
    refuse(pelvis((3, 3, 5), (24, 128, 128)), "5.00 mm apart; at most 3.2")


def test_refuses_what_is_no_pelvis():
    # The same boxes at a third of their size: 84 mm wide.
    voxels, origin = box_pelvis((3.0, 3.0, 2.5))
    refuse(series_of(voxels, origin, (1.0, 1.0, 2.5)), "at most 8[345] mm wide.*pelvic CT")
    refuse(series_of(np.full((20, 64, 64), 40, np.int16), (0, 0, 0), (3, 3, 2)), "pelvic CT")


def test_refuses_a_pelvis_without_joints():
    ct = pelvis()
    z = ct.origin_mm[2] + 2.5 * np.arange(len(ct.voxels))
    above = ct.voxels[z > 30]
    refuse(series_of(above, (*ct.origin_mm[:2], 30.0), ct.spacing_mm), "No sacroiliac joints")


def test_refuses_joints_that_are_cut_off():
    ct = pelvis()
    z = ct.origin_mm[2] + 2.5 * np.arange(len(ct.voxels))
    kept = ct.voxels[z > 0]
    low = float(z[z > 0][0])
    cut = series_of(kept, (*ct.origin_mm[:2], low), ct.spacing_mm)
    refuse(cut, "is 2[0-9] mm high, where 30 to 110")
    # Told where the joints are, it still will not make up the missing slices.
    refuse(cut, r"leaves the scan \(z = 1.2", joint_z_mm=(-25, 25))


def test_refuses_an_extent_outside_the_scan():
    refuse(pelvis(), "z = 200.0 to 250.0 mm", joint_z_mm=(200, 250))


def test_refuses_a_field_that_is_too_small():
    ct = pelvis()
    x = ct.origin_mm[0] + 3 * np.arange(128)
    inside = np.abs(x) < 100
    narrow = series_of(
        np.ascontiguousarray(ct.voxels[:, :, inside]),
        (float(x[inside][0]), *ct.origin_mm[1:]),
        ct.spacing_mm,
    )
    wide = SacroiliacRegion(size=160)
    refuse(narrow, "leaves the scanned field by 1[0-9] mm", wide)


def test_extent_of_the_manifest_is_used():
    crops = REGION.extract(pelvis(), joint_z_mm=(-20, 20))
    assert crops["left"].positions_mm[2] == pytest.approx(20 - 0.75 * 40, abs=2.5)
    assert crops["left"].positions_mm[-3] == pytest.approx(20 - 0.35 * 40, abs=2.5)


def test_coarse_grid_lies_on_the_fine_one():
    voxels = np.full((4, 9, 8), -1000, np.int16)
    voxels[2:4, 4:8, 2:4] = 800
    voxels[0, 0, 7] = 3000  # a speck
    ct = series_of(voxels, (10.0, 20.0, 30.0), (1.0, 0.5, 1.1))
    bone, spacing, origin = coarse_bone(ct, 200.0, min_component_mm3=5.0)
    # Blocks of 2 x 4 x 2 voxels; the ninth row fills none. The speck's block means -750 HU.
    assert bone.shape == (2, 2, 4) and np.argwhere(bone).tolist() == [[1, 1, 1]]
    assert spacing == pytest.approx((2.0, 2.0, 2.2))
    assert origin == pytest.approx((10.5, 20.75, 30.55))
    # 2 x 2 x 2.2 = 8.8 mm3.
    assert not coarse_bone(ct, 200.0, min_component_mm3=9.0)[0].any()


def test_joints_of_the_phantom_are_found(tmp_path):
    phantom = SacroiliacPhantom(patients=2, seed=11, matrix=320, pixel_mm=1.15, workers=1)
    write_cohort(tmp_path / "out", phantom)
    with (tmp_path / "out" / "parameters.csv").open() as file:
        truth = {(row["patient_id"], row["side"]): row for row in csv.DictReader(file)}
    found = scan(tmp_path / "out" / "dicom")
    for uid, files in found.series.items():
        ct = read_series(files)
        frame = locate(REGION, ct)
        left, right = (truth[ct.patient_id, side] for side in ("left", "right"))
        expected = [float(end) for end in left["joint_z_mm"].split(":")]
        assert frame.joint_z_mm == pytest.approx(expected, abs=8), uid
        middle = (float(left["centre_x_mm"]) + float(right["centre_x_mm"])) / 2
        assert frame.midline_x_mm == pytest.approx(middle, abs=4)
        for side, crop in REGION.extract(ct).items():
            # The middle of the joint lies well inside the crop.
            row = truth[ct.patient_id, side]
            x = abs(float(row["centre_x_mm"]) - crop.origin_mm[0]) / 0.75
            y = (float(row["centre_y_mm"]) - crop.origin_mm[1]) / 0.75
            assert 32 < x < 112 and 32 < y < 112
