"""The index tells what the shards hold, and a host opens none but its own."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_datasets.core.utils import shard_utils

from msk_jax.data.build.writing import write_shards
from msk_jax.data.feed.sharded_cohort import ShardedCohort
from msk_jax.data.shards.stored import VERSION, open_stored, read_index, read_records, read_slices
from msk_jax.errors import UserError

HOSTS = 2


@pytest.fixture(scope="module")
def many(shards, tiny, tmp_path_factory):
    """The cohort of `shards` in many files, as a large one has them."""
    folder = tmp_path_factory.mktemp("many")
    records = list(read_records(shards))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_utils.ShardConfig, "min_shard_size", 1)
        write_shards(tiny.cohort, reversed(records), folder)
    assert len(list(folder.rglob("*.tfrecord-*"))) >= 2 * HOSTS
    return folder


def index_of(folder):
    return next(folder.rglob("index.tfrecord"))


def patients_of(data):
    return {record["patient_id"] for record in data.records}


def test_the_index_is_what_the_shards_hold(many, shards):
    whole, (indexed, places) = list(read_records(many)), read_index(open_stored(many))
    assert len(indexed) == len(places) == len(whole) == 18
    for record, entry, place in zip(whole, indexed, places, strict=True):
        depth, *plane = record["volume"].shape
        assert place.num_slices == depth
        np.testing.assert_array_equal(read_slices(place, 0, depth, plane), record["volume"])
        part = read_slices(place, depth - 3, depth - 1, plane)
        np.testing.assert_array_equal(part, record["volume"][-3:-1])
        assert set(record) - set(entry) == {"volume"}
        for name, value in entry.items():
            np.testing.assert_array_equal(value, record[name], err_msg=name)
            assert np.asarray(value).dtype == np.asarray(record[name]).dtype
    # However many files there are, the order of the records is the same.
    assert [r["unit_id"] for r in whole] == [r["unit_id"] for r in read_records(shards)]


@pytest.mark.parametrize("host", range(HOSTS))
def test_a_host_opens_its_own_shards_alone(many, shards, tmp_path, host):
    whole = ShardedCohort(shards, 3, 2, host=host, num_hosts=HOSTS)
    expected = np.concatenate(list(whole.evaluation_batches(patients_of(whole), 16)))
    own = tmp_path / "own"
    shutil.copytree(many, own)
    files = sorted(own.rglob("*.tfrecord-*"))
    share = len(files) // HOSTS
    assert len(files) == share * HOSTS, "else two hosts share a file"
    for number, file in enumerate(files):
        if number // share != host:
            file.write_bytes(b"nothing that could be read")
    data = ShardedCohort(own, 3, 2, host=host, num_hosts=HOSTS)
    np.testing.assert_array_equal(
        data.table(patients_of(data)).unit_id, whole.table(patients_of(whole)).unit_id
    )
    found = np.concatenate(list(data.evaluation_batches(patients_of(data), 16)))
    np.testing.assert_array_equal(found, expected)
    other = ShardedCohort(own, 3, 2, host=(host + 1) % HOSTS, num_hosts=HOSTS)
    with pytest.raises(UserError, match=r"A shard in .* is damaged"):
        list(other.evaluation_batches(patients_of(other), 16))


def test_an_index_that_is_not_of_these_shards(many, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(many, folder)
    index = index_of(folder)
    entries = list(tf.data.TFRecordDataset(str(index)).as_numpy_iterator())

    def write(rows):
        with tf.io.TFRecordWriter(str(index)) as file:
            for row in rows:
                file.write(row)

    write(entries[1:] + entries[:1])
    with pytest.raises(UserError, match="of different builds"):
        ShardedCohort(folder, 3, 2)
    example = tf.train.Example.FromString(entries[3])
    example.features.feature["volume/start"].int64_list.value[0] += 2
    write([*entries[:3], example.SerializeToString(), *entries[4:]])
    data = ShardedCohort(folder, 3, 2)
    with pytest.raises(UserError, match="of different builds"):
        list(data.evaluation_batches(patients_of(data), 16))
    write(entries[:-1])
    with pytest.raises(UserError, match=f"lists {len(entries) - 1} records of {len(entries)}"):
        ShardedCohort(folder, 3, 2)
    write([*entries[:-1], b"no example"])
    with pytest.raises(UserError, match=r"index\.tfrecord is damaged"):
        ShardedCohort(folder, 3, 2)
    index.unlink()
    with pytest.raises(UserError, match=r"An older msk_jax.*Build the cohort again"):
        ShardedCohort(folder, 3, 2)


@pytest.mark.parametrize(("version", "who"), [("3.0.0", "An older"), ("99.0.0", "A newer")])
def test_shards_of_another_version(shards, tmp_path, version, who):
    folder = tmp_path / "data"
    shutil.copytree(shards, folder)
    info = next(folder.rglob("dataset_info.json"))
    info.write_text(info.read_text().replace(f'"{VERSION}"', f'"{version}"'))
    info.parent.rename(info.parent.with_name(version))
    with pytest.raises(UserError, match=rf"{who} msk_jax.*version is {version}.*Build the cohort"):
        ShardedCohort(folder, 3, 2)
