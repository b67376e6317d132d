"""Boxes around what a picture shows: what a detector learns from, and how an epoch is judged."""

import dataclasses
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from msk_jax.data.feed.on_device import move_boxes
from msk_jax.data.feed.sharded_cohort import StackTable
from msk_jax.errors import UserError
from msk_jax.evaluation.detection import match_boxes, precision
from msk_jax.training.task import Arrays

NO_PRECISION = 0.0
"""The precision of validation pictures without a box: it improves on nothing."""
_STEP = 8
"""The number of boxes of an example is a multiple of it: few numbers are few compilations."""
_LEAST_INSIDE = 1 / 3
"""Share of a moved box's area that must stay in the picture for it to be looked for."""


@dataclasses.dataclass(frozen=True)
class TrainedDetection:
    """Boxes with a class and a score; see `training.task.TrainedTask` for what each method does.

    `labels` count from 1: 0 is background, and stands for no box at all.
    """

    learned: ClassVar[Mapping[str, tuple[tuple[int, ...], str]]] = {
        "boxes": ((64, 4), "float32"),
        "box_class": ((64,), "int32"),
    }
    moves: ClassVar[bool] = True
    figures: ClassVar[tuple[str, ...]] = ("loss", "ap50")
    validated: ClassVar[tuple[str, ...]] = ("boxes", "scores", "labels")

    field: str
    """The cohort's field of boxes."""
    num_classes: int
    """Of the boxes, without the background."""
    overlap: float = 0.5
    """Intersection over union from which a detection is on a box."""
    shrink: int = 1
    """Stored pixels along each side that are one pixel of the network's picture."""

    def examples(self, table: StackTable) -> dict[str, np.ndarray]:
        """`boxes` float32 `[n, m, 4]` in stored pixels and `box_class` int32 `[n, m]`, zeros behind
        the boxes of each; m is that of the picture of the cohort with the most."""
        most = max((len(boxes) for boxes, _ in self._truths(table.records)), default=0)
        room = max(-(-most // _STEP), 1) * _STEP
        boxes = np.zeros((len(table.record), room, 4), np.float32)
        labels = np.zeros((len(table.record), room), np.int32)
        of_rows = self._truths(table.records[number] for number in table.record)
        for row, (of_picture, classes) in enumerate(of_rows):
            boxes[row, : len(of_picture)] = of_picture
            labels[row, : len(classes)] = classes + 1
        return {"boxes": boxes, "box_class": labels}

    def _truths(self, records) -> list[tuple[np.ndarray, np.ndarray]]:
        """Boxes and places among the classes, of each record."""
        return [(record[self.field], record[f"{self.field}_class"]) for record in records]

    def targets(self, batch: Arrays) -> dict[str, jax.Array]:
        """`boxes` `[b, m, 4]` in pixels of the network's picture, and `box_class` `[b, m]`."""
        return {"boxes": batch["boxes"] / self.shrink, "box_class": batch["box_class"]}

    def moved(
        self, targets: Arrays, matrix: jax.Array, shift: jax.Array, shape: tuple[int, int]
    ) -> dict[str, jax.Array]:
        """Boxes around the moved corners; without those that have left the picture."""
        boxes, kept = move_boxes(targets["boxes"], matrix, shift, shape, _LEAST_INSIDE)
        return {"boxes": boxes, "box_class": jnp.where(kept, targets["box_class"], 0)}

    def prepare(self, keys: jax.Array, examples: Arrays) -> dict[str, jax.Array]:
        """Nothing more."""
        return dict(examples)

    def asks(self, examples: Arrays) -> dict[str, Any]:
        """`targets`: which anchors and regions are learned from follows from the true boxes."""
        return {"targets": {"boxes": examples["boxes"], "labels": examples["box_class"]}}

    def losses(self, outputs: Mapping[str, jax.Array], examples: Arrays) -> jax.Array:
        """The sum of the detector's losses, each of an image `[b]`."""
        return sum(loss.astype(jnp.float32) for loss in outputs.values())

    def answer(
        self, outputs: Mapping[str, jax.Array], endpoints: Mapping[str, Any]
    ) -> dict[str, jax.Array]:
        """`boxes` `[b, d, 4]` in stored pixels, `scores` and `labels` `[b, d]`, best first; 0 where
        there is no detection."""
        return {
            "boxes": outputs["boxes"] * self.shrink,
            "scores": outputs["scores"],
            "labels": outputs["labels"],
        }

    def check_outputs(self, network: str, outputs: Any) -> None:
        """Boxes with scores and labels."""
        names = set(outputs) if isinstance(outputs, Mapping) else set()
        if not {"boxes", "scores", "labels"} <= names:
            raise UserError(
                f"{network} gives no boxes with scores and labels: it does not detect. Give a "
                "detector (DetectorConfig)."
            )

    def example_weights(self, table: StackTable, weighted: bool) -> Callable[[Mapping], np.ndarray]:
        """All 1: which boxes are rare the losses do not ask. A class without a box is noted."""
        counts = self._counts(table)
        if not counts.any():
            raise UserError(
                f"No picture of the training patients has a box ({self.field}): there is nothing "
                "to learn. Check the files of annotations, or build with other folds."
            )
        missing = [str(place + 1) for place in np.flatnonzero(counts == 0)]
        if missing:
            logging.getLogger(__name__).warning(
                f"The training patients have no box ({self.field}) of class {', '.join(missing)} "
                f"of {self.num_classes}, in the cohort's order: it cannot be learned."
            )
        return lambda batch: np.ones(len(batch["box_class"]), np.float32)

    def _counts(self, table: StackTable) -> np.ndarray:
        """Boxes of each class."""
        truths = self._truths(table.records[number] for number in table.record)
        every = np.concatenate([np.zeros(0, int), *(classes for _, classes in truths)])
        return np.bincount(every, minlength=self.num_classes)

    def validation(self, table: StackTable, answers: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Mean over the classes of the average precision, which is at an overlap of 0.5 that of the
        name `ap50`. Answers know no loss: a detector's is that of samples it draws in training."""
        found = precision_of_classes(self, table, answers)
        known = found[np.isfinite(found)]
        return {"loss": math.nan, "ap50": float(known.mean()) if len(known) else NO_PRECISION}

    def check_monitor(self, monitor: str, table: StackTable) -> None:
        """A precision needs boxes."""
        if monitor not in ("ap50", "none"):
            raise UserError(
                f"A detector has no validation {monitor} that could pick an epoch. Give --monitor "
                "ap50 or --monitor none."
            )
        if monitor == "ap50" and not self._counts(table).any():
            raise UserError(
                "No picture of the validation patients has a box, so their precision cannot pick "
                "an epoch. Give --monitor none, or build with other folds."
            )


def detections_of(
    answers: Mapping[str, np.ndarray], row: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What was detected in one picture, without padding: boxes `[k, 4]` in stored pixels, scores
    `[k]` and places among the classes `[k]`, best first."""
    there = answers["labels"][row] > 0
    boxes, scores = answers["boxes"][row][there], answers["scores"][row][there]
    return boxes, scores, answers["labels"][row][there].astype(np.int64) - 1


def precision_of_classes(
    task: TrainedDetection, table: StackTable, answers: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Average precision of each class `[classes]` over all pictures of a table; NaN where none has
    a box of it.

    Args:
        task: gives the number of classes and the overlap.
        table: of the pictures.
        answers: in its order, see `TrainedDetection.answer`.
    """
    truths = task._truths(table.records[number] for number in table.record)
    detected = [detections_of(answers, row) for row in range(len(truths))]
    found = []
    for place in range(task.num_classes):
        matched = match_boxes(
            [boxes[classes == place] for boxes, _, classes in detected],
            [scores[classes == place] for _, scores, classes in detected],
            [boxes[classes == place] for boxes, classes in truths],
            task.overlap,
        )
        found.append(precision(matched))
    return np.array(found)
