"""From out-of-fold predictions to the figures of a study, as a dict that goes into JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from msk_jax.errors import UserError
from msk_jax.evaluation.classes.binary import (
    binary_figures,
    confusion,
    threshold_at_sensitivity,
    youden_threshold,
)
from msk_jax.evaluation.classes.roc import Auc, clustered_auc, delong, roc_band, roc_curve
from msk_jax.evaluation.settings import EvaluationSettings
from msk_jax.evaluation.tables.predictions import LEVELS, check_predictions


def evaluate_study(
    predictions: pd.DataFrame,
    validation: pd.DataFrame,
    settings: EvaluationSettings,
    levels: Sequence[str] = LEVELS,
    test_sets: Mapping[str, pd.DataFrame] | None = None,
) -> dict[str, Any]:
    """All figures of a cross-validated two-class study, by level.

    The operating point of test fold k is chosen on the validation predictions of all patients that
    are not in test fold k, and then only applied to test fold k: the labels of the cases that are
    counted are not used to choose the threshold that they are counted at. (The validation
    predictions come from the models of the other folds too, whose training saw patients of fold
    k; only their parameters carry a trace of that.) The threshold for new patients is chosen on
    all validation predictions.

    Args:
        predictions: out-of-fold predictions (`read_predictions(..., "test")`), levels as they are.
        validation: predictions of the validation folds (`read_predictions(..., "validation")`).
        settings: how to judge.
        levels: names of image, unit and patient.
        test_sets: by name, predictions of the mean of all networks for patients in no fold; they
            are called by the threshold for new patients.

    Returns:
        A dict of plain Python values: `settings`, `folds` and `levels`, where a level that has rows
        holds n, positives, negatives, patients, auc, auc_by_fold, sensitivity, specificity, ppv,
        npv, accuracy, balanced_accuracy, f1, mcc, confusion, thresholds (per_fold, predict), roc
        (false_positive_rate, sensitivity, band), `why`, and under `test_sets` the same of each as
        far as it does not speak of folds, thresholds and curves; figures below patients carry their
        patient-clustered interval under `clustered`. What has no answer is None, with the reason in
        a `why` beside it.

    Raises:
        UserError: faulty tables; a patient in two test folds; a validation row whose model was to
            be tested on the same patient.
    """
    predictions, validation = check_study(predictions, validation, levels)
    tested = {
        name: check_predictions(table, f"The predictions of {name}", "test", levels)
        for name, table in (test_sets or {}).items()
    }
    folds = predictions.groupby("patient_id")["fold"].first()
    figures = {}
    for level in levels:
        clustered = level != levels[-1]
        of_level = _level(level, predictions, validation, folds, settings, clustered)
        point = of_level["thresholds"]["predict"]
        of_level["test_sets"] = {
            name: _test_set(table[table["level"] == level], point, settings, clustered)
            for name, table in tested.items()
        }
        figures[level] = of_level
    return {
        "settings": asdict(settings),
        "folds": sorted({int(fold) for fold in folds}),
        "levels": figures,
    }


def check_study(
    predictions: pd.DataFrame, validation: pd.DataFrame, levels: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables with proper types.

    Raises:
        UserError: faulty tables; a patient in two test folds; a validation row whose model was to
            be tested on the same patient.
    """
    predictions = check_predictions(predictions, "The table of predictions", "test", levels)
    if not len(validation):
        return predictions, validation
    validation = check_predictions(
        validation, "The table of validation predictions", "validation", levels
    )
    folds = predictions.groupby("patient_id")["fold"].first()
    tested_in = validation["patient_id"].map(folds)
    leak = validation[tested_in == validation["fold"]]
    if len(leak):
        row = leak.iloc[0]
        raise UserError(
            f"Validation predictions of fold {row['fold']} hold patient {row['patient_id']}, "
            f"who is in test fold {row['fold']}: the folds overlap. Build the cohort anew."
        )
    return predictions, validation


def _level(
    level: str,
    predictions: pd.DataFrame,
    validation: pd.DataFrame,
    folds: pd.Series,
    settings: EvaluationSettings,
    clustered: bool,
) -> dict[str, Any]:
    """All figures of one level; `clustered`: a patient may have several cases."""
    rows = predictions[predictions["level"] == level].reset_index(drop=True)
    if len(validation):
        validation = validation[validation["level"] == level]
    labels, result = rows["label"].to_numpy(int), _counts(rows)
    thresholds = _thresholds(validation, folds, settings)
    if not len(rows):
        why = f"There are no predictions of level {level}."
        return {**result, "why": why, "auc": None, "roc": None, "thresholds": thresholds}
    probs, patients = rows["prob"].to_numpy(), rows["patient_id"].to_numpy()
    options = settings.bootstrap
    auc = _auc(labels, probs, patients, settings, clustered)
    result["auc"] = asdict(auc)
    result["auc_by_fold"] = _auc_by_fold(rows)
    result["roc"] = _roc(labels, probs, patients, options) if auc.value is not None else None
    decision = _decide(rows, thresholds["per_fold"])
    if isinstance(decision, str):
        result["why"] = decision
        decision = None
    result.update(_decision_figures(clustered, labels, decision, patients, options, result["why"]))
    result["thresholds"] = thresholds
    return result


def _test_set(
    rows: pd.DataFrame, point: dict[str, Any], settings: EvaluationSettings, clustered: bool
) -> dict[str, Any]:
    """Figures of patients in no fold at one level, called by one operating point."""
    labels, result = rows["label"].to_numpy(int), _counts(rows)
    if not len(rows):
        return {**result, "why": "There are no predictions."}
    probs, patients = rows["prob"].to_numpy(), rows["patient_id"].to_numpy()
    called = None if point["threshold"] is None else probs >= point["threshold"]
    figures = _decision_figures(
        clustered, labels, called, patients, settings.bootstrap, point["why"]
    )
    return {**result, "auc": asdict(_auc(labels, probs, patients, settings, clustered)), **figures}


def _counts(rows: pd.DataFrame) -> dict[str, Any]:
    labels = rows["label"].to_numpy(int)
    return {
        "n": len(rows),
        "positives": int(labels.sum()),
        "negatives": int((labels == 0).sum()),
        "patients": int(rows["patient_id"].nunique()),
        "why": None,
    }


def _auc(
    labels: np.ndarray,
    probs: np.ndarray,
    patients: np.ndarray,
    settings: EvaluationSettings,
    clustered: bool,
) -> Auc:
    if clustered:
        return clustered_auc(labels, probs, patients, settings.confidence)
    return delong(labels, probs, settings.confidence)


def operating_points(
    predictions: pd.DataFrame, validation: pd.DataFrame, settings: EvaluationSettings, level: str
) -> dict[str, Any]:
    """The operating points of one level, without any other figure; see `evaluate_study`.

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
    return _thresholds(validation, folds, settings)


def _thresholds(
    validation: pd.DataFrame, folds: pd.Series, settings: EvaluationSettings
) -> dict[str, Any]:
    """The operating point of each test fold, and the one for new patients."""
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


def _decide(rows: pd.DataFrame, per_fold: list[dict[str, Any]]) -> np.ndarray | str:
    """Called positive [units], each at the threshold of its own fold; or why nobody is called."""
    of_fold = {entry["fold"]: entry for entry in per_fold}
    # Counting only the folds that have a threshold would be a selection; there is no figure then.
    for fold in sorted(set(rows["fold"])):
        if of_fold[fold]["threshold"] is None:
            return f"Fold {fold} has no operating point. {of_fold[fold]['why']}"
    limits = rows["fold"].map({fold: entry["threshold"] for fold, entry in of_fold.items()})
    return rows["prob"].to_numpy() >= limits.to_numpy(float)


def _decision_figures(
    clustered: bool,
    labels: np.ndarray,
    called: np.ndarray | None,
    patients: np.ndarray,
    options: dict[str, Any],
    why: str | None,
) -> dict[str, Any]:
    """Confusion counts and figures, with the clustered interval below patient level."""
    names = (
        "sensitivity",
        "specificity",
        "ppv",
        "npv",
        "accuracy",
        "balanced_accuracy",
        "f1",
        "mcc",
    )
    if called is None:
        empty = {"value": None, "low": None, "high": None, "method": None, "why": why}
        return {"confusion": None, **{name: {**empty, "clustered": None} for name in names}}
    plain = binary_figures(labels, called, **options)
    by_patient = binary_figures(labels, called, patients, **options) if clustered else None
    figures: dict[str, Any] = {"confusion": asdict(confusion(labels, called))}
    for name in names:
        figures[name] = asdict(plain[name])
        figures[name]["clustered"] = None
        if by_patient is not None:
            other = asdict(by_patient[name])
            figures[name]["clustered"] = {
                key: other[key] for key in ("low", "high", "method", "why")
            }
    return figures


def _auc_by_fold(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Area within each test fold: free of differences in scale between the folds' models."""
    areas = []
    for fold, group in rows.groupby("fold"):
        area = delong(group["label"].to_numpy(), group["prob"].to_numpy())
        # The interval of a fold is left out: below patient level it would count units as patients.
        why = area.why if area.value is None else None
        areas.append({"fold": int(fold), "value": area.value, "n": len(group), "why": why})
    return areas


def _roc(
    labels: np.ndarray, probs: np.ndarray, patients: np.ndarray, options: dict[str, Any]
) -> dict[str, Any]:
    """Points of the curve, and its pointwise band, which is None with fewer than two patients."""
    fpr, tpr, _ = roc_curve(labels, probs)
    curve = {"false_positive_rate": fpr.tolist(), "sensitivity": tpr.tolist(), "band": None}
    if len(set(patients)) > 1:
        band = roc_band(labels, probs, patients, **options)
        if np.isfinite(band.low).all():
            curve["band"] = {key: value.tolist() for key, value in asdict(band).items()}
    return curve
