"""Boxes from files of annotations to batches: as they were drawn, and what is refused."""

import csv
import json
import shutil

import numpy as np
import pytest

from msk_jax.data.build.builder import build_cohort
from msk_jax.data.feed.sharded_cohort import ShardedCohort
from msk_jax.data.privacy.pseudonyms import KEY_NAME, load_key, pseudonym
from msk_jax.data.shards.build_folder import read_cohort
from msk_jax.data.shards.folds import folds_by_group, load_folds, make_folds
from msk_jax.errors import UserError
from msk_jax.phantoms import write_cohort
from msk_jax.phantoms.histology.cohort import draw_tile, render_tile
from tests.tiny_lacunae import CLASSES, experiment

PHANTOM, COHORT = experiment.phantom, experiment.cohort
TASK = experiment.stages[0].trained_task


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lacunae") / "cohort"
    write_cohort(folder, PHANTOM)
    return folder


@pytest.fixture(scope="module")
def shards(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "shards"
    manifest = source / "manifest.csv"
    summary = build_cohort(COHORT, source / "dicom", manifest, folder, num_folds=3)
    assert (summary.num_patients, summary.num_units, summary.num_rejected) == (6, 12, 0)
    # Three planes are one stack of a picture.
    assert summary.num_stacks == 12
    return folder


@pytest.fixture(scope="module")
def tiles(source) -> dict:
    """What the phantom drew, by the name of the unit in the shards."""
    key = load_key(source / KEY_NAME)
    drawn = [draw_tile(PHANTOM, n, k) for n in range(PHANTOM.patients) for k in range(2)]
    return {
        f"{pseudonym(tile.section.animal.patient_id, key)}/{tile.section.name}": tile
        for tile in drawn
    }


def test_records_hold_what_was_drawn_in_pixels_of_the_crop(shards, tiles):
    data = ShardedCohort(shards, 3, 1)
    assert data.image_shape == (64, 64, 3)
    assert {record["unit_id"] for record in data.records} == set(tiles)
    for record in data.records:
        boxes = tiles[record["unit_id"]].boxes
        # A tile of 128 pixels in a crop of 64; the file has thousandths of a pixel.
        np.testing.assert_allclose(record["cells"], boxes.boxes / 2, atol=2e-3)
        np.testing.assert_array_equal(record["cells_class"], boxes.classes)
        assert record["spacing_mm"][:2] == pytest.approx((0.002, 0.002))


def test_batches_hold_pictures_with_their_boxes(shards, tiles):
    data = ShardedCohort(shards, 3, 1)
    patients = set(data.patient_labels)
    batches = data.training_batches(patients, 4, 3, (0, 0), 0, learned=TASK.examples)
    most = max(len(tile.boxes) for tile in tiles.values())
    room = -(-most // 8) * 8
    for batch in (next(batches) for _ in range(3)):
        assert set(batch) == {"volume", "unit_id", "boxes", "box_class"}
        assert batch["boxes"].shape == (4, room, 4) and batch["boxes"].dtype == np.float32
        assert batch["box_class"].shape == (4, room) and batch["box_class"].dtype == np.int32
        for row, name in enumerate(batch["unit_id"]):
            tile = tiles[name.rpartition("/")[0]]
            count = len(tile.boxes)
            np.testing.assert_allclose(batch["boxes"][row, :count], tile.boxes.boxes / 2, atol=2e-3)
            np.testing.assert_array_equal(batch["box_class"][row, :count], tile.boxes.classes + 1)
            assert not batch["boxes"][row, count:].any()
            assert not batch["box_class"][row, count:].any()
            halved = render_tile(tile, PHANTOM).picture.reshape(64, 2, 64, 2, 3).mean((1, 3))
            # A filter as wide as two new pixels, where the mean is of one.
            assert np.abs(batch["volume"][row] - halved).mean() < 6


def test_animals_not_sections_are_in_folds_and_no_class_is_asked_for(shards):
    folds = load_folds(shards, ShardedCohort(shards, 3, 1).patient_labels)
    assert len(folds) == 6 and sorted(folds.values()) == [0, 0, 1, 1, 2, 2]
    labels = dict.fromkeys("abcdef", 0)
    assert make_folds(labels, 3, 0, classed=False) == make_folds(labels, 3, 0, classed=False)
    with pytest.raises(UserError, match="every class needs"):
        make_folds(labels, 3, 0)
    with pytest.raises(UserError, match=r"too few usable patients for 7 folds \(6\)"):
        make_folds(labels, 7, 0, classed=False)
    sites = dict(zip("abcdef", "xxyyzz", strict=True))
    assert folds_by_group(sites, labels, "site", 3, classed=False)["f"] == 2


def test_the_cohort_table_counts_boxes(shards, tiles):
    table = read_cohort(shards)["boxes"]
    every = np.concatenate([tile.boxes.classes for tile in tiles.values()])
    assert table["by_class"] == dict(zip(CLASSES, np.bincount(every, minlength=3), strict=True))
    assert table["pictures_without"] == 0


def _changed(source, folder):
    """Five animals whose files are in order, but for one section each of the first four."""
    shutil.copytree(source, folder)
    with (folder / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    files = [folder / row["cells"] for row in rows[::2]]

    def edit(number, change):
        content = json.loads(files[number].read_text())
        change(content, content["images"][0]["id"])
        files[number].write_text(json.dumps(content))

    def of_first(content, image):
        return [one for one in content["annotations"] if one["image_id"] == image]

    edit(0, lambda c, image: of_first(c, image)[0].update(bbox=[125.0, 5, 9, 9]))
    edit(1, lambda c, image: of_first(c, image)[0].update(category_id=9))
    edit(1, lambda c, image: c["categories"].append({"id": 9, "name": "macrophage"}))
    edit(2, lambda c, image: c["images"].pop(0))
    empty = [one for one in json.loads(files[3].read_text())["annotations"] if one["image_id"] != 1]
    edit(3, lambda c, image: c.update(annotations=empty))
    return rows


def test_faulty_boxes_are_their_pictures_fault_and_no_boxes_are_none(source, tmp_path):
    rows = _changed(source, tmp_path / "changed")
    target = tmp_path / "shards"
    manifest = tmp_path / "changed" / "manifest.csv"
    summary = build_cohort(
        COHORT, manifest.parent / "dicom", manifest, target, num_folds=3, cache=tmp_path / "cache"
    )
    assert (summary.num_units, summary.num_rejected) == (9, 3)
    with (target / "rejected.csv").open(newline="") as file:
        reasons = {int(row["row"]): row["reason"] for row in csv.DictReader(file)}
    assert "lie outside of the picture of 128 x 128 pixels" in reasons[2]
    assert "class 'macrophage', which is none of 'osteocyte'" in reasons[4]
    assert "its file of annotations has no annotations for this picture" in reasons[6]
    assert not any(row["patient_id"] in text for row in rows for text in reasons.values())
    without = [r for r in ShardedCohort(target, 3, 1).records if not len(r["cells"])]
    assert [record["cells"].shape for record in without] == [(0, 4)]
    assert read_cohort(target)["boxes"]["pictures_without"] == 1


def test_other_annotations_make_another_build(source, tmp_path):
    """The manifest, which names the files alone, is the same; and a cache knows their content."""
    folder = tmp_path / "cohort"
    shutil.copytree(source, folder)
    options = {"num_folds": 3, "cache": tmp_path / "cache"}
    places = COHORT, folder / "dicom", folder / "manifest.csv", tmp_path / "shards"
    assert build_cohort(*places, **options).built and not build_cohort(*places, **options).built
    file = next((folder / "annotations").glob("*.json"))
    content = json.loads(file.read_text())
    removed = content["annotations"].pop()
    file.write_text(json.dumps(content))
    before = ShardedCohort(tmp_path / "shards", 3, 1).records
    with pytest.raises(UserError, match="--overwrite"):
        build_cohort(*places, **options)
    build_cohort(*places, **options, overwrite=True)
    after = ShardedCohort(tmp_path / "shards", 3, 1).records
    counts = [sum(len(record["cells"]) for record in records) for records in (before, after)]
    assert counts[0] - counts[1] == 1 and removed
