"""What the figures of a study of classes are counted on: the cases of one level, set by set."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from msk_jax.evaluation.settings import EvaluationSettings
from msk_jax.evaluation.studies.thresholds import choose_thresholds
from msk_jax.evaluation.tables.predictions import probability_columns


@dataclass(frozen=True)
class Level:
    """Tables of one level that all sets of patients share, and how they are judged."""

    name: str
    """As `slice`, `joint`, `patient`."""
    validation: pd.DataFrame
    """Rows of the validation folds; empty where there are none."""
    training: pd.DataFrame
    """Rows of patients by the networks that were trained on them; empty where nobody asked."""
    folds: pd.Series
    """Test fold by patient."""
    classes: tuple[str, ...]
    """Names, in the order of the labels."""
    settings: EvaluationSettings
    """How to judge."""
    clustered: bool
    """Whether a patient may have several cases."""

    @cached_property
    def thresholds(self) -> dict[str, Any]:
        """Operating points of two classes: `per_fold` and `predict`, see `thresholds`."""
        return choose_thresholds(self.validation, self.folds, self.settings)


@dataclass(frozen=True)
class Cases:
    """Cases of one level in one set of patients: out of fold, or a test set."""

    level: Level
    """Their level."""
    rows: pd.DataFrame
    """Predictions, a row a case."""
    out_of_fold: bool
    """Whether each was judged by the network of its own test fold; else by all together."""

    @property
    def labels(self) -> np.ndarray:
        """Labels [cases]."""
        return self.rows["label"].to_numpy(int)

    @property
    def patients(self) -> np.ndarray:
        """Patient of each [cases]."""
        return self.rows["patient_id"].to_numpy()

    @property
    def probabilities(self) -> np.ndarray:
        """Probabilities [cases, columns]: of two classes one column, that of the second."""
        return self.rows[probability_columns(self.level.classes)].to_numpy()


def of_level(table: pd.DataFrame, level: str) -> pd.DataFrame:
    """Rows of one level; an empty table stays as it is."""
    return table[table["level"] == level].reset_index(drop=True) if len(table) else table
