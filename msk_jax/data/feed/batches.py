"""Batches of stacks from the voxels of a cohort: the order of an epoch, and making them ahead of
time."""

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from msk_jax.data.feed.voxel_cache import VoxelCache

_SHUFFLE_STACKS = 4096
"""Stacks held to draw from; a cohort with more is shuffled within this reach."""
_AHEAD = 2
"""What is made while it is not yet asked for: batches, and orders of epochs."""

_Made = TypeVar("_Made")


@dataclasses.dataclass(frozen=True)
class Stacks:
    """Some stacks of one host, cut from its records when they are asked for."""

    voxels: VoxelCache
    record: np.ndarray
    """Of each stack, which of the cache's records it is cut from."""
    centre: np.ndarray
    """Its middle slice there."""
    label: np.ndarray
    unit_id: np.ndarray
    num_slices: int
    learned: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    """What is learned from, by name, a row of each stack; nothing stands for `label` alone."""

    def __len__(self) -> int:
        return len(self.label)

    def volumes(self, which: Sequence[int]) -> np.ndarray:
        """int16 `[n, height, width, slices]` of these stacks."""
        volumes, tasks = self._begin(np.asarray(which, np.int64))
        for task in tasks:
            task()
        return volumes

    def batches(self, order: Iterable[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
        """`volume`, `unit_id` and what is learned from of the stacks of each batch, whose numbers
        `order` gives.

        What is not in memory is read by threads, of later batches while earlier ones are waited
        for; in memory they are all there at once.

        Raises:
            UserError: a damaged shard, or a cache that is too small for the batches.
        """
        order, pending = iter(order), deque[_Pending]()
        pool, ahead = None, 0
        try:
            for which in order:
                if pool is None:
                    ahead = self.voxels.reserve(len(which) * self._stack_bytes)
                    pool = ThreadPoolExecutor(self.voxels.readers, thread_name_prefix="voxels")
                volumes, tasks = self._begin(which)
                pending.append(_Pending(which, volumes, [pool.submit(task) for task in tasks]))
                while pending and (len(pending) > ahead or pending[0].is_whole()):
                    yield self._end(pending.popleft())
            while pending:
                yield self._end(pending.popleft())
        finally:
            if pool is not None:
                pool.shutdown(wait=False, cancel_futures=True)

    def all_volumes(self, batch_size: int) -> Iterator[np.ndarray]:
        """The volumes of all stacks in their order; the last batch is short."""
        numbers = np.arange(len(self))
        order = (numbers[k : k + batch_size] for k in range(0, len(self), batch_size))
        return (batch["volume"] for batch in self.batches(order))

    @property
    def _stack_bytes(self) -> int:
        height, width = self.voxels.plane
        return height * width * self.num_slices * np.int16().nbytes

    def _begin(self, which: np.ndarray):
        """Stacks as far as they are in memory, and what is left to do to complete them."""
        volumes = np.empty((len(which), *self.voxels.plane, self.num_slices), np.int16)
        first = self.centre[which] - self.num_slices // 2
        return volumes, self.voxels.cut(volumes, self.record[which].tolist(), first.tolist())

    def _end(self, pending: "_Pending") -> dict[str, np.ndarray]:
        for reading in pending.readings:
            reading.result()
        which = pending.which
        learned = self.learned or {"label": self.label}
        rows = {name: values[which] for name, values in learned.items()}
        return {"volume": pending.volumes, **rows, "unit_id": self.unit_id[which]}


@dataclasses.dataclass(frozen=True)
class _Pending:
    """A batch, parts of which may still be read."""

    which: np.ndarray
    volumes: np.ndarray
    readings: list[Future]

    def is_whole(self) -> bool:
        return all(reading.done() for reading in self.readings)


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
