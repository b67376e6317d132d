"""Boxes in new pictures, by the command line."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from msk_jax.data.annotations import read_boxes
from msk_jax.data.build.builder import build_cohort
from msk_jax.data.feed.sharded_cohort import ShardedCohort
from msk_jax.data.privacy.pseudonyms import pseudonym
from msk_jax.data.shards.folds import load_folds
from msk_jax.phantoms import write_cohort
from msk_jax.study.package import save_model
from msk_jax.study.training import best_variables, make_trainer, members
from tests.tiny_lacunae import CLASSES, experiment
from tests.verbs.conftest import verb

KEY = "0123456789abcdef0123456789abcdef"
SIDE = 128
CALLED = 0.3


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def numbers_of(rows):
    """Edges and scores [n, 5] of rows of boxes.csv that are boxes."""
    columns = ("x", "y", "width", "height", "score")
    table = [[float(row[column]) for column in columns] for row in rows if row["x"]]
    table = np.array(table).reshape(-1, 5)
    table[:, 2:4] += table[:, :2]
    return table


@pytest.fixture(scope="module")
def source(made_once):
    """The phantom's pictures and their manifest."""
    return made_once("lacunae", lambda folder: write_cohort(folder, experiment.phantom))


@pytest.fixture(scope="module")
def model(made_once, source):
    """Networks of two folds after one epoch each, as a package."""

    def make(folder):
        shards, folds = folder / "shards", experiment.split.folds
        build_cohort(
            experiment.cohort, source / "dicom", source / "manifest.csv", shards, num_folds=folds
        )
        data = ShardedCohort(shards, 3, 1)
        parts = load_folds(shards, data.patient_labels)
        trainer, ensemble = make_trainer(data, parts, experiment.stages[0]), []
        for fold in range(2):
            train, validation = (members(parts, fold, role) for role in ("train", "validation"))
            place = folder / f"fold_{fold}"
            trainer.fit(place, fold, data, train, validation, {}, lambda *_: None)
            ensemble.append(best_variables(folder, fold, trainer.trained_like()))
        limits = dict.fromkeys(experiment.cohort.levels)
        save_model(folder / "model", experiment, ensemble, {}, limits)

    return made_once("lacunae_model", make)


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    path = tmp_path_factory.mktemp("key") / "pseudonym.key"
    path.write_text(KEY)
    return path


@pytest.fixture(scope="module")
def predicted(model, source, key, tmp_path_factory):
    """What is said of one picture, of half its size, of a part of it, and of a broken file."""
    folder = tmp_path_factory.mktemp("new")
    given, out = folder / "given", folder / "out"
    given.mkdir()
    first = sorted((source / "dicom").glob("*.tif"))[0]
    whole = Image.open(first).convert("RGB")
    assert whole.size == (SIDE, SIDE)
    whole.save(given / "whole.png")
    # As the region scales the whole one to its 64 pixels: the networks see equal pictures.
    whole.resize((64, 64), Image.Resampling.BILINEAR).save(given / "half.png")
    whole.crop((0, 0, 90, SIDE)).save(given / "part.png")
    (given / "broken.png").write_bytes((given / "whole.png").read_bytes()[:600])
    with pytest.MonkeyPatch.context() as patch:  # after one epoch no box is sure
        patch.setattr("msk_jax.study.new_boxes.CALLED", CALLED)
        verb("predict", "--workdir", model, "--dicom", given, "--out", out, "--key", key)
    return out


def name_of(file):
    """As of radiographs without an identity: by where the file lies."""
    code = pseudonym(file, KEY.encode())
    return f"{code}_{code[2:8]}"


def boxes_of(out, file):
    return numbers_of([r for r in rows_of(out / "boxes.csv") if r["image"] == name_of(file)])


def test_table_and_coco_say_the_same(predicted):
    coco = json.loads((predicted / "boxes.json").read_text())
    names = {image["id"]: image["file_name"] for image in coco["images"]}
    classes = {one["id"]: one["name"] for one in coco["categories"]}
    assert tuple(classes.values()) == CLASSES
    said = [
        (names[a["image_id"]], classes[a["category_id"]], *a["bbox"], a["score"])
        for a in coco["annotations"]
    ]
    table = [
        (r["image"], r["class"], *(float(r[c]) for c in ("x", "y", "width", "height", "score")))
        for r in rows_of(predicted / "boxes.csv")
        if r["x"]
    ]
    assert said == table and len(said) > 3
    # And the library's own reader takes both.
    for name in names.values():
        one, other = (read_boxes(predicted / f"boxes.{s}", name, CLASSES) for s in ("csv", "json"))
        np.testing.assert_array_equal(one.boxes, other.boxes)


@pytest.mark.parametrize(
    ("file", "width", "height"),
    [("whole.png", 128, 128), ("half.png", 64, 64), ("part.png", 90, 128)],
)
def test_boxes_lie_in_pixels_of_their_own_picture(predicted, file, width, height):
    boxes = boxes_of(predicted, file)
    assert len(boxes) > 0 and (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2] <= width + 0.002).all() and (boxes[:, 3] <= height + 0.002).all()
    assert (boxes[:, 2:4] > boxes[:, :2]).all() and (np.diff(boxes[:, 4]) <= 0).all()
    images = json.loads((predicted / "boxes.json").read_text())["images"]
    sizes = {one["file_name"]: (one["width"], one["height"]) for one in images}
    assert sizes[name_of(file)] == (width, height)


def test_a_picture_twice_as_large_has_boxes_twice_as_large(predicted):
    half, whole = boxes_of(predicted, "half.png"), boxes_of(predicted, "whole.png")
    np.testing.assert_allclose(whole[:, :4], 2 * half[:, :4], atol=0.01)
    np.testing.assert_allclose(whole[:, 4], half[:, 4], atol=1e-4)


def test_counts_and_pictures(predicted):
    counts = {row["name"]: row for row in rows_of(predicted / "counts.csv")}
    rows = rows_of(predicted / "boxes.csv")
    assert set(counts) == {name_of(f) for f in ("whole.png", "half.png", "part.png")}
    assert sum(int(row[kind]) for row in counts.values() for kind in CLASSES) > 3
    for name, row in counts.items():
        for kind in CLASSES:
            expected = [
                r
                for r in rows
                if (r["image"], r["class"]) == (name, kind) and float(r["score"]) >= CALLED
            ]
            assert int(row[kind]) == len(expected)
        with Image.open(predicted / f"{name}.png") as drawn:
            assert min(drawn.size) > 400


def test_what_is_broken_is_listed_and_nobody_is_named(predicted):
    (row,) = rows_of(predicted / "rejected.csv")
    assert row["series"] == name_of("broken.png") and row["reason"]
    everything = "".join(p.read_text() for p in predicted.glob("*.[cj]s*"))
    assert "whole" not in everything and len(list(predicted.iterdir())) == 4 + 3


def test_of_a_manifest_sections_are_named(model, source, key, tmp_path):
    out = tmp_path / "out"
    verb(
        *("predict", "--workdir", model / "model", "--dicom", source / "dicom", "--out", out),
        *("--manifest", source / "manifest.csv", "--key", key, "--no-pictures"),
    )
    counts, manifest = rows_of(out / "counts.csv"), rows_of(source / "manifest.csv")
    assert not list(out.glob("*.png")) and rows_of(out / "rejected.csv") == []
    said = sorted((row["name"].rsplit("_", 1)[0], row["section"]) for row in counts)
    asked = [(pseudonym(row["patient_id"], KEY.encode()), row["section"]) for row in manifest]
    assert said == sorted(asked) and len(said) == 12


def test_what_cannot_be_done_is_a_sentence(model, key, tmp_path, refused):
    empty, out = tmp_path / "empty", tmp_path / "out"
    empty.mkdir()
    command = ("predict", "--workdir", model, "--dicom", empty, "--out", out, "--key", key)
    assert "no files" in refused(*command)
    assert "gives boxes" in refused(*command, "--dicom-results")
    (empty / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    assert "None of the 1 pictures" in refused(*command)
    assert [path.name for path in out.iterdir()] == ["rejected.csv"]
