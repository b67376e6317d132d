"""A cohort larger than its cache gives the batches of one that fits, and no more is held."""

import itertools
import shutil
import threading
import tracemalloc

import numpy as np
import pytest
from tensorflow_datasets.core.utils import shard_utils

from msk_jax.data.build.writing import features, write_shards
from msk_jax.data.feed import voxel_cache
from msk_jax.data.feed.batches import Stacks, epoch_order
from msk_jax.data.feed.sharded_cohort import ShardedCohort
from msk_jax.data.feed.voxel_cache import VoxelCache
from msk_jax.data.shards.stored import Place, read_records
from msk_jax.dotted import changed
from msk_jax.errors import UserError

RECORDS, SIDE, BATCH, STEPS = 60, 40, 6, 9
STACK = SIDE * SIDE * 3 * 2
"""Bytes of a stack of three slices."""
SMALL = 1_500_000
"""Bytes of a cache that holds a part of the cohort alone."""


@pytest.fixture(autouse=True)
def few_readers(monkeypatch):
    """What eight readers hold would be more than this small cohort."""
    monkeypatch.setattr(voxel_cache, "READERS", 3)


@pytest.fixture(scope="module")
def cohort_of_noise(made_once, tiny):
    """Sixty records of two to thirty slices in several files; thirty patients."""
    cohort = changed(tiny.cohort, {"pelvis.region.size": SIDE})

    def records():
        rng = np.random.default_rng(1)
        for k in range(RECORDS):
            depth = int(rng.integers(6, 34))
            empty = {
                name: "" if "Text" in type(feature).__name__ else 0
                for name, feature in features(cohort).items()
            }
            yield empty | {
                "volume": rng.integers(-1000, 3000, (depth, SIDE, SIDE), np.int16),
                "positions_mm": np.arange(depth, dtype=np.float32),
                "origin_mm": np.zeros(3, np.float32),
                "spacing_mm": np.ones(3, np.float32),
                "direction": np.zeros(9, np.float32),
                "stack_labels": rng.integers(0, 2, depth - 4),
                "patient_id": f"p{k // 2:02d}",
                "unit_id": f"p{k // 2:02d}/{k % 2}",
            }

    def make(folder):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shard_utils.ShardConfig, "min_shard_size", 1)
            write_shards(cohort, records(), folder)

    folder = made_once("noise", make)
    assert len(list(folder.rglob("*.tfrecord-*"))) > 3
    return folder


@pytest.fixture(scope="module")
def truth(cohort_of_noise):
    """Voxels by unit, as TensorFlow Datasets reads them."""
    return {r["unit_id"]: np.array(r["volume"]) for r in read_records(cohort_of_noise)}


def patients_of(data, begin, end):
    return set(sorted(data.patient_labels)[begin:end])


def stack_of(truth, unit_id):
    unit, k = str(unit_id).rsplit("/", 1)
    return np.moveaxis(truth[unit][int(k) + 1 : int(k) + 4], 0, -1)


def take(batches, count):
    found = list(itertools.islice(batches, count))
    batches.close()
    return found


@pytest.mark.parametrize(("host", "num_hosts"), [(0, 1), (0, 2), (1, 2)])
@pytest.mark.parametrize("balanced", [False, True])
def test_order_and_bits_are_those_of_the_seed(cohort_of_noise, truth, host, num_hosts, balanced):
    data = ShardedCohort(cohort_of_noise, 3, 2, host=host, num_hosts=num_hosts, cache_memory=SMALL)
    assert data.voxels.size() > 2 * SMALL, "else the test shows nothing"
    train = patients_of(data, 0, 24)
    stacks = data.stacks(train)
    batches = data.training_batches(train, BATCH, STEPS, (3, 1), 0, balanced)
    whole = take(batches, 2 * STEPS + 3)
    order = []
    for epoch in range(3):
        seed = int(np.random.SeedSequence((3, 1, epoch)).generate_state(1)[0] >> 1)
        classes = [0, 1] if balanced else None
        drawn = epoch_order(stacks.label, BATCH, seed, classes, again=num_hosts > 1)
        order += list(drawn.take(STEPS).as_numpy_iterator())
    for batch, which in zip(whole, order, strict=False):
        np.testing.assert_array_equal(batch["unit_id"], stacks.unit_id[which])
        np.testing.assert_array_equal(batch["label"], stacks.label[which])
        expected = np.stack([stack_of(truth, unit_id) for unit_id in batch["unit_id"]])
        np.testing.assert_array_equal(batch["volume"], expected)
        assert batch["volume"].dtype == np.int16 and batch["volume"].flags.c_contiguous
    # Resumed in the second epoch, by a cohort that has nothing in memory yet.
    data = ShardedCohort(cohort_of_noise, 3, 2, host=host, num_hosts=num_hosts, cache_memory=SMALL)
    resumed = take(data.training_batches(train, BATCH, STEPS, (3, 1), STEPS + 2, balanced), 5)
    for batch, before in zip(resumed, whole[STEPS + 2 :], strict=False):
        for name, values in batch.items():
            np.testing.assert_array_equal(values, before[name])


@pytest.mark.parametrize("num_slices", [1, 3, 5])
@pytest.mark.parametrize("limit", [1_700_000, 10**9])
def test_patients_in_their_order(cohort_of_noise, truth, num_slices, limit):
    data = ShardedCohort(cohort_of_noise, num_slices, 2, cache_memory=limit)
    patients = patients_of(data, 5, 30)
    volumes = np.concatenate(list(data.evaluation_batches(patients, 8)))
    table, half = data.table(patients), num_slices // 2
    assert len(volumes) == len(table.unit_id) > 300
    for volume, record, centre in zip(volumes, table.record, table.centre, strict=True):
        slices = truth[data.records[record]["unit_id"]][centre - half : centre + half + 1]
        np.testing.assert_array_equal(volume, np.moveaxis(slices, 0, -1))


def test_deep_stacks_in_pieces(cohort_of_noise, truth, monkeypatch):
    """Stacks deeper than what is read at once, beside and across each other."""
    monkeypatch.setattr(voxel_cache, "_AT_ONCE", 4 * SIDE * SIDE * 2)
    data = ShardedCohort(cohort_of_noise, 3, 2, cache_memory=1)
    record = next(k for k, r in enumerate(data.records) if len(r["stack_labels"]) > 24)
    voxels = truth[data.records[record]["unit_id"]]
    for depth, starts in ((12, (3, 0, 9)), (2, (1, 3, 20)), (7, (5, 5))):
        stacks = np.full((len(starts), SIDE, SIDE, depth), -7, np.int16)
        tasks = data.voxels.cut(stacks, [record] * len(starts), starts)
        # What overlaps or touches is read together.
        assert len(tasks) == {12: 1, 2: 2, 7: 1}[depth]
        for task in tasks:
            task()
        for stack, start in zip(stacks, starts, strict=True):
            expected = np.moveaxis(voxels[start : start + depth], 0, -1)
            np.testing.assert_array_equal(stack, expected)


def test_no_more_is_held_than_was_said(cohort_of_noise):
    data = ShardedCohort(cohort_of_noise, 3, 2, cache_memory=SMALL)
    train, validation = patients_of(data, 0, 20), patients_of(data, 20, 30)
    first = data.training_batches(train, BATCH, STEPS, (0,), 0)
    next(first).clear()  # all else is imported and made once
    first.close()
    data = ShardedCohort(cohort_of_noise, 3, 2, cache_memory=SMALL)
    numpys = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
    tracemalloc.start()
    try:
        held = []
        batches = data.training_batches(train, BATCH, STEPS, (0,), 0)
        for _ in range(3):
            for batch in itertools.islice(batches, STEPS):  # noqa: B007
                held.append(_traced(numpys))
            for batch in data.evaluation_batches(validation, BATCH):  # noqa: B007
                held.append(_traced(numpys))
        # Beside the voxels there are the numbers, labels and names of the stacks.
        names = sum(len(data.table(some).label) for some in (train, validation)) * 200
        assert SMALL / 2 < max(held) <= SMALL + names
        del batch
        batches.close()
    finally:
        tracemalloc.stop()


def _traced(numpys):
    found = tracemalloc.take_snapshot().filter_traces([numpys])
    return sum(trace.size for trace in found.traces)


def test_what_fits_is_read_once(cohort_of_noise, tmp_path):
    folder = tmp_path / "own"
    shutil.copytree(cohort_of_noise, folder)
    data = ShardedCohort(folder, 3, 2)  # by default a third of the memory
    train = patients_of(data, 0, 30)
    steps = data.steps_per_epoch(train, BATCH)
    batches = data.training_batches(train, BATCH, steps, (0,), 0)
    before = [next(batches)["volume"].tobytes() for _ in range(steps + 5)]
    assert all(whole is not None for whole in data.voxels.whole)
    batches.close()
    for file in folder.rglob("*.tfrecord-*"):
        file.unlink()
    again = data.training_batches(train, BATCH, steps, (0,), 0)
    assert [batch["volume"].tobytes() for batch in take(again, steps + 5)] == before


def test_what_is_trained_on_comes_first(cohort_of_noise):
    data = ShardedCohort(cohort_of_noise, 3, 2, cache_memory=2_000_000)
    some, others = patients_of(data, 0, 12), patients_of(data, 12, 30)
    held = lambda patients: {  # noqa: E731
        record for record in data.table(patients).record if data.voxels.whole[record] is not None
    }
    for _ in data.evaluation_batches(others, BATCH):
        pass
    assert held(others) and not held(some)
    full = data.voxels.size(held(others))
    steps = data.steps_per_epoch(some, BATCH)
    take(data.training_batches(some, BATCH, steps, (0,), 0), steps)
    wanted = data.voxels.size(set(data.stacks(some).record))
    assert data.voxels.size(held(some)) > 0.8 * min(full, wanted)
    before = held(some)
    for _ in data.evaluation_batches(others, BATCH):
        pass
    assert held(some) == before, "validation takes nothing from training"
    data = ShardedCohort(cohort_of_noise, 3, 2, cache_memory=2_000_000)
    data.voxels.come_first(data.stacks(some).record.tolist())
    for _ in data.evaluation_batches(others, BATCH):
        pass
    assert not held(others), "the room is kept for what is trained on"


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        ("bit", r"A shard in .* is damaged \(DataLossError\)"),
        ("end", r"A shard in .* is damaged \(.* ends too early\)"),
        ("gone", r"A shard in .* is damaged \(FileNotFoundError\)"),
        ("other", "of different builds"),
    ],
)
def test_a_shard_is_damaged_while_it_is_trained_on(cohort_of_noise, tmp_path, harm, sentence):
    folder = tmp_path / "own"
    shutil.copytree(cohort_of_noise, folder)
    data = ShardedCohort(folder, 3, 2, cache_memory=SMALL)
    batches = data.training_batches(patients_of(data, 0, 30), BATCH, STEPS, (0,), 0)
    for _ in range(4):
        next(batches)
    for file in sorted(folder.rglob("*.tfrecord-*")):
        content = bytearray(file.read_bytes())
        if harm == "bit":
            content[len(content) // 2] ^= 1
        elif harm == "end":
            content = content[: len(content) // 3]
        elif harm == "gone":
            file.unlink()
            continue
        else:  # the same records, whole, in another order
            content = _reversed(file)
        file.write_bytes(content)
    with pytest.raises(UserError, match=f"{sentence}.*Build the cohort again"):
        for _ in range(20 * STEPS):
            next(batches)


def _reversed(file):
    import tensorflow as tf

    records = list(tf.data.TFRecordDataset(str(file)).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records[::-1]:
            writer.write(record)
    return file.read_bytes()


def test_slices_of_later_batches_are_read_while_earlier_ones_wait(monkeypatch):
    """Four readers wait for each other; batches of one stack each."""
    together = threading.Barrier(4, timeout=20)
    threads = set()

    def read(place, first, last, plane):
        threads.add(threading.current_thread())
        together.wait()
        return np.full((last - first, *plane), place.start, np.int16)

    monkeypatch.setattr(voxel_cache, "READERS", 8)
    monkeypatch.setattr(voxel_cache, "read_slices", read)
    places = [Place(None, k, np.zeros(30)) for k in range(40)]
    voxels = VoxelCache(places, (8, 8), limit=2_000_000)
    numbers = np.arange(40)
    stacks = Stacks(voxels, numbers, np.full(40, 5), numbers, numbers, 3)
    assert voxels.reserve(8 * 8 * 3 * 2) >= 4, "else the test shows nothing"
    batches = stacks.batches(numbers[k : k + 1] for k in range(40))
    assert [next(batches)["volume"][0, 0, 0, 0] for _ in range(4)] == [0, 1, 2, 3]
    together.abort()
    batches.close()
    for thread in threads:
        thread.join(timeout=20)
        assert not thread.is_alive()


def test_threads_end_with_the_batches(cohort_of_noise):
    before = set(threading.enumerate())
    data = ShardedCohort(cohort_of_noise, 3, 2, cache_memory=SMALL)
    batches = data.training_batches(patients_of(data, 0, 30), BATCH, STEPS, (0,), 0)
    next(batches)
    threads = [t for t in threading.enumerate() if t not in before]
    assert any(t.name.startswith("voxels") for t in threads)
    batches.close()
    for thread in threads:
        thread.join(timeout=20)
        assert not thread.is_alive(), thread.name


def test_a_cache_too_small_for_a_batch(cohort_of_noise):
    data = ShardedCohort(cohort_of_noise, 3, 2, cache_memory=100_000)
    with pytest.raises(UserError, match=r"A cache of 100 kB .*--cache-memory at least 1\.11 MB"):
        data.steps_per_epoch(patients_of(data, 0, 30), BATCH)
    data = ShardedCohort(cohort_of_noise, 3, 2, cache_memory=1_110_000)
    assert data.steps_per_epoch(patients_of(data, 0, 30), BATCH) > 100
