"""Records into TFRecord shards by way of TensorFlow Datasets.

The shards are read with `tfds.builder_from_directory` and need none of this code.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core import writer

from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.shards.stored import INDEX_NAME, VERSION, index_entries


def write_shards(cohort: Cohort, records: Iterable[dict], data_dir: Path) -> Path:
    """Write one tfds data set and its index, one record per crop, in an order that the units'
    identifiers fix.

    Args:
        cohort: gives the name and the size of the crops.
        records: as `records.record` makes them.
        data_dir: the data set lands in `data_dir/<name>/<version>`.

    Returns:
        That folder.
    """
    tfds.disable_progress_bar()  # our caller shows its own
    builder = _builder_class(cohort.name)(cohort=cohort, records=records, data_dir=data_dir)
    downloads = data_dir / ".downloads"  # tfds insists on the folder; nothing is fetched
    builder.download_and_prepare(
        download_dir=downloads,
        download_config=tfds.download.DownloadConfig(try_download_gcs=False),
    )
    shutil.rmtree(downloads, ignore_errors=True)
    _write_index(builder)
    return Path(builder.data_dir)


def _write_index(builder: tfds.core.DatasetBuilder) -> None:
    """See `stored`."""
    with tf.io.TFRecordWriter(str(builder.data_path / INDEX_NAME)) as file:
        for entry in index_entries(builder):
            file.write(entry)


def features(cohort: Cohort) -> tfds.features.FeaturesDict:
    """What a record holds; `volume` is int16 [slices, size, size], of CT in Hounsfield units.

    The numbers and words of the cohort follow by their names, NaN or '' where unknown, and its
    boxes, see `fields.Boxes.features`.
    """
    return tfds.features.FeaturesDict(
        {
            **(_of_image(cohort.region.size) if cohort.image else {}),
            "label": tfds.features.Scalar(dtype=np.int64),
            "patient_label": tfds.features.Scalar(dtype=np.int64),
            "patient_id": tfds.features.Text(),
            "unit_id": tfds.features.Text(),
            "site": tfds.features.Text(),
            "sex": tfds.features.Text(),
            "age": tfds.features.Scalar(dtype=np.float32),
            **{variable.name: variable.feature() for variable in cohort.variables},
            **(cohort.boxes.features() if cohort.boxes else {}),
        }
    )


def _of_image(size: int) -> dict[str, tfds.features.FeatureConnector]:
    """What a record holds of a crop."""
    return {
        # As bytes: each value by itself would be a whole number of up to ten bytes.
        "volume": tfds.features.Tensor(shape=(None, size, size), dtype=np.int16, encoding="bytes"),
        "positions_mm": tfds.features.Tensor(shape=(None,), dtype=np.float32),
        "origin_mm": tfds.features.Tensor(shape=(3,), dtype=np.float32),
        "spacing_mm": tfds.features.Tensor(shape=(3,), dtype=np.float32),
        "direction": tfds.features.Tensor(shape=(9,), dtype=np.float32),
        "stack_labels": tfds.features.Tensor(shape=(None,), dtype=np.int64),
        "unit": tfds.features.Text(),
        "view": tfds.features.Text(),
        "grade": tfds.features.Scalar(dtype=np.int64),
    }


class SortedWriter(writer.ExampleWriter):
    """Writes the features of each record in the order of their names: protobuf's own order is
    another one in each process, and equal records would not have equal bytes."""

    def write(self, path, examples):
        return super().write(path, ((key, _sorted(example)) for key, example in examples))


def _sorted(example: bytes) -> bytes:
    return tf.train.Example.FromString(example).SerializeToString(deterministic=True)


class Shards(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Writes the records that it is given."""

    VERSION = tfds.core.Version(VERSION)

    # tfds looks beside the source for checksums of downloads, and fails where the package
    # importlib_resources is missing (4.9.10); there are no downloads.
    code_path = None

    def __init__(self, *, cohort: Cohort, records: Iterable[dict], data_dir: Path):
        self._cohort, self._records = cohort, records
        super().__init__(data_dir=data_dir)

    def _info(self) -> tfds.core.DatasetInfo:
        # `dataset_info_from_configs` would look for a package folder of the data set.
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"Crops of the cohort {self._cohort.name}, one record each.",
            features=features(self._cohort),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        del dl_manager  # nothing is fetched
        # The order of the records depends on this name. It is read by tfds' own name, `all`.
        unit = self._cohort.levels[:2][-1]
        return {f"{unit}s": self._generate_examples()}

    def _generate_examples(self) -> Iterable[tuple[str, dict]]:
        for record in self._records:
            yield "/".join(filter(None, (record["unit_id"], record.get("view")))), record

    def _example_writer(self) -> writer.ExampleWriter:
        return SortedWriter(self.info.file_format)

    # What tfds would print here concerns downloads, and there are none.
    def _log_download_bytes(self) -> None:
        pass

    def _log_download_done(self) -> None:
        pass


def _builder_class(name: str) -> type[Shards]:
    """tfds takes the name of a data set from its class."""

    class Named(Shards, skip_registration=True):
        pass

    Named.name = name
    return Named
