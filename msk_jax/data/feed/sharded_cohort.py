"""From TFRecord shards to batches of slice stacks, in an order that a seed fixes.

A record is one crop of a unit; a stack is `num_slices` neighbouring slices of it about one centre,
the image that the network sees.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from msk_jax.data.feed.batches import Stacks, epoch_order, made_ahead
from msk_jax.data.feed.voxel_cache import VoxelCache
from msk_jax.data.shards.stored import open_stored, read_index
from msk_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class StackTable:
    """One row per stack, without its pixels, in the order of the shards."""

    unit_id: np.ndarray
    patient_id: np.ndarray
    label: np.ndarray
    record: np.ndarray
    """Which of `ShardedCohort.records` it is cut from."""
    centre: np.ndarray
    """Its middle slice there."""
    records: Sequence[Mapping] = ()
    """All of `ShardedCohort.records`: what is known of each but its pixels."""

    def rows(self, which: np.ndarray) -> "StackTable":
        """Some of its rows."""
        columns = {
            field.name: getattr(self, field.name)[which]
            for field in dataclasses.fields(self)
            if field.name != "records"
        }
        return StackTable(**columns, records=self.records)


Learned = Callable[[StackTable], Mapping[str, np.ndarray]]
"""What a task learns from of each stack of a table, by name; the first axis of each array is the
stacks'."""


class ShardedCohort:
    """A built cohort as stacks of `num_slices` slices.

    Args:
        data_dir: the folder that `msk-jax build` wrote.
        num_slices: odd number of slices in a stack.
        context_slices: slices that the shards hold on each side of the first and last centre.
        relabel: new label per patient, for checks with shuffled labels; none keeps the true ones.
        host, num_hosts: batches hold the records of this host's share alone, an even part of all.
        cache_memory: bytes of voxels that this host may hold, see `VoxelCache`.

    Raises:
        UserError: no cohort there, an unreadable shard, or a stack deeper than the shards hold.
    """

    def __init__(
        self,
        data_dir: Path,
        num_slices: int,
        context_slices: int,
        relabel: Mapping[str, int] | None = None,
        host: int = 0,
        num_hosts: int = 1,
        cache_memory: int | None = None,
    ):
        if num_slices < 1 or num_slices % 2 == 0 or num_slices // 2 > context_slices:
            raise UserError(
                f"A stack of {num_slices} slices cannot be cut from these shards: give an odd "
                f"--num-slices up to {2 * context_slices + 1}, or build again with an experiment "
                "whose region keeps more slices (context_slices)."
            )
        self._builder = open_stored(data_dir)
        self._num_slices = num_slices
        self.context_slices = context_slices
        self._relabel = dict(relabel or {})
        self._host, self._num_hosts = host, num_hosts
        self.patient_labels: dict[str, int] = {}
        """Class of each patient as built, whatever `relabel` says."""
        self.records, places = read_index(self._builder)
        for record in self.records:
            self.patient_labels[record["patient_id"]] = int(record["patient_label"])
            label = self._relabel.get(record["patient_id"])
            if label is not None:
                record["stack_labels"] = np.full_like(record["stack_labels"], label)
                record["label"] = record["patient_label"] = label
        self.voxels = VoxelCache(places, self.image_shape[:2], cache_memory)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and slices of a stack as stored."""
        _, height, width = self._builder.info.features["volume"].shape
        return (height, width, self._num_slices)

    def _share(self, host: int) -> range:
        """The numbers of a host's records."""
        share = np.array_split(np.arange(len(self.records)), self._num_hosts)[host]
        return range(share[0], share[-1] + 1) if len(share) else range(0)

    def table(self, patients: set[str]) -> StackTable:
        """The stacks of these patients, in the order of `evaluation_batches`."""
        rows = [
            (f"{record['unit_id']}/{record['view']}{k}", record["patient_id"], label, number, k)
            for number, record in enumerate(self.records)
            if record["patient_id"] in patients
            for k, label in enumerate(record["stack_labels"])
        ]
        unit, patient, label, number, k = zip(*rows, strict=True) if rows else ((),) * 5
        return StackTable(
            np.array(unit),
            np.array(patient),
            np.array(label, np.int32),
            np.array(number, np.int32),
            np.array(k, np.int32) + self.context_slices,
            self.records,
        )

    def stacks(self, patients: set[str], learned: Learned | None = None) -> Stacks:
        """This host's stacks of these patients, in the order of `table`, with what a task learns
        from; by default their labels."""
        table, share = self.table(patients), self._share(self._host)
        table = table.rows(np.isin(table.record, share))
        return Stacks(
            self.voxels,
            table.record,
            table.centre,
            table.label,
            table.unit_id,
            self._num_slices,
            {} if learned is None else learned(table),
        )

    def evaluation_batches(self, patients: set[str], batch_size: int) -> Iterable[np.ndarray]:
        """All stacks of these patients in the order of `table`; the last batch is short.

        Of several hosts each gives its part, in the order of the hosts. May be gone through again.
        """
        stacks = functools.cache(lambda: self.stacks(patients))
        return _Batches(lambda: stacks().all_volumes(batch_size))

    def most_batches(self, patients: set[str], batch_size: int) -> int:
        """`evaluation_batches` of the host that has the most."""
        record = self.table(patients).record
        shares = map(self._share, range(self._num_hosts))
        return max(-(-int(np.isin(record, share).sum()) // batch_size) for share in shares)

    def training_batches(
        self,
        patients: set[str],
        batch_size: int,
        steps_per_epoch: int,
        seed: tuple[int, ...],
        first_step: int,
        balanced: bool = False,
        learned: Learned | None = None,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Batches without end, epoch after epoch, beginning with step number `first_step`.

        The order of an epoch depends on `(*seed, epoch)` alone and on the number of hosts, so a
        resumed run sees what the interrupted one would have seen. Stacks beyond `steps_per_epoch`
        batches wait for the next epoch's order.

        Args:
            patients: whose stacks.
            batch_size: stacks of this host in a batch.
            steps_per_epoch: batches of an epoch.
            seed: what the order depends on.
            first_step: which batch comes first, counted over all epochs.
            balanced: classes in turn, each as often as it takes, instead of every stack once.
            learned: what a batch has beside `volume` and `unit_id`; by default `label`.
        """
        stacks, classes = self.stacks(patients, learned), None
        self.voxels.come_first(stacks.record.tolist())
        if balanced:
            classes = sorted({int(label) for r in self.records for label in r["stack_labels"]})

        def orders() -> Iterator[np.ndarray]:
            epoch, skip = divmod(first_step, steps_per_epoch)
            while True:
                order = int(np.random.SeedSequence((*seed, epoch)).generate_state(1)[0] >> 1)
                # Hosts whose share is smaller than others' begin again, so that all reach the end.
                again = self._num_hosts > 1
                drawn = epoch_order(stacks.label, batch_size, order, classes, again)
                yield np.stack(list(drawn.take(steps_per_epoch).skip(skip).as_numpy_iterator()))
                epoch, skip = epoch + 1, 0

        # Orders by a thread of their own, epochs ahead: drawing one may take longer than a step.
        return made_ahead(
            stacks.batches(which for order in made_ahead(orders()) for which in order)
        )

    def steps_per_epoch(self, patients: set[str], batch_size: int, balanced: bool = False) -> int:
        """Full batches in the stacks of these patients.

        Raises:
            UserError: there is none, or a host's share of the records lacks their stacks, or (for
                balanced draws) those of a class, or the cache is too small for batches.
        """
        self._check_shares(patients, balanced)
        count = len(self.table(patients).label)
        if count < batch_size:
            raise UserError(
                f"The training patients have {count} stacks, fewer than one batch of {batch_size}. "
                "Lower --batch-size or build with another --num-folds."
            )
        # Refused now, before anything is compiled.
        stack_bytes = math.prod(self.image_shape) * np.int16().nbytes
        self.voxels.reserve(max(1, batch_size // self._num_hosts) * stack_bytes)
        return count // batch_size

    def _check_shares(self, patients: set[str], balanced: bool) -> None:
        """Every host looks at all shares, so that all of them refuse alike."""
        if self._num_hosts == 1:
            return
        wanted = set(self.table(patients).label.tolist())
        for host in range(self._num_hosts):
            share = map(self.records.__getitem__, self._share(host))
            mine = [record for record in share if record["patient_id"] in patients]
            found = {int(label) for record in mine for label in record["stack_labels"]}
            if not found or (balanced and found != wanted):
                raise UserError(
                    f"The share of host {host + 1} of {self._num_hosts} lacks training stacks, or "
                    "those of a class. Start fewer hosts."
                )


class _Batches:
    """Batches that are made again each time."""

    def __init__(self, make: Callable[[], Iterator[np.ndarray]]):
        self._make = make

    def __iter__(self) -> Iterator[np.ndarray]:
        return made_ahead(self._make())


def shuffled_labels(records: list[dict], seed: int) -> dict[str, int]:
    """Each patient's label given to another patient at random."""
    labels = {record["patient_id"]: int(record["patient_label"]) for record in records}
    patients = sorted(labels)
    drawn = np.random.default_rng(seed).permutation([labels[p] for p in patients])
    return dict(zip(patients, (int(v) for v in drawn), strict=True))
