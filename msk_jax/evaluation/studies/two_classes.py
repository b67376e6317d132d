"""Figures of two classes, called by a threshold: what each adds to a level, or to a test set."""

from dataclasses import asdict
from typing import Any

import numpy as np

from msk_jax.evaluation.classes.binary import binary_figures, confusion
from msk_jax.evaluation.classes.roc import clustered_auc, delong, roc_band, roc_curve
from msk_jax.evaluation.studies.cases import Cases
from msk_jax.evaluation.studies.thresholds import decide

DECISIONS = (
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "accuracy",
    "balanced_accuracy",
    "f1",
    "mcc",
)
"""Figures of what was called."""


def counts(cases: Cases) -> dict[str, Any]:
    """n, positives, negatives, patients, and `why` there is nothing else."""
    labels = cases.labels
    return {
        "n": len(labels),
        "positives": int(labels.sum()),
        "negatives": int((labels == 0).sum()),
        "patients": int(cases.rows["patient_id"].nunique()),
        "why": None if len(labels) else "There are no predictions.",
    }


def area(cases: Cases) -> dict[str, Any]:
    """`auc`: DeLong's, or Obuchowski's where patients have several cases."""
    if not len(cases.rows):
        return {}
    labels, probs, confidence = cases.labels, _probs(cases), cases.level.settings.confidence
    if cases.level.clustered:
        return {"auc": asdict(clustered_auc(labels, probs, cases.patients, confidence))}
    return {"auc": asdict(delong(labels, probs, confidence))}


def curve(cases: Cases) -> dict[str, Any]:
    """`auc_by_fold`, free of differences in scale between the folds' models, and `roc`: points of
    the curve with a pointwise band, None without both classes."""
    if not len(cases.rows):
        return {"auc": None, "roc": None}
    areas = []
    for fold, group in cases.rows.groupby("fold"):
        of_fold = delong(group["label"].to_numpy(), group["prob"].to_numpy())
        # The interval of a fold is left out: below patient level it would count units as patients.
        why = of_fold.why if of_fold.value is None else None
        areas.append({"fold": int(fold), "value": of_fold.value, "n": len(group), "why": why})
    both_classes = len(set(cases.labels)) == 2
    return {"auc_by_fold": areas, "roc": _roc(cases) if both_classes else None}


def _roc(cases: Cases) -> dict[str, Any]:
    """Points of the curve, and its pointwise band, which is None with fewer than two patients."""
    labels, probs, patients = cases.labels, _probs(cases), cases.patients
    fpr, tpr, _ = roc_curve(labels, probs)
    points = {"false_positive_rate": fpr.tolist(), "sensitivity": tpr.tolist(), "band": None}
    if len(set(patients)) > 1:
        band = roc_band(labels, probs, patients, **cases.level.settings.bootstrap)
        if np.isfinite(band.low).all():
            points["band"] = {key: value.tolist() for key, value in asdict(band).items()}
    return points


def decisions(cases: Cases) -> dict[str, Any]:
    """`confusion` and `DECISIONS`; below patient level with the clustered interval beside."""
    if not len(cases.rows):
        return {}
    called = _called(cases)
    if isinstance(called, str):
        empty = {"value": None, "low": None, "high": None, "method": None, "why": called}
        return {"confusion": None, **{name: {**empty, "clustered": None} for name in DECISIONS}}
    labels, options = cases.labels, cases.level.settings.bootstrap
    plain = binary_figures(labels, called, **options)
    by_patient = None
    if cases.level.clustered:
        by_patient = binary_figures(labels, called, cases.patients, **options)
    figures: dict[str, Any] = {"confusion": asdict(confusion(labels, called))}
    for name in DECISIONS:
        figures[name] = asdict(plain[name])
        figures[name]["clustered"] = None
        if by_patient is not None:
            other = asdict(by_patient[name])
            figures[name]["clustered"] = {
                key: other[key] for key in ("low", "high", "method", "why")
            }
    return figures


def operating_points(cases: Cases) -> dict[str, Any]:
    """`thresholds`, and `why` nobody is called."""
    why = None
    if not len(cases.rows):
        why = f"There are no predictions of level {cases.level.name}."
    elif isinstance(called := _called(cases), str):
        why = called
    return {"why": why, "thresholds": cases.level.thresholds}


def _probs(cases: Cases) -> np.ndarray:
    return cases.probabilities[:, 0]


def _called(cases: Cases) -> np.ndarray | str:
    """Called positive [cases]: out of fold each at the threshold of its fold, else all at the one
    for new patients; or why nobody is called."""
    points = cases.level.thresholds
    if cases.out_of_fold:
        return decide(cases.rows, points["per_fold"])
    point = points["predict"]
    return point["why"] if point["threshold"] is None else _probs(cases) >= point["threshold"]
