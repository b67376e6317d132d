"""A built cohort on disk: its shards, and an index of all that they hold but the pixels.

The index is one small file of the same records without `volume`. So a host learns every label from
it, and opens no shard but those that hold its own share.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from msk_jax.errors import UserError
from msk_jax.files import bucket_fault

INDEX_NAME = "index.tfrecord"
_PIXELS = "volume"
_NAMES = ("unit_id", "view")
"""What tells one record from all others."""
_WAY_OUT = "Build the cohort again with --overwrite."


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


def stored_records(
    builder, split: Any = "all", features: Collection[str] | None = None
) -> Iterator[dict]:
    """Records in the order of the shards, of which only those that hold them are opened.

    Args:
        builder: of `open_stored`.
        split: which records, as tfds says it.
        features: what of each, see `shards.features`; None: all of it.

    Raises:
        UserError: a damaged shard.
    """
    import tensorflow_datasets as tfds

    decoders = features and tfds.decode.PartialDecoding(dict.fromkeys(features, True))
    data = builder.as_dataset(
        split=split,
        shuffle_files=False,
        decoders=decoders,
        read_config=tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1),
    )
    return _guarded(tfds.as_numpy(data), f"A shard in {builder.data_dir}")


def read_records(data_dir: Path) -> Iterator[dict]:
    """Every record of a built cohort with its pixels, see `shards.features`.

    Raises:
        UserError: no cohort there, or an unreadable shard.
    """
    return stored_records(open_stored(data_dir))


def read_index(builder) -> list[dict]:
    """All of each record but its pixels, in the order of the shards.

    Raises:
        UserError: there is no index, it is damaged, or it is that of other shards.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    path = builder.data_path / INDEX_NAME
    if not path.exists():
        raise UserError(f"There is no {path}: an older msk_jax built these shards. {_WAY_OUT}")
    data = tf.data.TFRecordDataset(str(path)).map(index_features(builder).deserialize_example)
    records = list(_guarded(tfds.as_numpy(data), str(path)))
    count = builder.info.splits.total_num_examples
    if len(records) != count:
        raise UserError(f"{path} lists {len(records)} records of {count}. {_WAY_OUT}")
    return records


def stored_pixels(builder, split: Any, entries: Sequence[dict]) -> Iterator[np.ndarray]:
    """`volume` of the records of a split, see `shards.features`.

    Args:
        builder: of `open_stored`.
        split: as of `stored_records`.
        entries: what the index says of these records.

    Raises:
        UserError: a damaged shard, or one of another build than the index.
    """
    records = stored_records(builder, split, (*_NAMES, _PIXELS))
    for entry, record in zip(entries, records, strict=True):
        if any(record[name] != entry[name] for name in _NAMES):
            raise UserError(
                f"The shards in {builder.data_dir} and their index are of different builds. "
                f"{_WAY_OUT}"
            )
        yield record[_PIXELS]


def index_features(builder):
    """What the index holds of a record."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    return tfds.features.FeaturesDict({k: v for k, v in features.items() if k != _PIXELS})


def _guarded(records: Iterable[dict], what: str) -> Iterator[dict]:
    """The records, text as str where tfds gives bytes, with a sentence where a file is damaged."""
    import tensorflow as tf

    try:
        for record in records:
            yield {k: v.decode() if isinstance(v, bytes) else v for k, v in record.items()}
    except tf.errors.OpError as error:
        if bucket_fault(error):
            raise
        raise UserError(f"{what} is damaged ({type(error).__name__}). {_WAY_OUT}") from error
