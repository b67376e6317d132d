"""Boxes in pictures, written as others read them: COCO JSON, and CSV with a row for each box.

`msk_jax.data.annotations` reads both.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from msk_jax.files import csv_text, replacing

CSV_COLUMNS = ("image", "x", "y", "width", "height", "class")
"""Of a table of boxes: x and y are the left and upper edge, all four in pixels."""

_DECIMALS = 3  # of a pixel


@dataclass(frozen=True)
class Boxes:
    """The boxes of one picture. Pixel (row r, column c) reaches from c to c + 1 in x, r to r + 1 in
    y."""

    boxes: np.ndarray
    """[n, 4] float32: x0, y0, x1, y1, the edges in pixels."""
    classes: np.ndarray
    """[n] int32: places in the cohort's classes."""
    size: tuple[int, int] | None = None
    """Rows and columns of the picture, where the file says them."""

    def __len__(self) -> int:
        return len(self.classes)


@dataclass(frozen=True)
class Picture:
    """A picture as a file of boxes names it."""

    name: str
    height: int
    width: int


def write_coco(
    path: Path,
    images: Sequence[Picture],
    boxes: Sequence[Boxes],
    classes: Sequence[str],
    scores: Sequence[np.ndarray] | None = None,
) -> None:
    """Boxes as COCO has them (Lin, ECCV 2014): `images`, `annotations`, `categories`.

    Identifiers count from 1. An annotation's `area` is that of its box; where there are scores, it
    has its `score`, and `annotations` alone are then what pycocotools' `loadRes` takes.

    Args:
        path: of the file.
        images: [pictures].
        boxes: [pictures], of each in turn.
        classes: names of the classes.
        scores: [pictures] of [n] between 0 and 1.
    """
    annotations = []
    for number, (of_image, points) in enumerate(_with_scores(images, boxes, scores), start=1):
        for k, (x0, y0, x1, y1) in enumerate(of_image.boxes.astype(float)):
            width, height = x1 - x0, y1 - y0
            annotations.append({
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": int(of_image.classes[k]) + 1,
                "bbox": [round(v, _DECIMALS) for v in (x0, y0, width, height)],
                "area": round(width * height, _DECIMALS),
                "iscrowd": 0,
                **({} if points is None else {"score": round(float(points[k]), 6)}),
            })  # fmt: skip
    content = {
        "images": [
            {"id": k, "file_name": image.name, "height": image.height, "width": image.width}
            for k, image in enumerate(images, start=1)
        ],
        "annotations": annotations,
        "categories": [{"id": k, "name": name} for k, name in enumerate(classes, start=1)],
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")


def write_box_csv(
    path: Path,
    images: Sequence[Picture],
    boxes: Sequence[Boxes],
    classes: Sequence[str],
    scores: Sequence[np.ndarray] | None = None,
) -> None:
    """Boxes as a table of CSV_COLUMNS, and `score` where there are scores; arguments as
    `write_coco`.

    A picture without boxes has one row, of its name alone.
    """
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*CSV_COLUMNS, *([] if scores is None else ["score"])])
        pairs = zip(images, _with_scores(images, boxes, scores), strict=True)
        for image, (of_image, points) in pairs:
            for k, (x0, y0, x1, y1) in enumerate(of_image.boxes.astype(float)):
                edges = [round(v, _DECIMALS) for v in (x0, y0, x1 - x0, y1 - y0)]
                name = classes[int(of_image.classes[k])]
                score = [] if points is None else [round(float(points[k]), 6)]
                writer.writerow([csv_text(image.name), *edges, csv_text(name), *score])
            if not len(of_image):
                empty = len(CSV_COLUMNS) - 1 + (scores is not None)
                writer.writerow([csv_text(image.name), *[""] * empty])


def _with_scores(images, boxes, scores) -> list[tuple[Boxes, np.ndarray | None]]:
    scores = [None] * len(images) if scores is None else scores
    triples = zip(images, boxes, scores, strict=True)
    return [(of_image, points) for _, of_image, points in triples]
