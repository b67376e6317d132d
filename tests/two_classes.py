"""A study of two classes for tests that are about its figures, not about how it is asked for."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from msk_jax.evaluation.settings import EvaluationSettings
from msk_jax.evaluation.studies.classes import evaluate_classes
from msk_jax.evaluation.tables.predictions import LEVELS


def judge_two(
    predictions: pd.DataFrame,
    validation: pd.DataFrame,
    settings: EvaluationSettings,
    levels: Sequence[str] = LEVELS,
    test_sets: Mapping[str, pd.DataFrame] | None = None,
) -> dict[str, Any]:
    """As `evaluate_classes`, without predictions of training patients."""
    classes = ("negative", "positive")
    training = predictions.iloc[:0]
    return evaluate_classes(
        predictions, validation, training, test_sets or {}, settings, classes, levels
    )
