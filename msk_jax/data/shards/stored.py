"""A built cohort on disk: its shards, and an index of all that they hold but the pixels.

The index is one small file of the same records; in place of `volume` it says where the voxels lie.
So a host learns every label from it, opens no shard but those that hold its own share, and reads of
these the slices that it wants and no others.
"""

import dataclasses
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from msk_jax.errors import UserError
from msk_jax.files import bucket_fault, read_range

VERSION = "4.0.0"
"""Of the shards and their index; those of another version are refused."""
INDEX_NAME = "index.tfrecord"
PIXELS = "volume"
_DTYPE = np.dtype("<i2")
_FRAMING = (12, 4)
"""Bytes before and after a record of a TFRecord file: its length and two checksums."""
_WAY_OUT = "Build the cohort again with --overwrite."


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the voxels of a record lie, slice after slice."""

    file: Path
    """The shard."""
    start: int
    """Byte of the shard at which the first slice begins."""
    crc32: np.ndarray
    """CRC-32 of each slice's bytes, `[slices]`. That of TFRecord is one of the whole record,
    which would have to be read for it."""

    @property
    def num_slices(self) -> int:
        return len(self.crc32)


def open_stored(data_dir: Path):
    """The tfds builder of the cohort in `data_dir`.

    Raises:
        UserError: there is none, or it is damaged.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    tf.config.set_visible_devices([], "GPU")
    infos = sorted(data_dir.glob("*/*/dataset_info.json")) if data_dir.is_dir() else []
    if len(infos) != 1:
        found = "no built cohort" if not infos else f"{len(infos)} cohorts"
        raise UserError(
            f"There is {found} in {data_dir}. Give the folder that `msk-jax build ... --data-dir` "
            "wrote."
        )
    try:
        return tfds.builder_from_directory(infos[0].parent)
    except Exception as error:  # what a damaged file raises depends on where it is damaged
        raise UserError(
            f"The shards in {data_dir} cannot be read ({type(error).__name__}: {error}). {_WAY_OUT}"
        ) from error


def read_records(data_dir: Path) -> Iterator[dict]:
    """Every record of a built cohort with its pixels, see `writing.features`, in the order of the
    shards.

    Raises:
        UserError: no cohort there, or an unreadable shard.
    """
    import tensorflow_datasets as tfds

    builder = open_stored(data_dir)
    data = builder.as_dataset(
        split="all",
        shuffle_files=False,
        read_config=tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1),
    )
    return _guarded(tfds.as_numpy(data), f"A shard in {builder.data_dir}")


def read_index(builder) -> tuple[list[dict], list[Place]]:
    """All of each record but its pixels, and the places of these, in the order of the shards.

    Raises:
        UserError: there is no index, it is damaged, or it is that of other shards.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    path = builder.data_path / INDEX_NAME
    version = str(builder.version)
    if not path.exists() or version != VERSION:
        older = not path.exists() or builder.version < VERSION
        raise UserError(
            f"{'An older' if older else 'A newer'} msk_jax built the shards in {builder.data_dir} "
            f"(their version is {version}, this one reads {VERSION} with its {INDEX_NAME}). "
            f"{_WAY_OUT}"
        )
    data = tf.data.TFRecordDataset(str(path)).map(index_features(builder).deserialize_example)
    records = list(_guarded(tfds.as_numpy(data), str(path)))
    count = builder.info.splits.total_num_examples
    if len(records) != count:
        raise UserError(f"{path} lists {len(records)} records of {count}. {_WAY_OUT}")
    if PIXELS not in builder.info.features:
        return records, []
    places = [record.pop(PIXELS) for record in records]
    order = [(int(place["shard"]), int(place["start"])) for place in places]
    files = shard_files(builder)
    if order != sorted(order) or any(shard >= len(files) for shard, _ in order):
        raise _different_builds(builder.data_dir)
    return records, [
        Place(files[shard], start, place["crc32"])
        for (shard, start), place in zip(order, places, strict=True)
    ]


def index_features(builder):
    """What the index holds of a record; its `volume`, if it has one, is a place there, see
    `Place`."""
    import tensorflow_datasets as tfds

    if PIXELS not in builder.info.features:
        return builder.info.features

    place = {
        "shard": tfds.features.Scalar(np.int64),
        "start": tfds.features.Scalar(np.int64),
        "crc32": tfds.features.Tensor(shape=(None,), dtype=np.int64),
    }
    return tfds.features.FeaturesDict({**builder.info.features, PIXELS: place})


def index_entries(builder) -> Iterator[bytes]:
    """The index of shards that were just written, as serialised examples with the features of
    `index_features`."""
    import tensorflow as tf

    if PIXELS not in builder.info.features:
        for file in shard_files(builder):
            yield from tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
        return
    _, *plane = builder.info.features[PIXELS].shape
    for shard, file in enumerate(shard_files(builder)):
        start = 0
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            entry = tf.train.Example.FromString(record)
            features = entry.features.feature
            voxels = features.pop(PIXELS).bytes_list.value[0]
            at = start + _FRAMING[0] + _position(record, voxels)
            slices = np.frombuffer(voxels, _DTYPE).reshape(-1, *plane)
            features[f"{PIXELS}/shard"].int64_list.value.append(shard)
            features[f"{PIXELS}/start"].int64_list.value.append(at)
            features[f"{PIXELS}/crc32"].int64_list.value.extend(map(zlib.crc32, slices))
            yield entry.SerializeToString(deterministic=True)
            start += len(record) + sum(_FRAMING)


def _position(record: bytes, voxels: bytes) -> int:
    """Where in a record its voxels are: wherever the same bytes are first met. Looked for by their
    first ones, for to look for millions at once takes longer than all else."""
    at = record.index(voxels[:64])
    while not record.startswith(voxels, at):
        at = record.index(voxels[:64], at + 1)
    return at


def shard_files(builder) -> list[Path]:
    """The files of a cohort in the order of its records."""
    return [
        builder.data_path / name
        for split in builder.info.splits.values()
        for name in sorted(split.filenames)
    ]


def read_slices(place: Place, first: int, last: int, plane: tuple[int, int]) -> np.ndarray:
    """Some slices of a record, held against their checksums.

    Args:
        place: of the record.
        first: the first of the slices.
        last: the one behind the last.
        plane: height and width of a slice.

    Returns:
        int16 `[last - first, height, width]`.

    Raises:
        UserError: a damaged shard, or one of another build than the index.
    """
    slices = np.empty((last - first, *plane), _DTYPE)
    size = slices[0].nbytes
    try:
        count = read_range(place.file, place.start + first * size, slices)
    except FileNotFoundError as error:
        raise _damaged(f"A shard in {place.file.parent}", error) from error
    if count < slices.nbytes:
        raise UserError(
            f"A shard in {place.file.parent} is damaged ({place.file.name} ends too early). "
            f"{_WAY_OUT}"
        )
    for one, crc32 in zip(slices, place.crc32[first:last], strict=True):
        if zlib.crc32(one) != crc32:
            raise _fault(place.file)
    return slices


def _fault(file: Path) -> UserError:
    """What is wrong with a shard that does not hold what the index says: looked for only then, for
    it takes reading all of it."""
    import tensorflow as tf

    try:
        for _ in tf.data.TFRecordDataset(str(file)):
            pass
    except tf.errors.OpError as error:
        return _damaged(f"A shard in {file.parent}", error)
    return _different_builds(file.parent)


def _different_builds(folder: Path) -> UserError:
    return UserError(f"The shards in {folder} and their index are of different builds. {_WAY_OUT}")


def _damaged(what: str, error: Exception) -> UserError:
    return UserError(f"{what} is damaged ({type(error).__name__}). {_WAY_OUT}")


def _guarded(records: Iterable[dict], what: str) -> Iterator[dict]:
    """The records, text as str where tfds gives bytes, with a sentence where a file is damaged."""
    import tensorflow as tf

    try:
        for record in records:
            yield {k: v.decode() if isinstance(v, bytes) else v for k, v in record.items()}
    except tf.errors.OpError as error:
        if bucket_fault(error):
            raise
        raise _damaged(what, error) from error
