"""What several networks answer about a picture, as boxes in its own pixels, and what is written."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from msk_jax.data.images.series import Series
from msk_jax.data.regions.picture import PictureRegion
from msk_jax.dotted import changed
from msk_jax.explain.boxes import draw_boxes
from msk_jax.study import new_boxes
from msk_jax.study.new_boxes import boxes_of_cases, drawing_of, write_boxes
from msk_jax.study.new_patients import Case, Job, Picture
from msk_jax.study.package import SavedModel
from tests.tiny_lacunae import CLASSES, experiment

SAVED = SavedModel(
    changed(experiment, {"cohort.picture.region": PictureRegion(size=64)}), {}, [None, None], {}
)
HEIGHT, WIDTH = 100, 200
"""Of the file: fills 32 x 64 of the crop, and 1 pixel of the crop is 3.125 of the file."""


def answer(*rows):
    """Of a network about one picture: x0, y0, x1, y1, score, label; padded by one row of zeros."""
    table = np.array([*rows, [0] * 6], np.float32)[None]
    return {"boxes": table[..., :4], "scores": table[..., 4], "labels": table[..., 5].astype(int)}


@pytest.fixture
def boxed(monkeypatch):
    """One picture in which the networks agree on a box of class 3, and the second is alone with a
    box of class 1 and one that lies in the padding."""
    answers = [
        answer((8, 8, 16, 16, 0.9, 3)),
        answer((8, 8, 16, 16, 0.7, 3), (50, 20, 70, 40, 0.6, 1), (8, 31.5, 40, 60, 0.5, 1)),
    ]
    series = Series(
        voxels=np.full((3, HEIGHT, WIDTH), 200, np.int16),
        spacing_mm=(1, 1, 1),
        origin_mm=(0, 0, 0),
        modality="SM",
        patient_id="",
        series_uid="",
        age_years=None,
        sex=None,
    )
    volume = np.full((64, 64, 3), 255, np.int16)
    volume[:32] = 200
    case = Case(
        Job("", "", (), "SM"), "P-0_1", series, {}, (), {"P-0_1/s1/0": Picture(None, 1, volume)}
    )

    def ask(saved, cases):
        group = list(cases)
        assert all(one.series is None for one in group)  # its pixels do not wait for the batch
        yield group, answers

    monkeypatch.setattr(new_boxes, "ask_networks", ask)
    ((one,),) = boxes_of_cases(SAVED, [case])
    return one


def test_boxes_are_fused_in_pixels_of_the_file(boxed):
    """(0.9 + 0.7) / 2 and 0.6 / 2; the second box ends where the picture does, the third is
    gone."""
    one, picture = boxed
    expected = [[25, 25, 50, 50], [156.25, 62.5, 200, 100]]
    np.testing.assert_allclose(one.boxes.boxes, expected, rtol=1e-6)
    np.testing.assert_allclose(one.scores, [0.8, 0.3], rtol=1e-6)
    assert one.boxes.classes.tolist() == [2, 0] and one.boxes.size == (HEIGHT, WIDTH)
    assert (one.name, one.unit) == ("P-0_1", "s1")
    assert picture.shape == (32, 64, 3) and (picture == 200).all()


def test_those_of_a_score_of_a_half_are_counted_all_are_written(boxed, tmp_path):
    one = dataclasses.replace(boxed[0], scores=np.array([0.8, 0.5], np.float32))
    write_boxes(SAVED, tmp_path, [boxed[0], dataclasses.replace(one, name="P-0_2", unit="=s2")])
    rows = list(csv.reader((tmp_path / "counts.csv").read_text().splitlines()))
    assert rows == [
        ["name", "section", *CLASSES, "count share"],
        # The stage counts boxes from a score of 0.05 on: one of two is empty.
        ["P-0_1", "s1", "0", "0", "1", "50.00"],
        ["P-0_2", "'=s2", "1", "0", "1", "50.00"],
    ]
    coco = json.loads((tmp_path / "boxes.json").read_text())
    assert [one["score"] for one in coco["annotations"]] == [0.8, 0.3, 0.8, 0.5]
    assert coco["annotations"][1]["bbox"] == [156.25, 62.5, 43.75, 37.5]
    assert len((tmp_path / "boxes.csv").read_text().splitlines()) == 1 + 4


def test_called_boxes_alone_are_drawn_in_their_colour(boxed, tmp_path):
    """The frame of class 3 is green (0, 158, 115); of class 1 it would be blue (0, 114, 178)."""
    draw_boxes(drawing_of(SAVED, *boxed, tmp_path))
    pixels = np.asarray(Image.open(tmp_path / "P-0_1.png").convert("RGB")).astype(int)
    # Where the picture is drawn: grey of 200, which words have at their rims only.
    grey = (pixels == 200).all(-1)
    rows, columns = (np.flatnonzero(grey.mean(axis) > 0.4) for axis in (1, 0))
    inside = pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    green, blue = ((abs(inside - c) < 12).all(-1) for c in ((0, 158, 115), (0, 114, 178)))
    assert green.any() and not blue.any()
    (top, bottom), (left, right) = ((a.min(), a.max()) for a in np.nonzero(green))
    edges = np.array([left, top, right + 1, bottom + 1]) * WIDTH / inside.shape[1]
    np.testing.assert_allclose(edges, [25, 25, 50, 50], atol=1)
