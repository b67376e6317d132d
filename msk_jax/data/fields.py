"""Fields: one named thing known of a unit each, as a cohort declares them.

A field knows which columns of a manifest it reads, how a cell is checked, what stands for nothing,
and how it is stored in a record.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msk_jax.data.regions.picture import PictureRegion
from msk_jax.data.regions.radiograph import RadiographRegion
from msk_jax.data.regions.sacroiliac import SacroiliacRegion
from msk_jax.data.regions.vertebra import VertebraRegion
from msk_jax.data.regions.volume import VolumeRegion
from msk_jax.data.sources.cells import Cells
from msk_jax.data.sources.names import is_below

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

AnyRegion = SacroiliacRegion | VertebraRegion | RadiographRegion | VolumeRegion | PictureRegion
"""Each is a `regions.region.Region`."""


@dataclass(frozen=True)
class Image:
    """An image of the unit: the part of it that networks see."""

    name: str
    region: AnyRegion
    """Which part that is, and how it is cut."""


@dataclass(frozen=True)
class MeasuredLabel:
    """A label that follows from a number of the manifest, the lower the graver."""

    column: str
    cuts: tuple[float, ...]
    """From the harmless side on: a value at or below a cut belongs to the next class."""

    low: float
    high: float
    """What lies outside is a fault of the manifest."""

    def label(self, cells: Cells) -> int | None:
        """Place among the classes; None where the cell is empty or, with a fault, no number."""
        value = cells.number(self.column, self.low, self.high)
        return None if value is None else sum(value <= cut for cut in self.cuts)


@dataclass(frozen=True)
class Classes:
    """One class of several, that the manifest states in a column of the field's name."""

    name: str
    classes: tuple[str, ...]
    """What may stand there, the negative one first, the gravest last."""

    ordinal: bool = False
    """Whether the classes are steps of one scale, as grades: it is then measured how many of them
    a call is off."""

    measured: MeasuredLabel | None = None
    """What may stand in the manifest in its place."""

    refused: Mapping[str, str] = field(default_factory=dict)
    """Words that are often taken for a class, and why they are none."""

    def read(self, cells: Cells) -> int:
        """The place of a row's class, as a reader of the images named it, or as it was measured;
        the two must agree."""
        named = cells.text(self.name)
        measured = self.measured.label(cells) if self.measured else None
        if measured is None:
            return cells.one_of(self.name, self.classes, self.refused)
        if named and cells.one_of(self.name, self.classes, self.refused) != measured:
            column = self.measured.column
            cells.fault(
                f"{self.name} {named} and {column} {cells.text(column)} contradict each other: "
                f"that is {self.classes[measured]}"
            )
        return measured


@dataclass(frozen=True)
class Number:
    """A number about a patient that the manifest states beside the image."""

    name: str
    """Its column."""

    unit: str = ""
    low: float | None = None
    high: float | None = None
    """What lies outside is a fault of the manifest; none: there is no bound."""

    required: bool = False
    per_unit: bool = False
    """Whether it is one of each unit, and not of the patient."""

    def read(self, cells: Cells) -> float:
        """The number of a row; NaN where the cell is empty."""
        if not _is_given(self, cells):
            return math.nan
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        value = cells.number(self.name, low, high, self.unit)
        return math.nan if value is None else value

    def stored(self, value: float) -> Any:
        """The value as a record holds it."""
        import numpy as np

        return np.float32(value)

    def feature(self) -> "tfds.features.FeatureConnector":
        """The kind of it in a record."""
        import numpy as np
        import tensorflow_datasets as tfds

        return tfds.features.Scalar(dtype=np.float32)


@dataclass(frozen=True)
class Word:
    """A word about a patient that the manifest states beside the image."""

    name: str
    """Its column."""

    words: tuple[str, ...] = ()
    """What it may be."""

    required: bool = False
    ordered: bool = False
    """Whether the words are steps of one scale."""

    per_unit: bool = False
    """Whether it is one of each unit, and not of the patient."""

    def read(self, cells: Cells) -> str:
        """The word of a row; '' where the cell is empty."""
        if not _is_given(self, cells):
            return ""
        return self.words[cells.one_of(self.name, self.words)]

    def stored(self, value: str) -> Any:
        """The value as a record holds it."""
        return value

    def feature(self) -> "tfds.features.FeatureConnector":
        """The kind of it in a record."""
        import tensorflow_datasets as tfds

        return tfds.features.Text()


@dataclass(frozen=True)
class Boxes:
    """Boxes that people drew in the image, from a file of annotations that the manifest names."""

    name: str
    """Its column: the path of the file, relative to the manifest's folder."""

    of: str
    """The image that they were drawn in."""

    classes: tuple[str, ...] = ()
    """What a box may hold."""

    @property
    def class_name(self) -> str:
        """What a record calls the classes of the boxes; the boxes have the field's own name."""
        return f"{self.name}_class"

    def read(self, cells: Cells) -> str:
        """The file of a row; a fault where none is named, or one that lies elsewhere."""
        path = cells.text(self.name)
        if not path:
            cells.fault(
                f"{self.name} is empty; name the file of annotations, which may say that this "
                "picture has no boxes"
            )
        elif not is_below(path):
            cells.fault(f"{self.name} must be relative to the manifest's folder and stay below it")
        return path

    def features(self) -> "dict[str, tfds.features.FeatureConnector]":
        """The kinds of what a record holds: the boxes [n, 4], x0, y0, x1, y1 in pixels of the
        crop, and places among the classes [n]."""
        import numpy as np
        import tensorflow_datasets as tfds

        return {
            self.name: tfds.features.Tensor(shape=(None, 4), dtype=np.float32),
            self.class_name: tfds.features.Tensor(shape=(None,), dtype=np.int64),
        }


AnyField = Image | Classes | Number | Word | Boxes


def _is_given(variable: Number | Word, cells: Cells) -> bool:
    """Whether a cell says something; a fault where one that is required does not."""
    if cells.text(variable.name):
        return True
    if variable.required:
        cells.fault(f"{variable.name} is empty")
    return False
