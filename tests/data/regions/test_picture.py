"""Pictures in colour: three planes as stored, scaled and padded with white; names of sections."""

import numpy as np
import pytest
from PIL import Image

from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.cohort.manifest import read_manifest
from msk_jax.data.fields import Boxes
from msk_jax.data.fields import Image as ImageField
from msk_jax.data.regions.picture import PictureRegion
from msk_jax.errors import SeriesError, UserError

REGION = PictureRegion(size=64)


def cohort_of_sections(**changes) -> Cohort:
    fields = (ImageField("picture", REGION), Boxes("cells", "picture", ("a", "b")))
    return Cohort("sections", changes.get("fields", fields), ("image", "section", "animal"), "SM")


def written(folder, picture, name="tile.png", **options):
    path = folder / name
    Image.fromarray(picture).save(path, **options)
    return path


def random_picture(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_a_smaller_picture_stays_as_it_is_and_is_padded_white(tmp_path):
    picture = random_picture(40, 64, 3)
    series = REGION.read([written(tmp_path, picture)], "SM")
    (crop,) = REGION.extract(series, "s1").values()
    assert crop.voxels.dtype == np.int16 and crop.voxels.shape == (3, 64, 64)
    np.testing.assert_array_equal(crop.voxels[:, :40], np.moveaxis(picture, -1, 0))
    assert (crop.voxels[:, 40:] == 255).all()
    assert not series.spacing_known and series.is_colour and not series.is_projection


def test_a_larger_one_is_scaled_with_its_resolution_and_its_boxes(tmp_path):
    """Blocks of 4 x 4 pixels of one colour, a quarter of the size: each is a pixel."""
    small = random_picture(32, 64, 3)
    blocks = small.repeat(4, 0).repeat(4, 1)
    per_cm = 10_000 / 0.5  # pixels of half a micrometre
    path = written(tmp_path, blocks, "tile.tif", resolution_unit=3, resolution=per_cm)
    series = REGION.read([path], "SM")
    assert series.spacing_mm == pytest.approx((0.0005, 0.0005, 1)) and series.spacing_known
    (crop,) = REGION.extract(series, "s1").values()
    assert crop.spacing_mm == pytest.approx((0.002, 0.002, 1))
    # A block's pixel has a part of its neighbours: the filter is as wide as two blocks.
    assert np.abs(crop.voxels[:, :32] - np.moveaxis(small, -1, 0)).mean() < 40
    inside = blocks[8:120].astype(float).mean((0, 1))
    np.testing.assert_allclose(crop.voxels[:, 2:30].mean((1, 2)), inside, atol=1)
    boxes = np.array([[8, 16, 40, 128]], np.float32)
    np.testing.assert_array_equal(REGION.placed(boxes, 128, 256), boxes / 4)


def test_boxes_come_back_to_the_picture_and_end_where_it_ends():
    """A picture of 100 x 200 fills 32 x 64 of the square; below row 32 is padding."""
    boxes = np.array([[10, 20, 110, 60]], np.float32)
    placed = REGION.placed(boxes, 100, 200)
    np.testing.assert_allclose(placed, [[3.2, 6.4, 35.2, 19.2]], rtol=1e-6)
    np.testing.assert_allclose(REGION.returned(placed, 100, 200), boxes, rtol=1e-6)
    outside = np.array([[-4, 16, 70, 40]], np.float32)
    np.testing.assert_array_equal(REGION.returned(outside, 100, 200), [[0, 50, 200, 100]])


def test_only_as_much_larger_as_the_region_says():
    assert REGION.filled(20, 10) == (20, 10)
    assert PictureRegion(size=64, scale=2.0).filled(20, 10) == (40, 20)
    assert PictureRegion(size=64, scale=9.0).filled(20, 10) == (64, 32)


def test_transparency_is_white_and_grey_has_three_equal_planes(tmp_path):
    clear = np.dstack([random_picture(8, 8, 3), np.full((8, 8), 255, np.uint8)])
    clear[:4, :, 3] = 0
    series = REGION.read([written(tmp_path, clear)], "SM")
    assert (series.voxels[:, :4] == 255).all()
    np.testing.assert_array_equal(series.voxels[:, 4:], np.moveaxis(clear[4:, :, :3], -1, 0))
    grey = random_picture(8, 8)
    series = REGION.read([written(tmp_path, grey, "grey.png")], "SM")
    np.testing.assert_array_equal(series.voxels, np.stack([grey] * 3))


def test_what_is_no_picture_in_colour(tmp_path):
    deep = written(tmp_path, random_picture(8, 8).astype(np.uint16) * 200, "deep.png")
    with pytest.raises(SeriesError, match="8 bits of red, green and blue"):
        REGION.read([deep], "SM")
    with pytest.raises(SeriesError, match="holds 2 images"):
        REGION.read([deep, deep], "SM")
    (tmp_path / "slide.dcm").write_bytes(b"\0" * 128 + b"DICM")
    with pytest.raises(SeriesError, match=r"DICOM file.*Export"):
        REGION.read([tmp_path / "slide.dcm"], "SM")


def manifest(folder, *rows):
    path = folder / "manifest.csv"
    path.write_text("\n".join(["patient_id,section,path,cells", *rows]) + "\n")
    return path


def test_sections_have_any_name_that_says_nothing_of_the_patient(tmp_path):
    path = manifest(tmp_path, "mouse,s1,a.png,a.json", "mouse,Deep-2_b,b.png,a.json")
    rows = read_manifest(path, cohort_of_sections()).rows
    assert [row.unit for row in rows] == ["s1", "Deep-2_b"] and rows[0].boxes == "a.json"
    path = manifest(
        tmp_path,
        "mouse,a/b,a.png,a.json",
        "mouse,,b.png,a.json",
        f"mouse,{'x' * 65},c.png,a.json",
        "mouse,Mouse_1,d.png,a.json",
        "mouse,s1,e.png,../a.json",
        "mouse,s2,f.png,",
        "mouse,s2,g.png,a.json",
    )
    with pytest.raises(UserError) as error:
        read_manifest(path, cohort_of_sections())
    text = str(error.value)
    assert text.count("is no name of a section: give 1 to 64 letters") == 3
    assert "row 5: section 'Mouse_1' contains the patient_id" in text
    assert "row 6: cells must be relative to the manifest's folder" in text
    assert "row 7: cells is empty" in text
    assert "rows 7, 8: the s2 section of mouse is given twice" in text


def test_boxes_need_an_image_that_takes_them_along():
    for boxes in (Boxes("cells", "other", ("a",)), Boxes("cells", "picture")):
        with pytest.raises(UserError, match=r"is a PictureRegion|have no classes"):
            cohort_of_sections(fields=(ImageField("picture", REGION), boxes))


def test_boxes_are_needed_to_learn_and_not_to_predict(tmp_path):
    path = tmp_path / "manifest.csv"
    path.write_text("patient_id,section,path\nmouse,s1,a.png\n")
    (row,) = read_manifest(path, cohort_of_sections(), labelled=False).rows
    assert row.boxes == ""
    with pytest.raises(UserError, match=r"lacks the column\(s\) cells"):
        read_manifest(path, cohort_of_sections())
