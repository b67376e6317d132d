"""Boxes in new pictures, by the networks of a package together."""

import csv
import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from msk_jax.box_files import Boxes, Picture, write_box_csv, write_coco
from msk_jax.explain.boxes import BoxDrawing
from msk_jax.files import csv_text, replacing
from msk_jax.methods.procedures import Counts
from msk_jax.study.fusing import Detections, fuse
from msk_jax.study.new_patients import Case, ask_networks
from msk_jax.study.package import SavedModel
from msk_jax.tasks.detection import detections_of

CALLED = 0.5
"""The score from which a box is counted and drawn."""
_LEAST_SIDE = 1.0
"""Pixels of the crop that a box must have inside of the picture along both sides: what lies in the
padding has none."""


@dataclasses.dataclass(frozen=True)
class BoxedPicture:
    """What was detected in one picture."""

    name: str
    """Of its rows and files, without the patient's identity."""
    unit: str
    """What the manifest calls it; '' without a manifest."""
    boxes: Boxes
    """In pixels of the picture as its file has it, best score first."""
    scores: np.ndarray
    """[n], 0 to 1."""

    def called(self) -> np.ndarray:
        """Whether each box is counted and drawn [n], bool."""
        return self.scores >= CALLED

    def counts(self, num_classes: int) -> np.ndarray:
        """Called boxes of each class [classes]."""
        return np.bincount(self.boxes.classes[self.called()], minlength=num_classes)


def class_names(saved: SavedModel) -> tuple[str, ...]:
    """What the boxes' classes are called."""
    return saved.stage.task.classes(saved.experiment.cohort)


def boxes_of_cases(
    saved: SavedModel, cases: Iterable[Case]
) -> Iterator[list[tuple[BoxedPicture, np.ndarray]]]:
    """Boxes of all pictures of cases that have crops, fused over the networks, and of each picture
    uint8 `[rows, columns, 3]` as the networks saw it, without its padding; as many at a time as
    fill a batch."""
    sizes: dict[str, tuple[int, int]] = {}
    for group, answers in ask_networks(saved, _without_pixels(cases, sizes)):
        boxed, row = [], 0
        for case in group:
            for number, (key, picture) in enumerate(case.pictures.items(), start=1):
                # Of a file that the manifest names for several sections.
                name = case.name if number == 1 else f"{case.name}_{number}"
                size = sizes[case.name]
                found = [_in_picture(saved, said, row, size) for said in answers]
                boxes, scores, classes = fuse(found, saved.stage.task.overlap)
                of_picture = Boxes(boxes, classes.astype(np.int32), size)
                seen = _seen(saved, picture.volume, size)
                boxed.append((BoxedPicture(name, key.split("/")[1], of_picture, scores), seen))
                row += 1
        yield boxed


def _without_pixels(cases: Iterable[Case], sizes: dict[str, tuple[int, int]]) -> Iterator[Case]:
    """The cases without their series, of which rows and columns are noted by name: pictures of
    whole sections, which have gigabytes, need not wait for their batch."""
    for case in cases:
        if case.series is not None:
            sizes[case.name] = case.series.voxels.shape[1:]
        yield dataclasses.replace(case, series=None)


def _in_picture(
    saved: SavedModel, answers: Mapping[str, np.ndarray], row: int, size: tuple[int, int]
) -> Detections:
    """What one network detects, in pixels of the picture."""
    region = saved.experiment.cohort.region
    boxes, scores, classes = detections_of(answers, row)
    rows, columns = region.filled(*size)
    inside = boxes.clip(0, (columns, rows, columns, rows))
    kept = (inside[:, 2:] - inside[:, :2] >= _LEAST_SIDE).all(-1)
    return region.returned(boxes[kept], *size), scores[kept], classes[kept]


def _seen(saved: SavedModel, volume: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = saved.experiment.cohort.region.filled(*size)
    return volume[:rows, :columns].astype(np.uint8)


def drawing_of(
    saved: SavedModel, boxed: BoxedPicture, picture: np.ndarray, out: Path
) -> BoxDrawing:
    """The drawing of a picture with its called boxes.

    Args:
        saved: the model.
        boxed: what was detected.
        picture: uint8 `[rows, columns, 3]`, as the networks saw it.
        out: folder of the drawing.
    """
    called = boxed.called()
    return BoxDrawing(
        out / f"{boxed.name}.png",
        picture,
        boxed.boxes.size,
        boxed.boxes.boxes[called],
        boxed.boxes.classes[called],
        class_names(saved),
        f"{boxed.name}, boxes with a score of at least {CALLED}",
    )


def write_boxes(saved: SavedModel, out: Path, pictures: Sequence[BoxedPicture]) -> None:
    """Write `boxes.csv`, `boxes.json` (COCO), both of all boxes with their scores, and
    `counts.csv`, a row a picture with the number of called boxes of each class, and of each stage
    that counts the share in percent, by its own score; empty where nothing was called."""
    classes = class_names(saved)
    stages = {s.name: s.method for s in saved.experiment.stages if isinstance(s.method, Counts)}
    listed = [Picture(one.name, *one.boxes.size) for one in pictures]
    boxes, scores = [one.boxes for one in pictures], [one.scores for one in pictures]
    write_box_csv(out / "boxes.csv", listed, boxes, classes, scores)
    write_coco(out / "boxes.json", listed, boxes, classes, scores)
    unit = saved.experiment.cohort.unit_column
    with (
        replacing(out / "counts.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        shares = [f"{name} share" for name in stages]
        writer.writerow(["name", unit or "unit", *map(csv_text, (*classes, *shares))])
        for one in pictures:
            counts = one.counts(len(classes))
            row = [_share(one, method, classes) for method in stages.values()]
            writer.writerow([one.name, csv_text(one.unit), *counts, *row])


def _share(one: BoxedPicture, method: Counts, classes: Sequence[str]) -> str:
    """The share that a stage gives, in percent."""
    labels = [classes[place] for place in one.boxes.classes]
    share = float(method.share(method.counts(labels, one.scores, classes), classes))
    return "" if math.isnan(share) else f"{share:.2f}"
