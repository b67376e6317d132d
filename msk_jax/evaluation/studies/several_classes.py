"""Figures of three and more classes: what each adds to a level, or to a test set.

The class called is that of the highest probability; there is no operating point to choose.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from msk_jax.evaluation.classes.multiclass import (
    multiclass_figures,
    order_figures,
    ordinal_figures,
)
from msk_jax.evaluation.classes.points import roc_points
from msk_jax.evaluation.core.figure import to_plain
from msk_jax.evaluation.core.proportions import clustered_proportion, proportion
from msk_jax.evaluation.settings import EvaluationSettings, ModelSettings
from msk_jax.evaluation.studies.cases import Cases
from msk_jax.evaluation.tables.predictions import probability_columns

OVERALL = ("accuracy", "macro_auc", "hand_till", "balanced_accuracy", "macro_f1", "kappa")
OF_CLASS = ("sensitivity", "ppv", "f1", "specificity", "auc")


def counts(cases: Cases) -> dict[str, Any]:
    """n, patients, and `counts` by class."""
    return counts_of(cases.rows, cases.level.classes)


def calls(cases: Cases) -> dict[str, Any]:
    """`OVERALL`, `confusion` and `of_class`, see `call_figures`."""
    if not len(cases.rows):
        return {}
    level = cases.level
    return call_figures(cases.rows, level.classes, level.settings, level.clustered)


def order(cases: Cases) -> dict[str, Any]:
    """`ordinal` and `cuts` of classes that have an order, see `order_of`."""
    if not len(cases.rows):
        return {}
    level = cases.level
    return order_of(cases.rows, level.classes, level.settings, level.clustered)


def accuracies(cases: Cases) -> dict[str, Any]:
    """`train_accuracy` and `validation_accuracy`, of patients that had a part in the training."""
    level = cases.level
    return {
        "train_accuracy": _accuracy(level.training, level.classes, level.settings),
        "validation_accuracy": _accuracy(level.validation, level.classes, level.settings),
    }


def counts_of(rows: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """n, patients, and `counts` by class."""
    labels = rows["label"].to_numpy()
    return {
        "n": len(rows),
        "patients": int(rows["patient_id"].nunique()),
        "counts": {name: int((labels == k).sum()) for k, name in enumerate(classes)},
    }


def call_figures(
    rows: pd.DataFrame,
    classes: Sequence[str],
    settings: EvaluationSettings | ModelSettings,
    clustered: bool,
) -> dict[str, Any]:
    """`OVERALL`, `confusion`, and `of_class`: of each class `OF_CLASS` and its ROC curve.

    Intervals count patients where these have several cases (clustered).
    """
    figures = all_figures(rows, classes, settings, clustered)
    labels, columns = rows["label"].to_numpy(), probability_columns(classes)
    of_class = {
        name: {key: to_plain(entry[key]) for key in OF_CLASS}
        | {"roc": roc_points(labels == k, rows[columns[k]].to_numpy())}
        for k, (name, entry) in enumerate(figures["classes"].items())
    }
    overall = {key: to_plain(figures[key]) for key in OVERALL}
    return {**overall, "confusion": figures["confusion"], "of_class": of_class}


def all_figures(
    rows: pd.DataFrame,
    classes: Sequence[str],
    settings: EvaluationSettings | ModelSettings,
    clustered: bool,
) -> Mapping[str, Any]:
    """As `multiclass_figures`."""
    return multiclass_figures(
        rows["label"].to_numpy(),
        rows[probability_columns(classes)].to_numpy(),
        rows["patient_id"].to_numpy() if clustered else None,
        names=classes,
        samples=settings.bootstrap_samples,
        seed=settings.seed,
        confidence=settings.confidence,
    )


def order_of(
    rows: pd.DataFrame,
    classes: Sequence[str],
    settings: EvaluationSettings | ModelSettings,
    clustered: bool,
) -> dict[str, Any]:
    """How far calls are off, by classes in the order of their columns, and each cut of them.

    `ordinal` holds the figures of `ordinal_figures` and `ordinal_c`; `cuts`, by class but the
    first, `auc` and `roc` of "this or higher".
    """
    labels, probs = rows["label"].to_numpy(), rows[probability_columns(classes)].to_numpy()
    patients = rows["patient_id"].to_numpy() if clustered else None
    options = {"samples": settings.bootstrap_samples, "seed": settings.seed}
    options["confidence"] = settings.confidence
    figures = ordinal_figures(labels, probs.argmax(axis=1), len(classes), patients, **options)
    ordinal_c, areas = order_figures(labels, probs, patients, **options)
    cuts = {
        name: {"auc": to_plain(area), "roc": roc_points(labels >= k, probs[:, k:].sum(axis=1))}
        for k, (name, area) in enumerate(zip(classes[1:], areas, strict=True), start=1)
    }
    return {"ordinal": to_plain({**figures, "ordinal_c": ordinal_c}), "cuts": cuts}


def _accuracy(
    rows: pd.DataFrame, classes: Sequence[str], settings: EvaluationSettings
) -> dict[str, Any] | None:
    """Share of cases called rightly; None where there are none. Its interval counts patients."""
    if not len(rows):
        return None
    called = rows[probability_columns(classes)].to_numpy().argmax(axis=1)
    right = called == rows["label"].to_numpy()
    patients = rows["patient_id"].to_numpy()
    if len(set(patients)) == len(right):
        return to_plain(proportion(right.sum(), len(right), confidence=settings.confidence))
    return to_plain(clustered_proportion(right, patients, settings.confidence))
