"""Stacks come out of the shards as the joints hold them, in an order that the seed fixes."""

import itertools

import numpy as np
import pytest
import tensorflow_datasets as tfds

from msk_jax.data.feed.sharded_cohort import ShardedCohort, shuffled_labels
from msk_jax.data.shards.folds import load_folds
from msk_jax.errors import UserError


@pytest.fixture(scope="module")
def cohort(shards):
    return ShardedCohort(shards, num_slices=3, context_slices=2)


@pytest.fixture(scope="module")
def records(shards):
    folder = next(shards.glob("*/*/dataset_info.json")).parent
    data = tfds.builder_from_directory(folder).as_dataset(split="all")
    return {r["unit_id"].decode(): r for r in tfds.as_numpy(data)}


def test_stacks_are_the_neighbours_of_their_centre(cohort, records):
    patients = {j["patient_id"] for j in cohort.records[:4]}
    table = cohort.table(patients)
    volumes = np.concatenate(list(cohort.evaluation_batches(patients, 7)))
    assert len(volumes) == len(table.unit_id) > 20
    for unit_id, label, volume in zip(table.unit_id, table.label, volumes, strict=True):
        joint_id, k = unit_id.rsplit("/", 1)
        record = records[joint_id]
        expected = record["volume"][int(k) + 1 : int(k) + 4]  # two context slices, one neighbour
        np.testing.assert_array_equal(volume, np.moveaxis(expected, 0, -1))
        assert label == record["stack_labels"][int(k)]


def _order(cohort, patients, seed, first, count):
    batches = cohort.training_batches(patients, 8, 4, seed, first)
    return [b["volume"].tobytes() for b in itertools.islice(batches, count)]


def test_order_follows_the_seed_and_resumes_anywhere(cohort):
    patients = {j["patient_id"] for j in cohort.records}
    whole = _order(cohort, patients, (0, 1), 0, 10)
    assert _order(cohort, patients, (0, 1), 0, 10) == whole
    for first in (1, 4, 6):
        assert _order(cohort, patients, (0, 1), first, 10 - first) == whole[first:]
    assert _order(cohort, patients, (1, 1), 0, 10) != whole
    assert _order(cohort, patients, (0, 2), 0, 10) != whole
    assert len(set(whole)) == 10, "epochs must differ in order"


def test_classes_in_turn(cohort):
    patients = {j["patient_id"] for j in cohort.records}
    table = cohort.table(patients)
    share = table.label.mean()
    assert 0.2 < share < 0.45, "else the test shows nothing"
    batches = cohort.training_batches(patients, 8, 4, (0, 1), 0, balanced=True)
    seen = list(itertools.islice(batches, 8))
    drawn = np.concatenate([batch["label"] for batch in seen])
    assert abs(drawn[:32].mean() - 0.5) < 0.13 and abs(drawn[32:].mean() - 0.5) < 0.13
    pairs = drawn.reshape(-1, 2)
    assert (pairs[:, 0] == pairs[:, 1]).any(), "mixtures need pairs of one class too"
    units = np.concatenate([batch["unit_id"] for batch in seen]).astype(str)
    assert len(set(units[:32])) == 32, "an epoch must not repeat what it need not"
    labels = dict(zip(table.unit_id, table.label, strict=True))
    assert [labels[unit] for unit in units] == drawn.tolist()
    again = cohort.training_batches(patients, 8, 4, (0, 1), 5, balanced=True)
    np.testing.assert_array_equal(next(again)["unit_id"], seen[5]["unit_id"])


def test_hosts_share_the_records(shards, cohort):
    patients = {j["patient_id"] for j in cohort.records}
    parts = [ShardedCohort(shards, 3, 2, host=i, num_hosts=4) for i in range(4)]
    units = [part.stacks(patients).unit_id.tolist() for part in parts]
    np.testing.assert_array_equal(np.concatenate(units), cohort.table(patients).unit_id)
    volumes = [batch for part in parts for batch in part.evaluation_batches(patients, 16)]
    whole = np.concatenate(list(cohort.evaluation_batches(patients, 16)))
    np.testing.assert_array_equal(np.concatenate(volumes), whole)
    joints = [list(dict.fromkeys(unit.rsplit("/", 1)[0] for unit in part)) for part in units]
    expected = np.array_split([joint["unit_id"] for joint in cohort.records], 4)
    assert joints == [part.tolist() for part in expected], "as every host supposes of the others"
    # More steps than the share has batches: it begins again, so that no host ends before others.
    batches = parts[0].training_batches(patients, 8, 9, (0, 1), 0)
    drawn = np.concatenate([b["unit_id"] for b in itertools.islice(batches, 9)]).astype(str)
    assert len(drawn) > len(units[0]) and set(drawn) == set(units[0])


def test_a_host_without_a_class(shards, cohort):
    patients = {j["patient_id"] for j in cohort.records}
    many = ShardedCohort(shards, 3, 2, host=5, num_hosts=18)
    assert many.steps_per_epoch(patients, 4) > 0
    with pytest.raises(UserError, match=r"host \d+ of 18 lacks"):
        many.steps_per_epoch(patients, 4, balanced=True)
    with pytest.raises(UserError, match=r"host 2 of 18 lacks"):
        many.steps_per_epoch({cohort.records[0]["patient_id"]} - {""}, 1)


def test_shuffled_labels_go_by_patient(shards, cohort):
    relabel = shuffled_labels(cohort.records, seed=1)
    true = {j["patient_id"]: int(j["patient_label"]) for j in cohort.records}
    assert relabel != true and sorted(relabel.values()) == sorted(true.values())
    shuffled = ShardedCohort(shards, 3, 2, relabel)
    patients = set(true)
    assert shuffled.patient_labels == true  # folds are known by the true ones
    table = shuffled.table(patients)
    assert all(relabel[p] == label for p, label in zip(table.patient_id, table.label, strict=True))
    batch = next(shuffled.training_batches(patients, 16, 1, (0, 1), 0))
    labels = dict(zip(table.unit_id, table.label, strict=True))
    assert [labels[unit] for unit in batch["unit_id"]] == batch["label"].tolist()


def test_every_patient_of_the_shards_has_one_fold(shards, cohort):
    folds = load_folds(shards, cohort.patient_labels)
    assert set(folds.values()) == {0, 1, 2}


@pytest.mark.parametrize("num_slices", [4, 7])
def test_stacks_that_the_shards_cannot_give(shards, num_slices):
    with pytest.raises(UserError, match="odd --num-slices up to 5"):
        ShardedCohort(shards, num_slices, context_slices=2)


def test_no_cohort_and_damaged_cohort(tmp_path):
    with pytest.raises(UserError, match="no built cohort"):
        ShardedCohort(tmp_path, 3, 2)
    (tmp_path / "sacroiliitis" / "1.0.0").mkdir(parents=True)
    (tmp_path / "sacroiliitis" / "1.0.0" / "dataset_info.json").write_text("{half")
    with pytest.raises(UserError, match="cannot be read"):
        ShardedCohort(tmp_path, 3, 2)


def test_too_few_stacks_for_a_batch(cohort):
    with pytest.raises(UserError, match="Lower --batch-size"):
        cohort.steps_per_epoch({cohort.records[0]["patient_id"]}, 1000)
