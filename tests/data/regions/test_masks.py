"""Masks on the grid of the crops: row for row on a radiograph, by their place on a volume."""

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from msk_jax.data.privacy.pseudonyms import pseudonym
from msk_jax.data.regions.masks import find_masks, mask_on_crop, read_mask
from msk_jax.data.regions.radiograph import RadiographRegion
from msk_jax.data.regions.radiograph_crops import read_projection
from msk_jax.data.regions.region import CORONAL, MIRRORED, SAGITTAL
from msk_jax.data.regions.sacroiliac import SacroiliacRegion
from msk_jax.errors import UserError

KEY = b"k" * 32


def stored(crop):
    """A crop's place as its record has it."""
    return {"origin_mm": crop.origin_mm, "spacing_mm": crop.spacing_mm}


@pytest.fixture
def key(tmp_path):
    (tmp_path / "key").write_bytes(KEY)
    return tmp_path / "key"


def test_a_radiographs_mask_lies_where_the_picture_is_bright(tmp_path):
    """No symmetry: a flip, or rows taken for columns, would show."""
    labels = np.zeros((60, 40), np.uint8)
    labels[5:15, 3:30], labels[40:44, 20:26], labels[50:60, 0:8] = 1, 2, 4
    Image.fromarray(np.where(labels, 200, 10).astype(np.uint8)).save(tmp_path / "p.png")
    sitk.WriteImage(sitk.GetImageFromArray(labels), str(tmp_path / "m.nii.gz"))
    region = RadiographRegion(size=60)
    crop = region.extract(read_projection([tmp_path / "p.png"]))["whole"]
    picture, record = crop.voxels[0], stored(crop)
    assert (picture > 2000).sum() == (labels > 0).sum()
    found = mask_on_crop(tmp_path / "m.nii.gz", (), region, record, 0)
    np.testing.assert_array_equal(found, picture > 2000)
    some = mask_on_crop(tmp_path / "m.nii.gz", (2, 4), region, record, 0)
    assert some.sum() == ((labels == 2) | (labels == 4)).sum()
    # Of half the resolution, it is the same mask; with other sides, or lying on one, it is another.
    for name, other in (("half", labels[::2, ::2]), ("cut", labels[:40]), ("turned", labels.T)):
        sitk.WriteImage(sitk.GetImageFromArray(other), str(tmp_path / f"{name}.nii.gz"))
    assert mask_on_crop(tmp_path / "half.nii.gz", (), region, record, 0).any()
    for name in ("cut", "turned"):
        with pytest.raises(UserError, match=rf"{name}.nii.gz has other proportions"):
            mask_on_crop(tmp_path / f"{name}.nii.gz", (), region, record, 0)


@pytest.mark.parametrize(
    ("direction", "origin", "positions", "expected"),
    [
        # Columns from x 3.0 leftwards to the right: x 3.0, 2.5, ...; voxel x = (x + 7) / 0.5.
        (MIRRORED, [3.0, 15.0, 104.0], [104.0, 108.0], (4, slice(8, 24), slice(20, 4, -1))),
        # Slices along x, columns along y, rows from the head (z 110 is slice 5) down.
        (SAGITTAL, [-6.0, 15.0, 110.0], [-4.0, -3.0], (slice(5, None, -1), slice(8, 24), 8)),
    ],
)
def test_a_mask_on_mirrored_and_sagittal_crops(tmp_path, direction, origin, positions, expected):
    labels = np.zeros((6, 30, 30), np.uint8)  # z, y, x
    labels[4, 12:20, 7:10] = labels[2:4, 10:13, 8] = 1  # no symmetry
    mask = sitk.GetImageFromArray(labels)
    mask.SetSpacing((0.5, 0.5, 2.0))
    mask.SetOrigin((-7.0, 11.0, 100.0))
    sitk.WriteImage(mask, str(tmp_path / "m.nii.gz"))
    down = 2.0 if direction is SAGITTAL else 0.5
    record = {
        "origin_mm": origin,
        "spacing_mm": [0.5, down, 2.0],
        "direction": np.array(direction),
        "positions_mm": positions,
    }
    region = SacroiliacRegion(pixel_mm=0.5, size=16)
    found = mask_on_crop(tmp_path / "m.nii.gz", (), region, record, 1)
    due = np.zeros((16, 16), bool)
    cut = labels[expected] > 0
    due[: len(cut)] = cut
    np.testing.assert_array_equal(found, due)
    assert found.any() and (found != found[:, ::-1]).any()


@pytest.mark.parametrize("plane", ["axial", "coronal"])
def test_a_volumes_mask_lies_where_its_origin_says(tmp_path, plane):
    labels = np.zeros((6, 30, 30), np.uint8)  # z, y, x
    labels[4, 12:20, 7:10] = 3
    mask = sitk.GetImageFromArray(labels)
    mask.SetSpacing((0.5, 0.5, 2.0))
    mask.SetOrigin((-7.0, 11.0, 100.0))
    sitk.WriteImage(mask, str(tmp_path / "m.nii.gz"))
    region = SacroiliacRegion(pixel_mm=0.5, size=16)
    if plane == "axial":
        # Corner at voxel x 2, y 8; the slice at z 108 is the fourth.
        record = {
            "origin_mm": [-6.0, 15.0, 104.0],
            "spacing_mm": [0.5, 0.5, 2.0],
            "direction": np.eye(3).ravel(),
            "positions_mm": [104.0, 106.0, 108.0],
        }
        expected = labels[4, 8:24, 2:18] > 0
    else:
        # Rows from the head down, 2 mm each: the fourth slice comes after 16 - 4 = 12 rows of none.
        record = {
            "origin_mm": [-6.0, 0.0, 132.0],
            "spacing_mm": [0.5, 2.0, 0.5],
            "direction": np.array(CORONAL),
            "positions_mm": [11.0, 18.0],
        }
        expected = np.zeros((16, 16), bool)
        expected[12, 5:8] = True
    found = mask_on_crop(
        tmp_path / "m.nii.gz", (3,), region, record, len(record["positions_mm"]) - 1
    )
    np.testing.assert_array_equal(found, expected)
    assert found.any()


def test_masks_are_found_by_patient_and_unit(tmp_path, key):
    for name in ("A", "A_left", "B_2"):
        sitk.WriteImage(sitk.Image(2, 2, sitk.sitkUInt8), str(tmp_path / f"{name}.nii.gz"))
    found = find_masks(tmp_path, key, ("left", "right"))
    of_a, of_b = pseudonym("A", KEY), pseudonym("B_2", KEY)
    assert found[of_a, "left"].name == "A_left.nii.gz"
    assert found[of_a, "right"].name == "A.nii.gz"
    assert found[of_b, "left"] == found[of_b, "right"]
    with pytest.raises(UserError, match="no mask"):
        find_masks(tmp_path / "nowhere", key, ("left",))
    with pytest.raises(UserError, match="Give --key"):
        find_masks(tmp_path, tmp_path / "no.key", ("left",))
    (tmp_path / "bad.nii.gz").write_bytes(b"no mask")
    with pytest.raises(UserError, match="cannot be read as NIfTI"):
        mask_on_crop(tmp_path / "bad.nii.gz", (), RadiographRegion(), {}, 0)
    for image in (
        sitk.Image([3, 3, 3, 2], sitk.sitkUInt8),
        sitk.Image([3, 3], sitk.sitkVectorUInt8),
    ):
        sitk.WriteImage(image, str(tmp_path / "odd.nii.gz"))
        with pytest.raises(UserError, match="is no volume of 2 or 3 dimensions"):
            read_mask(tmp_path / "odd.nii.gz", ())
        read_mask.cache_clear()


def test_one_slice_of_three_dimensions_is_a_picture(tmp_path):
    labels = np.zeros((1, 20, 20), np.uint8)
    labels[0, 3:6, 10:18] = 1
    sitk.WriteImage(sitk.GetImageFromArray(labels), str(tmp_path / "m.nii.gz"))
    record = {"origin_mm": (0.0, 0.0, 19.0), "spacing_mm": (1.0, 1.0, 1.0)}
    found = mask_on_crop(tmp_path / "m.nii.gz", (), RadiographRegion(size=20), record, 0)
    np.testing.assert_array_equal(found, labels[0] > 0)
