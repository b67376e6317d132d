"""Batches of stacks from voxels in memory: the order of an epoch, and making them ahead of time."""

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

_SHUFFLE_STACKS = 4096
"""Stacks held to draw from; a cohort with more is shuffled within this reach."""
_AHEAD = 2
"""What is made while it is not yet asked for: batches, and orders of epochs."""

_Made = TypeVar("_Made")


@dataclasses.dataclass(frozen=True)
class Stacks:
    """Some stacks of one host, cut from its crops when they are asked for."""

    crops: Sequence[np.ndarray]
    """int16 `[height, width, slices]` each, all slices of a record."""
    record: np.ndarray
    """Of each stack, which of the crops it is cut from."""
    centre: np.ndarray
    """Its middle slice there."""
    label: np.ndarray
    unit_id: np.ndarray
    num_slices: int

    def __len__(self) -> int:
        return len(self.label)

    def volumes(self, which: Iterable[int]) -> np.ndarray:
        """int16 `[n, height, width, slices]` of these stacks."""
        half = self.num_slices // 2
        return np.stack(
            [
                self.crops[self.record[k]][..., self.centre[k] - half : self.centre[k] + half + 1]
                for k in which
            ]
        )

    def batch(self, which: np.ndarray) -> dict[str, np.ndarray]:
        """`volume`, `label` and `unit_id` of these stacks."""
        found = {"label": self.label[which], "unit_id": self.unit_id[which]}
        return {"volume": self.volumes(which), **found}

    def all_volumes(self, batch_size: int) -> Iterator[np.ndarray]:
        """The volumes of all stacks in their order; the last batch is short."""
        for first in range(0, len(self), batch_size):
            yield self.volumes(range(first, min(first + batch_size, len(self))))


def epoch_order(
    label: np.ndarray,
    batch_size: int,
    seed: int,
    classes: Sequence[int] | None = None,
    again: bool = False,
):
    """A `tf.data.Dataset` of the stacks' numbers, whole batches `[batch_size]`, in random order.

    Args:
        label: of each stack.
        batch_size: stacks in a batch.
        seed: equal seeds give the same order.
        classes: draw these in turn, each as often as it takes, instead of every stack once.
        again: begin again at the end.
    """
    import tensorflow as tf

    def shuffled(numbers, within=_SHUFFLE_STACKS):
        return numbers.shuffle(within, seed=seed, reshuffle_each_iteration=False)

    if classes is None:
        order = shuffled(tf.data.Dataset.range(len(label)))
        order = order.repeat() if again else order
    else:
        each = [
            shuffled(tf.data.Dataset.from_tensor_slices(np.flatnonzero(label == c))).repeat()
            for c in classes
        ]
        turns = tf.data.Dataset.range(len(each)).repeat()
        # In turn, so that every batch has its share, but in no order that mixtures could follow.
        drawn = tf.data.Dataset.choose_from_datasets(each, turns)
        order = shuffled(drawn, within=batch_size)
    return order.batch(batch_size, drop_remainder=True)


def made_ahead(batches: Iterator[_Made]) -> Iterator[_Made]:
    """The same, made by a thread of their own while the last ones are worked on."""
    end = object()
    thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
    try:
        waiting = deque(thread.submit(next, batches, end) for _ in range(_AHEAD))
        while (batch := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, batches, end))
            yield batch
    finally:
        thread.shutdown(wait=False, cancel_futures=True)
