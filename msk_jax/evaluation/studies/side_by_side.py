"""Several models of the same patients, in several sets: figures, paired tests, decision curves."""

from collections.abc import Mapping
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from msk_jax.evaluation.classes.calibration import calibration_figures
from msk_jax.evaluation.classes.decision_curve import DecisionCurve, decision_curve
from msk_jax.evaluation.classes.roc_comparison import roc_areas
from msk_jax.evaluation.core.figure import to_plain
from msk_jax.evaluation.settings import EvaluationSettings

OUT_OF_FOLD = "out of fold"
"""What the patients of the folds are called among the sets."""
FIGURES = ("auc", "accuracy", "f1", "sensitivity", "specificity")
CALIBRATION = ("slope", "in_the_large", "brier", "log_loss")
_THRESHOLDS = np.arange(1, 20) / 20
_OF_CURVE = ("thresholds", "model", "low", "high", "treat_all")


def side_by_side(
    tables: Mapping[str, Mapping[str, pd.DataFrame]],
    figures: Mapping[str, Mapping[str, Any]],
    settings: EvaluationSettings,
) -> dict[str, Any]:
    """Figures of every model in every set, and what sets the models apart.

    Args:
        tables: by model and set, one row per patient, the same patients in each model.
        figures: by model, a level of `evaluate_classes`.
        settings: confidence and bootstrap.

    Returns:
        `models`: by model and set n, positives, `FIGURES` and `CALIBRATION`; `comparison`: by set
        `tests` (each pair of models: `first`, `second` and the fields of a TestResult, DeLong's for
        paired areas), `decision_curves` by model, and `why` where there are no tests. Sets without
        both classes have figures but neither tests nor calibration.
    """
    sets = [name for name, table in next(iter(tables.values())).items() if len(table)]
    models = {
        model: {name: _figures(table[name], figures[model], name, settings) for name in sets}
        for model, table in tables.items()
    }
    compared = {
        name: _compared({model: table[name] for model, table in tables.items()}, settings)
        for name in sets
    }
    return {"models": models, "comparison": compared}


def _figures(
    rows: pd.DataFrame, level: Mapping[str, Any], name: str, settings: EvaluationSettings
) -> dict[str, Any]:
    found = level if name == OUT_OF_FOLD else level["test_sets"][name]
    kept = {key: found[key] for key in ("n", "positives", *FIGURES)}
    labels, probs = rows["label"].to_numpy(), rows["prob"].to_numpy()
    calibrated = calibration_figures(labels, probs, None, **settings.bootstrap)
    return kept | {key: asdict(calibrated[key]) for key in CALIBRATION}


def _compared(rows: Mapping[str, pd.DataFrame], settings: EvaluationSettings) -> dict[str, Any]:
    """Paired tests and decision curves of several models on one set."""
    first = next(iter(rows.values())).set_index("unit_id")
    labels = first["label"].to_numpy()
    scores = {
        model: table.set_index("unit_id").loc[first.index, "prob"].to_numpy()
        for model, table in rows.items()
    }
    curves = {
        model: _kept(decision_curve(labels, s, thresholds=_THRESHOLDS, **settings.bootstrap))
        for model, s in scores.items()
    }
    result: dict[str, Any] = {"tests": [], "decision_curves": curves, "why": None}
    try:
        areas = roc_areas(labels, np.stack(list(scores.values())))
    except ValueError as error:
        return {**result, "why": str(error)}
    names = list(scores)
    result["tests"] = [
        {"first": names[i], "second": names[j], **asdict(areas.compare(i, j, settings.confidence))}
        for i, j in combinations(range(len(names)), 2)
    ]
    return result


def _kept(curve: DecisionCurve) -> dict[str, list]:
    return {name: to_plain(getattr(curve, name)) for name in _OF_CURVE}
