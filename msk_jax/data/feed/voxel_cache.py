"""Voxels of a built cohort, read from its shards by place and kept up to a stated size.

A record that is wanted stays in memory, whole, while there is room. Of a record that found none the
slices of each stack are read when the stack is wanted, no others, and go again; to read them from
the system's page cache takes little more than to cut them from memory.

What stays is not exchanged. In a shuffled epoch each stack comes once, so what was used last is no
likelier to come next, and a cache that exchanges the oldest or any for the newest meets no more
than one that leaves them: the share of the records that it holds. To exchange the one that is
wanted last (the order is known ahead) would meet more, but each exchange reads a whole record,
which may be as much as ten stacks.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np

from msk_jax.data.shards.stored import Place, read_slices
from msk_jax.errors import UserError
from msk_jax.files import in_bucket
from msk_jax.memory import allowed_memory, size_in_words

READERS = 8
"""Threads that read from a disk."""
READERS_OF_BUCKET = 32
"""Threads that read from a bucket, where each waits for an answer."""
_AT_ONCE = 2**21
"""Bytes that a thread reads before it puts them in their place; a slice if that is larger."""
_DEEP = 10
"""A stack of fewer slices is written faster slice by slice."""
_AHEAD = 8
"""Batches that may be in the making while slices of theirs are read."""
_BESIDE = 4
"""Further ones: the one that is begun, two that wait, and one that is worked on."""
_ORDERS = 2
"""Batches are made for training and, at the same time, for validation."""
_PART = 3
"""A cache gets this part of the memory that is allowed, if nobody says otherwise."""


class VoxelCache:
    """The voxels of some records.

    Args:
        places: of all records of the cohort.
        plane: height and width of a slice.
        limit: bytes that may be held, with what is read ahead; by default a third of the memory
            that the machine or its container allows.
    """

    def __init__(self, places: Sequence[Place], plane: tuple[int, int], limit: int | None = None):
        self._places, self.plane = places, plane
        self.limit = allowed_memory() // _PART if limit is None else limit
        self.whole: list[np.ndarray | None] = [None] * len(places)
        """Of each record in memory int16 `[slices, height, width]`, as in the shards. With slices
        last, as in a stack, to cut a few of many would go through them all."""
        self._slice_bytes = plane[0] * plane[1] * np.int16().nbytes
        deepest = max((place.num_slices for place in places), default=0)
        self._at_once = min(max(1, _AT_ONCE // self._slice_bytes), deepest)
        far = bool(places) and in_bucket(places[0].file)
        self.readers = READERS_OF_BUCKET if far else READERS
        self._lock = threading.Lock()
        self._first: frozenset[int] = frozenset()
        self._first_bytes = self._reserved = 0
        self._held: dict[int, int] = {}
        """Bytes of each record that is in memory or being read to stay there."""
        self._bytes = {True: 0, False: 0}
        """Their sums, of those that come first and of the others."""

    def size(self, records: Iterable[int] | None = None) -> int:
        """Bytes of the voxels of these records, or of all."""
        places = self._places if records is None else map(self._places.__getitem__, records)
        return sum(place.num_slices for place in places) * self._slice_bytes

    def come_first(self, records: Iterable[int]) -> None:
        """Say which records are wanted in every epoch: others make room for them."""
        with self._lock:
            self._first = frozenset(records)
            self._first_bytes = self.size(self._first)
            first = sum(size for record, size in self._held.items() if record in self._first)
            self._bytes = {True: first, False: sum(self._held.values()) - first}

    def reserve(self, batch_bytes: int) -> int:
        """Set room aside for batches in the making, and say how many of them there may be.

        Raises:
            UserError: the cache is too small for that.
        """
        reading = self.readers * self._at_once * self._slice_bytes
        least = _ORDERS * (_BESIDE * batch_bytes + reading)
        if self.limit < least:
            raise UserError(
                f"A cache of {size_in_words(self.limit)} is too small for batches of "
                f"{size_in_words(batch_bytes)} that are read ahead. Give --cache-memory at least "
                f"{size_in_words(1.01 * least)}, or lower --batch-size."
            )
        share = self.limit // (4 * _ORDERS)
        ahead = min(max((share - reading) // batch_bytes - _BESIDE, 0), _AHEAD)
        with self._lock:
            needed = _ORDERS * ((_BESIDE + ahead) * batch_bytes + reading)
            self._reserved = max(self._reserved, needed)
            self._make_room(0, firsts_leave=True, others_leave=True)
        return ahead

    def cut(
        self, into: np.ndarray, records: Sequence[int], first: Sequence[int]
    ) -> list[Callable[[], None]]:
        """Fill stacks with slices of records.

        Args:
            into: int16 `[n, height, width, slices]`.
            records: the record of each stack.
            first: the first slice of each stack.

        Returns:
            What is left to do, in any order and by any thread: reading what is not in memory.
        """
        missing: dict[int, list[tuple[int, np.ndarray]]] = {}
        for stack, record, start in zip(into, records, first, strict=True):
            whole = self.whole[record]
            if whole is None:
                missing.setdefault(record, []).append((start, stack))
            else:
                _fill(stack, start, whole, 0)
        tasks = []
        for record, stacks in missing.items():
            if self._admit(record):
                tasks.append(partial(self._keep, record, stacks))
            else:
                tasks += [partial(self._read, record, run) for run in _runs(stacks)]
        return tasks

    def _keep(self, record: int, stacks: list[tuple[int, np.ndarray]]) -> None:
        """Read a record whole, and cut stacks from it."""
        place = self._places[record]
        try:
            whole = read_slices(place, 0, place.num_slices, self.plane)
        except BaseException:
            with self._lock:
                self._forget(record)
            raise
        self.whole[record] = whole
        for start, stack in stacks:
            _fill(stack, start, whole, 0)

    def _read(self, record: int, stacks: list[tuple[int, np.ndarray]]) -> None:
        """Fill stacks of a record that overlap, some slices at a time."""
        begin = min(start for start, _ in stacks)
        end = max(start + stack.shape[-1] for start, stack in stacks)
        for low in range(begin, end, self._at_once):
            high = min(low + self._at_once, end)
            slices = read_slices(self._places[record], low, high, self.plane)
            for start, stack in stacks:
                _fill(stack, start, slices, low)

    def _admit(self, record: int) -> bool:
        """Whether there is room for a record that is not in memory; it then counts as held."""
        with self._lock:
            if record in self._held:
                return False  # another batch reads it
            size, first = self.size([record]), record in self._first
            # Others leave room for those that come first and are not there yet.
            ahead = 0 if first else self._first_bytes - self._bytes[True]
            if not self._make_room(size + ahead, firsts_leave=False, others_leave=first):
                return False
            self._held[record] = size
            self._bytes[first] += size
            return True

    def _make_room(self, size: int, firsts_leave: bool, others_leave: bool) -> bool:
        """Whether so much more can be held, once some records have left."""
        budget = self.limit - self._reserved - size
        stay = (not firsts_leave) * self._bytes[True] + (not others_leave) * self._bytes[False]
        if stay > budget:
            return False
        if sum(self._bytes.values()) > budget:
            for record in sorted(self._held, key=self._first.__contains__):
                leaves = firsts_leave if record in self._first else others_leave
                if leaves and self.whole[record] is not None:
                    self._forget(record)
                if sum(self._bytes.values()) <= budget:
                    break
        return sum(self._bytes.values()) <= budget

    def _forget(self, record: int) -> None:
        self._bytes[record in self._first] -= self._held.pop(record)
        self.whole[record] = None


def _runs(stacks: list[tuple[int, np.ndarray]]) -> list[list[tuple[int, np.ndarray]]]:
    """Stacks of one record parted so that those that touch or overlap are together."""
    runs: list[list[tuple[int, np.ndarray]]] = []
    end = -1
    for start, stack in sorted(stacks, key=lambda one: one[0]):
        if start > end:
            runs.append([])
        runs[-1].append((start, stack))
        end = max(end, start + stack.shape[-1])
    return runs


def _fill(stack: np.ndarray, start: int, slices: np.ndarray, low: int) -> None:
    """Fill a stack, `[height, width, n]` from slice `start` on, with those of these slices, `[m,
    height, width]` from slice `low` on, that are its own."""
    a, b = max(low, start), min(low + len(slices), start + stack.shape[-1])
    if stack.shape[-1] < _DEEP:
        for k in range(a, b):
            stack[..., k - start] = slices[k - low]
    elif a < b:
        stack[..., a - start : b - start] = np.moveaxis(slices[a - low : b - low], 0, -1)
