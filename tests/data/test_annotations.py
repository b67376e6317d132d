"""Boxes of other people's files, and those that are written."""

import csv
import json
import logging
import os

import numpy as np
import pytest
from pycocotools.coco import COCO

from msk_jax.data import annotations
from msk_jax.data.annotations import (
    Boxes,
    Picture,
    check_inside,
    read_boxes,
    write_box_csv,
    write_coco,
)
from msk_jax.data.sources.names import PathError
from msk_jax.errors import SeriesError, UserError

CLASSES = ("osteocyte", "pyknotic osteocyte", "empty lacuna")
PICTURES = (Picture("a.png", 60, 80), Picture("b.png", 60, 80), Picture("=c.png", 60, 80))
BOXES = (
    Boxes(np.array([[1, 2, 11, 22], [0.125, 3, 79.5, 60]], np.float32), np.array([2, 0], np.int32)),
    Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.int32)),
    Boxes(np.array([[5, 6, 7, 8]], np.float32), np.array([1], np.int32)),
)
SCORES = (np.array([0.9, 0.25]), np.zeros(0), np.array([0.5]))


def coco(**changes) -> dict:
    """A small file with everything in order, but for the changes."""
    content = {
        "images": [
            {"id": 7, "file_name": "a.png", "height": 60, "width": 80},
            {"id": 9, "file_name": "sub/b.png"},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 30, "bbox": [1, 2, 10, 20]},
            {"id": 2, "image_id": 7, "category_id": 10, "bbox": [3.5, 4, 5, 6.25], "iscrowd": 0},
        ],
        "categories": [{"id": 30, "name": "empty lacuna"}, {"id": 10, "name": "osteocyte"}],
    }
    return content | changes


@pytest.fixture
def file(tmp_path):
    """Writes the content of a file and gives its path."""

    def write(content, name="cells.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def annotation(**changes) -> dict:
    return coco()["annotations"][0] | changes


def test_coco_is_read(file):
    boxes = read_boxes(file(coco()), "a.png", CLASSES)
    assert boxes.boxes.dtype == np.float32 and boxes.classes.dtype == np.int32
    np.testing.assert_array_equal(boxes.boxes, [[1, 2, 11, 22], [3.5, 4, 8.5, 10.25]])
    np.testing.assert_array_equal(boxes.classes, [2, 0])
    assert boxes.size == (60, 80)


def test_picture_without_boxes_and_picture_that_is_not_listed(file):
    path = file(coco())
    boxes = read_boxes(path, "sub/b.png", CLASSES)
    assert boxes.boxes.shape == (0, 4) and boxes.size is None
    assert len(read_boxes(path, "b.png", CLASSES)) == 0  # the only one of this last part
    assert len(read_boxes(path, "other/A.PNG".replace("other/", ""), CLASSES)) == 2
    with pytest.raises(PathError, match="no annotations for this picture") as error:
        read_boxes(path, "aa.png", CLASSES)
    assert "'a.png'" in error.value.hint


def test_pictures_of_one_name_in_two_folders(file):
    images = [{"id": k, "file_name": f"{k}/a.png"} for k in (1, 2)]
    path = file(coco(images=images, annotations=[annotation(image_id=2)]))
    assert [len(read_boxes(path, f"{k}/a.png", CLASSES)) for k in (1, 2)] == [0, 1]
    with pytest.raises(PathError, match="2 pictures of this name"):
        read_boxes(path, "a.png", CLASSES)


def test_crowds_and_orphans_are_left_out_with_a_note(file, caplog):
    extra = [annotation(iscrowd=1), annotation(image_id=8)]
    with caplog.at_level(logging.WARNING):
        boxes = read_boxes(file(coco(annotations=[annotation(), *extra])), "a.png", CLASSES)
    assert len(boxes) == 1
    assert "1 annotation(s) of crowds" in caplog.text
    assert "1 annotation(s) of pictures that it does not list" in caplog.text


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{not json", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[1, 2]", "is not COCO: its content is not an object"),
        ({"images": []}, "is not COCO: it lacks annotations, categories"),
        (coco(images=[{"id": 7}]), r"images\[0\] lacks file_name"),
        (coco(annotations=[{"bbox": [1, 2, 3, 4]}]), r"annotations\[0\] lacks image_id"),
        (coco(categories=coco()["categories"][:1] * 2), "several categories of one id"),
    ],
)
def test_files_that_are_not_coco(file, content, sentence):
    with pytest.raises(UserError, match=sentence):
        read_boxes(file(content), "a.png", CLASSES)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"bbox": [1, 2, -3, 4]}, r"annotations\[0\] is a box at x 1, y 2 of width -3"),
        ({"bbox": [1, 2, 0, 4]}, "width 0"),
        ({"bbox": [float("nan"), 2, 3, 4]}, r"bbox\[0\] is not a number"),
        ({"bbox": [1, 2, 3]}, "bbox has 3 numbers"),
        ({"bbox": [1, 2, 3, "4"]}, r"bbox\[3\] is not a number"),
        ({"bbox": [1, 2, 3, 10**400]}, "too large"),
        ({"bbox": [1e30, 2, 3, 4]}, "beyond 10,000,000 pixels"),
        ({"bbox": None}, "no box of four numbers"),
        ({"category_id": 31}, "category 31, which is not among the categories"),
    ],
)
def test_a_fault_is_one_pictures_own(file, changes, sentence):
    path = file(coco(annotations=[annotation(**changes)]))
    with pytest.raises(SeriesError, match=sentence):
        read_boxes(path, "a.png", CLASSES)
    assert len(read_boxes(path, "sub/b.png", CLASSES)) == 0


def test_class_that_the_cohort_does_not_have(file):
    names = [{"id": 30, "name": "empty lacunae"}, {"id": 10, "name": "osteocyte"}]
    with pytest.raises(SeriesError, match=r"'empty lacunae', which .* nearest is 'empty lacuna'"):
        read_boxes(file(coco(categories=names)), "a.png", CLASSES)
    names = [{"id": 30, "name": "vessel"}, {"id": 10, "name": "osteocyte"}]
    with pytest.raises(SeriesError) as error:
        read_boxes(file(coco(categories=names), "other.json"), "a.png", CLASSES)
    assert "nearest" not in str(error.value)


def test_picture_listed_twice(file):
    images = [{"id": k, "file_name": "a.png"} for k in (7, 8)] + coco()["images"][1:]
    with pytest.raises(SeriesError, match="more than once"):
        read_boxes(file(coco(images=images)), "a.png", CLASSES)
    images = [{"id": 7, "file_name": name} for name in ("a.png", "b.png")]
    with pytest.raises(SeriesError, match="under its id"):
        read_boxes(file(coco(images=images), "other.json"), "b.png", CLASSES)


def test_tables_of_sizes_and_of_edges(file):
    sizes = file(
        "image,x,y,width,height,class\na.png,1,2,10,20,empty lacuna\nb.png,,,,,\n", "a.csv"
    )
    edges = file("class;x0;y0;x1;y1;image\nempty lacuna;1,0;2;11;22;a.png\n", "b.csv")
    for path in (sizes, edges):
        boxes = read_boxes(path, "a.png", CLASSES)
        np.testing.assert_array_equal(boxes.boxes, [[1, 2, 11, 22]])
        np.testing.assert_array_equal(boxes.classes, [2])
    assert len(read_boxes(sizes, "b.png", CLASSES)) == 0
    with pytest.raises(PathError, match="no annotations for this picture"):
        read_boxes(edges, "b.png", CLASSES)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("a.png,1,2,-10,20,osteocyte", "row 2 is a box at x 1, y 2 of width -10"),
        ("a.png,1,2,nine,20,osteocyte", "row 2: width 'nine' is not a number"),
        ("a.png,1,2,inf,20,osteocyte", "row 2: width 'inf' is not a number"),
        ("a.png,1,2,,20,osteocyte", "row 2: width is empty"),
        ("b.png,1,2,3,4,osteocyte\na.png,1,2,3,4,", "row 3: class is empty"),
        ("a.png,1,2,3,4,osteocytes", "nearest is 'osteocyte'"),
        (",1,2,3,4,osteocyte", "row 2 names no image"),
    ],
)
def test_rows_that_cannot_be_used(file, rows, sentence):
    path = file(f"image,x,y,width,height,class\n{rows}\n", "cells.csv")
    with pytest.raises(UserError, match=sentence):
        read_boxes(path, "a.png", CLASSES)


def test_table_without_the_columns_and_file_that_is_not_there(file, tmp_path):
    with pytest.raises(UserError, match="no table of boxes: its columns are image, x, y"):
        read_boxes(file("image,x,y\na.png,1,2\n", "cells.csv"), "a.png", CLASSES)
    with pytest.raises(UserError, match="cannot be read"):
        read_boxes(tmp_path / "none.json", "a.png", CLASSES)


def test_content_is_read_once_until_it_changes(file, monkeypatch):
    path, calls = file(coco()), []
    parse = annotations._parse_coco
    monkeypatch.setattr(annotations, "_parse_coco", lambda *a: calls.append(1) or parse(*a))
    for name in ("a.png", "sub/b.png", "a.png"):
        read_boxes(path, name, CLASSES)
    assert len(calls) == 1
    path.write_text(json.dumps(coco(annotations=[annotation(bbox=[1, 2, 3, 4])])))
    os.utime(path, ns=(1, 1))
    np.testing.assert_array_equal(read_boxes(path, "a.png", CLASSES).boxes, [[1, 2, 4, 6]])


def boxes_at(*edges, size=None) -> Boxes:
    return Boxes(np.array(edges, np.float32), np.zeros(len(edges), np.int32), size)


def test_boxes_at_the_edge_are_cut_off_and_those_beyond_refused():
    inside = check_inside(boxes_at([-1, -0.5, 10, 10], [70, 50, 81, 60.75]), 60, 80)
    np.testing.assert_array_equal(inside.boxes, [[0, 0, 10, 10], [70, 50, 80, 60]])
    assert len(check_inside(BOXES[1], 60, 80)) == 0
    for edges in ([70, 50, 81.1, 60], [-1.1, 0, 5, 5], [80, 0, 80.5, 5], [90, 0, 99, 5]):
        with pytest.raises(SeriesError, match=r"1 of 2 box\(es\) lie outside of the picture of 80"):
            check_inside(boxes_at([0, 0, 80, 60], edges), 60, 80)


def test_boxes_drawn_in_a_picture_of_another_size():
    with pytest.raises(
        SeriesError, match=r"drawn in a picture of 160 x 120 .* this one has 80 x 60"
    ):
        check_inside(boxes_at([1, 2, 3, 4], size=(120, 160)), 60, 80)
    check_inside(boxes_at([1, 2, 3, 4], size=(60, 80)), 60, 80)


@pytest.mark.parametrize("write", [write_coco, write_box_csv])
@pytest.mark.parametrize("scores", [None, SCORES])
def test_what_is_written_is_read(tmp_path, write, scores):
    path = tmp_path / ("cells.json" if write is write_coco else "cells.csv")
    write(path, PICTURES, BOXES, CLASSES, scores)
    for picture, boxes in zip(PICTURES, BOXES, strict=True):
        back = read_boxes(path, picture.name, CLASSES)
        np.testing.assert_allclose(back.boxes, boxes.boxes, atol=5e-4)
        np.testing.assert_array_equal(back.classes, boxes.classes)


def test_pycocotools_reads_what_is_written(tmp_path):
    path = tmp_path / "cells.json"
    write_coco(path, PICTURES, BOXES, CLASSES, SCORES)
    reader = COCO(str(path))
    assert [reader.cats[k]["name"] for k in sorted(reader.cats)] == list(CLASSES)
    for number, (picture, boxes) in enumerate(zip(PICTURES, BOXES, strict=True), start=1):
        assert reader.imgs[number]["file_name"] == picture.name
        found = reader.loadAnns(reader.getAnnIds(imgIds=[number]))
        assert [a["category_id"] - 1 for a in found] == list(boxes.classes)
        for one, (x0, y0, x1, y1) in zip(found, boxes.boxes.tolist(), strict=True):
            assert one["bbox"] == pytest.approx([x0, y0, x1 - x0, y1 - y0], abs=1e-3)
            assert one["area"] == pytest.approx((x1 - x0) * (y1 - y0), rel=1e-4)
    results = reader.loadRes([
        {k: a[k] for k in ("image_id", "category_id", "bbox", "score")}
        for a in reader.dataset["annotations"]
    ])  # fmt: skip
    assert [a["score"] for a in results.dataset["annotations"]] == [0.9, 0.25, 0.5]


def test_scores_and_names_in_the_table(tmp_path):
    path = tmp_path / "cells.csv"
    write_box_csv(path, PICTURES, BOXES, CLASSES, SCORES)
    rows = list(csv.DictReader(path.open()))
    assert list(rows[0]) == ["image", "x", "y", "width", "height", "class", "score"]
    assert [r["score"] for r in rows] == ["0.9", "0.25", "", "0.5"]
    assert rows[3]["image"] == "'=c.png"  # no formula for a spreadsheet
