"""What a run leaves for people to look at: `history.csv` and TensorBoard."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from msk_jax.files import replacing


def history_columns(figures: Sequence[str]) -> tuple[str, ...]:
    """The columns of `history.csv`, of a task with these figures."""
    return ("step", "epoch", "split", *figures, "learning_rate")


class History:
    """`history.csv`, cut back to what the restored checkpoint knew."""

    def __init__(self, path: Path, columns: Sequence[str], upto: int):
        kept = []
        if path.exists():
            rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
            # A kill may have left half a row; what it belongs to is trained again anyway.
            whole = (r for r in rows if (r["step"] or "").isdigit() and r[columns[-1]])
            kept = [row for row in whole if int(row["step"]) <= upto]
        self._path = path
        with replacing(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(kept)

    def add(self, *values) -> None:
        """One row, in the order of the columns; NaN is left out."""
        row = ["" if isinstance(v, float) and math.isnan(v) else v for v in values]
        line = io.StringIO(newline="")
        csv.writer(line).writerow(row)
        # As bytes: files of a bucket take no other ends of lines than they are given.
        with self._path.open("ab") as file:
            file.write(line.getvalue().encode())


class Board:
    """TensorBoard: figures, pictures and distributions by step."""

    def __init__(self, folder: Path):
        import tensorflow as tf

        self._summary = tf.summary
        self._writer = tf.summary.create_file_writer(str(folder))

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        """One number per name."""
        with self._writer.as_default():
            for name, value in values.items():
                self._summary.scalar(name, value, step=step)
        self._writer.flush()

    def pictures(self, step: int, name: str, images: np.ndarray, count: int = 8) -> None:
        """The first `count` of `[n, height, width, 1]`, values 0 to 1."""
        with self._writer.as_default():
            self._summary.image(name, images, step=step, max_outputs=count)

    def distributions(self, step: int, tree: Any) -> None:
        """The values of every array of a nested dict, as histograms."""
        with self._writer.as_default():
            for name, values in flatten_dict(tree, sep="/").items():
                self._summary.histogram(name, np.asarray(values), step=step)
        self._writer.flush()


class NoRecords:
    """Takes what `History` and `Board` take and keeps nothing: for all hosts but the first."""

    def add(self, *values) -> None:
        """Nothing."""

    figures = pictures = distributions = add
