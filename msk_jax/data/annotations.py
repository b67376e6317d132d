"""Boxes that people drew in pictures, read from COCO JSON or from a table.

A fault in what is said of one picture is that picture's: the others of the file stay usable.
"""

import functools
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from msk_jax.box_files import CSV_COLUMNS, Boxes, Picture, write_box_csv, write_coco
from msk_jax.data.sources.cells import Cells
from msk_jax.data.sources.names import PathError, Places, tidy
from msk_jax.errors import SeriesError, UserError
from msk_jax.files import fault, place, plain_text
from msk_jax.table_reader import parse_table, table_bytes

__all__ = ["Boxes", "Picture", "check_inside", "read_boxes", "write_box_csv", "write_coco"]

EDGES = ("x0", "y0", "x1", "y1")
"""Columns that a table may have in place of x, y, width and height."""
SLACK = 1.0
"""Pixels by which a box may stick out of its picture: programs that count pixels from 1, or an
edge to the pixel's far side, do so."""

_SIZES = CSV_COLUMNS[1:5]
_ID = (int, str)
_SHAPE = {
    "images": [{"id": _ID, "file_name": str}],
    "annotations": [{"image_id": _ID, "category_id": _ID}],
    "categories": [{"id": _ID, "name": str}],
}
_FARTHEST = 10_000_000  # pixels: a whole slide has some 200,000
_KEPT = 8  # files of which the content is kept


def read_boxes(path: Path, image_name: str, classes: Sequence[str]) -> Boxes:
    """The boxes of one picture.

    A name ending in `.json` is COCO: names of categories are matched with the classes, and
    annotations of crowds (`iscrowd`) are left out with a note. Anything else is a table, see
    `table_reader.read_table`, with a row for each box: `image`, `class` and either `x`, `y`,
    `width`, `height` or `x0`, `y0`, `x1`, `y1`; a row that has nothing but `image` says that there
    is no box. The content is kept for the next pictures of the same file.

    Args:
        path: of the file, here or in a bucket.
        image_name: path of the picture as the file may have it; where none is equal to it
            (`names.Places`), the only one of the same last part.
        classes: names of the cohort's classes.

    Raises:
        SeriesError: what the file says of this picture cannot be used.
        PathError: the file does not list this picture, or several that it may be.
        UserError: there is no such file, or it is neither COCO nor such a table.
    """
    path = place(path)
    listing = _listing(path)
    return listing.read(listing.names.find(image_name, path.name), path.name, tuple(classes))


def check_inside(boxes: Boxes, height: int, width: int) -> Boxes:
    """The boxes, cut off at the edges of a picture of so many rows and columns.

    Raises:
        SeriesError: a box lies outside or sticks out by more than SLACK, or the file says that the
            picture has another size.
    """
    if boxes.size not in (None, (height, width)):
        raise SeriesError(
            f"The boxes were drawn in a picture of {boxes.size[1]} x {boxes.size[0]} pixels, and "
            f"this one has {width} x {height}. Give the picture that was annotated, or boxes "
            "scaled to this one."
        )
    limits = np.array([width, height, width, height], np.float32)
    edges = boxes.boxes
    inside = np.clip(edges, 0, limits)
    stick_out = np.abs(edges - inside).max(1, initial=0)
    is_outside = (inside[:, 2:] <= inside[:, :2]).any(1)
    wrong = np.flatnonzero((stick_out > SLACK) | is_outside)
    if len(wrong):
        edge = ", ".join(f"{v:g}" for v in edges[wrong[0]])
        raise SeriesError(
            f"{len(wrong)} of {len(boxes)} box(es) lie outside of the picture of {width} x "
            f"{height} pixels, wholly or by more than {SLACK:g} pixel: the first has x0, y0, "
            f"x1, y1 = {edge}. Correct the boxes, or give the picture that they were drawn in."
        )
    return Boxes(inside, boxes.classes, boxes.size)


class _Names:
    """The pictures that a file lists, and which of them is meant."""

    def __init__(self, names: Iterable[str]):
        self._names = frozenset(names)
        self._places = Places(self._names)
        self._by_last = defaultdict(list)
        for name in self._names:
            self._by_last[_last_part(name)].append(name)

    def find(self, wanted: str, file: str) -> str:
        """Raises PathError."""
        hint = ""
        try:
            name = self._places.find(wanted)
            if name in self._names:
                return name
        except PathError as error:
            hint = error.hint
        alike = self._by_last.get(_last_part(wanted), ())
        if len(alike) == 1:
            return alike[0]
        if alike:
            raise PathError(
                f"{file} lists {len(alike)} pictures of this name in several folders. Write their "
                "paths as the manifest has them.",
                hint,
            )
        raise PathError(
            f"{file} has no annotations for this picture. List it there, without boxes if it has "
            "none, or give another file of annotations.",
            hint,
        )


def _last_part(path: str) -> str:
    return tidy(path).rpartition("/")[2]


@dataclass(frozen=True)
class _Coco:
    """A COCO file: what it says, by picture."""

    images: dict[str, list[Mapping[str, Any]]]
    """By name; more than one entry where a picture is listed twice."""
    annotations: dict[Any, list[tuple[int, Mapping[str, Any]]]]
    """By the picture's identifier, with their places in the file."""
    categories: Mapping[Any, str]
    shared: frozenset
    """Identifiers that several pictures have."""
    names: _Names

    def read(self, name: str, file: str, classes: tuple[str, ...]) -> Boxes:
        """Raises SeriesError."""
        entries = self.images[name]
        if len(entries) > 1 or entries[0]["id"] in self.shared:
            raise SeriesError(
                f"{file} lists this picture more than once, or another one under its id, so it is "
                "not known which boxes are meant. Give every picture one entry and an id of its "
                "own."
            )
        image = entries[0]
        edges, places = [], []
        for number, annotation in self.annotations.get(image["id"], ()):
            where = f"{file}: annotations[{number}]"
            if annotation["category_id"] not in self.categories:
                raise SeriesError(
                    f"{where} is of category {annotation['category_id']!r}, which is not among the "
                    "categories. Correct the file."
                )
            edges.append(_edges(where, *_sizes(where, annotation)))
            places.append(_class_place(where, self.categories[annotation["category_id"]], classes))
        size = (image.get("height"), image.get("width"))
        is_known = all(isinstance(v, int) and v > 0 for v in size)
        return _boxes(edges, places, size if is_known else None)


@dataclass(frozen=True)
class _Table:
    """A table of boxes: its rows by picture."""

    rows: dict[str, list[tuple[int, Mapping[str, str]]]]
    columns: tuple[str, ...]
    """The four that say where a box is."""
    names: _Names

    def read(self, name: str, file: str, classes: tuple[str, ...]) -> Boxes:
        """Raises SeriesError."""
        edges, places = [], []
        for row, record in self.rows[name]:
            cells = Cells(row, record, [])
            texts = [cells.text(column) for column in (*self.columns, "class")]
            if not any(texts):
                continue
            numbers = [cells.number(column) for column in self.columns]
            for column, text in zip((*self.columns, "class"), texts, strict=True):
                if not text:
                    cells.fault(f"{column} is empty")
            if cells.faults:
                raise SeriesError(f"{file}: {'; '.join(cells.faults)}. Correct the row.")
            where = f"{file}: row {row}"
            if self.columns == EDGES:
                x0, y0, x1, y1 = numbers
                numbers = [x0, y0, x1 - x0, y1 - y0]
            edges.append(_edges(where, *numbers))
            places.append(_class_place(where, texts[-1], classes))
        return _boxes(edges, places, None)


def _sizes(where: str, annotation: Mapping[str, Any]) -> list[float]:
    """x, y, width, height of an annotation of COCO. Raises SeriesError."""
    try:
        wrong = fault(annotation, {"bbox": [float]})
    except OverflowError:  # a whole number beyond those that computers calculate with
        wrong = "a number is too large"
    if not wrong and len(annotation["bbox"]) != 4:
        wrong = f"bbox has {len(annotation['bbox'])} numbers"
    if wrong:
        raise SeriesError(
            f"{where} has no box of four numbers x, y, width, height ({wrong}). Correct it or take "
            "it away."
        )
    return annotation["bbox"]


def _edges(where: str, x: float, y: float, width: float, height: float) -> list[float]:
    """Edges of a box. Raises SeriesError."""
    if not (width > 0 and height > 0) or max(abs(x), abs(y), width, height) > _FARTHEST:
        raise SeriesError(
            f"{where} is a box at x {x:g}, y {y:g} of width {width:g} and height {height:g}; the "
            f"last two must be more than 0, and none beyond {_FARTHEST:,} pixels. Correct it or "
            "take it away."
        )
    return [x, y, x + width, y + height]


def _class_place(where: str, name: str, classes: tuple[str, ...]) -> int:
    name = name.strip()
    if name in classes:
        return classes.index(name)
    near = get_close_matches(name, classes, n=1)
    meant = f" The nearest is {near[0]!r}." if near else ""
    raise SeriesError(
        f"{where} is of class {name!r}, which is none of {', '.join(map(repr, classes))}.{meant} "
        "Rename the class in the file, or take away what is not to be learned."
    )


def _boxes(edges: list, places: list, size: tuple[int, int] | None) -> Boxes:
    return Boxes(
        np.array(edges, np.float32).reshape(-1, 4), np.array(places, np.int32).reshape(-1), size
    )


def _listing(path: Path) -> _Coco | _Table:
    """What a file holds, kept until it changes."""
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(
            f"The file of annotations {path} cannot be read ({error.strerror or error}). Give a "
            "COCO JSON or a CSV with one row per box."
        ) from error
    # A bucket's status has other names for the same.
    changed = getattr(status, "st_mtime_ns", None) or getattr(status, "mtime", 0)
    size = getattr(status, "st_size", None) or getattr(status, "length", 0)
    return _parsed(str(path), changed, size)


@functools.lru_cache(maxsize=_KEPT)
def _parsed(address: str, changed: int, size: int) -> _Coco | _Table:
    """The content of a file as it was at a time; the next two only make the key."""
    path = place(address)
    content = table_bytes(path, f"There is no file of annotations {path}.", path.name)
    if path.suffix.lower() == ".json":
        return _parse_coco(content, path.name)
    return _parse_table(content, path.name)


def _parse_coco(content: bytes, file: str) -> _Coco:
    try:
        found = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{file} is not JSON ({str(error)[:100]}). Give annotations as COCO JSON, or as CSV."
        ) from error
    wrong = fault(found, _SHAPE)
    if wrong:
        raise UserError(
            f"{file} is not COCO: {wrong}. It must be an object with images (id, file_name), "
            "annotations (image_id, category_id, bbox) and categories (id, name)."
        )
    images, annotations = defaultdict(list), defaultdict(list)
    for image in found["images"]:
        images[image["file_name"]].append(image)
    crowds = 0
    for number, annotation in enumerate(found["annotations"]):
        if annotation.get("iscrowd"):
            crowds += 1
        else:
            annotations[annotation["image_id"]].append((number, annotation))
    uses = Counter(image["id"] for image in found["images"])
    orphans = sum(len(of_image) for key, of_image in annotations.items() if key not in uses)
    note = logging.getLogger(__name__).warning
    if crowds:
        note(f"{file}: {crowds} annotation(s) of crowds (iscrowd) are left out.")
    if orphans:
        note(f"{file}: {orphans} annotation(s) of pictures that it does not list are left out.")
    categories = {category["id"]: category["name"] for category in found["categories"]}
    if len(categories) != len(found["categories"]):
        raise UserError(f"{file} has several categories of one id. Give each an id of its own.")
    shared = frozenset(key for key, count in uses.items() if count > 1)
    return _Coco(dict(images), dict(annotations), categories, shared, _Names(images))


def _parse_table(content: bytes, file: str) -> _Table:
    table = parse_table(content, file)
    columns = next((c for c in (_SIZES, EDGES) if set(c) <= set(table.columns)), None)
    missing = [name for name in ("image", "class") if name not in table.columns]
    if missing or columns is None:
        raise UserError(
            f"{file} is no table of boxes: its columns are {', '.join(table.columns)}. It needs "
            f"{', '.join(CSV_COLUMNS)}, or {', '.join(EDGES)} for the edges."
        )
    table = table[["image", "class", *columns]]
    rows = defaultdict(list)
    for index, record in zip(table.index, table.to_dict("records"), strict=True):
        record["class"] = plain_text(record["class"])
        name = plain_text(record["image"])
        if not name:
            raise UserError(f"{file}: row {index + 2} names no image. Correct or remove the row.")
        rows[name].append((index + 2, record))
    return _Table(dict(rows), columns, _Names(rows))
