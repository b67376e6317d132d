"""Operating points of two classes, chosen on validation predictions and then only applied."""

from typing import Any

import numpy as np
import pandas as pd

from msk_jax.evaluation.classes.binary import (
    confusion,
    threshold_at_sensitivity,
    youden_threshold,
)
from msk_jax.evaluation.settings import EvaluationSettings


def operating_points(
    predictions: pd.DataFrame, validation: pd.DataFrame, settings: EvaluationSettings, level: str
) -> dict[str, Any]:
    """The operating points of one level, without any other figure; see `choose_thresholds`.

    Args:
        predictions: out-of-fold predictions.
        validation: predictions of the validation folds.
        settings: how an operating point is chosen.
        level: whose.

    Returns:
        `per_fold`, a dict for each test fold (`fold`, `threshold`, ...), and `predict`, the one for
        new patients.
    """
    folds = predictions.groupby("patient_id")["fold"].first()
    if len(validation):
        validation = validation[validation["level"] == level]
    return choose_thresholds(validation, folds, settings)


def choose_thresholds(
    validation: pd.DataFrame, folds: pd.Series, settings: EvaluationSettings
) -> dict[str, Any]:
    """The operating point of each test fold, and the one for new patients.

    The operating point of test fold k is chosen on the validation predictions of all patients that
    are not in test fold k: the labels of the cases that are counted are not used to choose the
    threshold that they are counted at. (The validation predictions come from the models of the
    other folds too, whose training saw patients of fold k; only their parameters carry a trace of
    that.) The threshold for new patients is chosen on all validation predictions.

    Args:
        validation: rows of one level.
        folds: test fold by patient.
        settings: how an operating point is chosen.
    """
    per_fold = []
    for fold in sorted({int(value) for value in folds}):
        tested = set(folds.index[folds == fold])
        others = validation[~validation["patient_id"].isin(tested)] if len(validation) else None
        per_fold.append({"fold": fold, **_choose(others, settings)})
    everyone = validation if len(validation) else None
    return {"per_fold": per_fold, "predict": _choose(everyone, settings)}


def _choose(rows: pd.DataFrame | None, settings: EvaluationSettings) -> dict[str, Any]:
    """One operating point, what it gives on the rows it was chosen on, or why there is none."""
    labels = np.zeros(0, int) if rows is None else rows["label"].to_numpy()
    positives = int(labels.sum())
    chosen: dict[str, Any] = {
        "threshold": None,
        "n": len(labels),
        "positives": positives,
        "sensitivity": None,
        "specificity": None,
        "why": None,
    }
    if positives in (0, len(labels)):
        why = (
            "A threshold needs validation cases of both classes; there are "
            f"{positives} positive and {len(labels) - positives} negative ones."
        )
        return {**chosen, "why": why}
    probs = rows["prob"].to_numpy()
    if settings.criterion == "youden":
        threshold = youden_threshold(labels, probs)
    else:
        threshold = threshold_at_sensitivity(labels, probs, settings.target_sensitivity)
    counts = confusion(labels, probs >= threshold)
    return {
        **chosen,
        "threshold": threshold,
        "sensitivity": counts.tp / (counts.tp + counts.fn),
        "specificity": counts.tn / (counts.tn + counts.fp),
    }


def decide(rows: pd.DataFrame, per_fold: list[dict[str, Any]]) -> np.ndarray | str:
    """Called positive [cases], each at the threshold of its own fold; or why nobody is called."""
    of_fold = {entry["fold"]: entry for entry in per_fold}
    # Counting only the folds that have a threshold would be a selection; there is no figure then.
    for fold in sorted(set(rows["fold"])):
        if of_fold[fold]["threshold"] is None:
            return f"Fold {fold} has no operating point. {of_fold[fold]['why']}"
    limits = rows["fold"].map({fold: entry["threshold"] for fold, entry in of_fold.items()})
    return rows["prob"].to_numpy() >= limits.to_numpy(float)
