"""The points of a model's curves as plain lists, for JSON and for its pictures."""

from typing import Any

import numpy as np
from sklearn import metrics

from msk_jax.evaluation.classes.calibration import calibration_bins, calibration_curve
from msk_jax.evaluation.classes.roc import roc_curve
from msk_jax.evaluation.core.figure import to_plain


def roc_points(labels: np.ndarray, scores: np.ndarray) -> dict[str, list] | None:
    """The corners of a ROC curve; None where there is one class only."""
    if len(set(labels)) < 2:
        return None
    fpr, tpr, _ = roc_curve(labels, scores)
    return {"false_positive_rate": fpr.tolist(), "sensitivity": tpr.tolist()}


def mean_roc_points(curves: list[dict[str, list]]) -> dict[str, list]:
    """The mean sensitivity of several ROC curves at 101 rates of false positives.

    Its area is the mean of theirs, but for the grid: at a rate where a curve rises the top counts.
    """
    rates = np.linspace(0.0, 1.0, 101)
    heights = [np.interp(rates, c["false_positive_rate"], c["sensitivity"]) for c in curves]
    return {
        "false_positive_rate": [0.0, *rates.tolist()],
        "sensitivity": [0.0, *np.mean(heights, axis=0).tolist()],
    }


def precision_recall_points(labels: np.ndarray, probs: np.ndarray) -> dict[str, Any] | None:
    """Precision, recall and average precision of scikit-learn; None without a positive case."""
    if not np.any(labels):
        return None
    precision, recall, _ = metrics.precision_recall_curve(labels, probs)
    return {
        "recall": recall.tolist(),
        "precision": precision.tolist(),
        "average_precision": float(metrics.average_precision_score(labels, probs)),
        "prevalence": float(np.mean(labels)),
    }


def calibration_points(
    labels: np.ndarray, probs: np.ndarray, patients: np.ndarray | None, confidence: float
) -> dict[str, Any]:
    """Groups and the flexible curve; the curve is None where it cannot be fitted."""
    curve = calibration_curve(labels, probs, patients, confidence=confidence)
    bins = calibration_bins(labels, probs, 10)
    return {"bins": to_plain(bins), "curve": None if curve is None else to_plain(curve)}
