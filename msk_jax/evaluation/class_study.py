"""From predictions of three or more classes to the figures of a study, as a dict for JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np
import pandas as pd

from msk_jax.evaluation.model_study import ModelSettings, roc_points
from msk_jax.evaluation.multiclass import multiclass_figures
from msk_jax.evaluation.predictions import check_predictions, probability_columns
from msk_jax.evaluation.proportions import clustered_proportion, proportion
from msk_jax.evaluation.study import EvaluationSettings, check_study
from msk_jax.evaluation.subgroups import groups_of

OVERALL = ("accuracy", "macro_auc", "hand_till", "balanced_accuracy", "macro_f1", "kappa")
OF_CLASS = ("sensitivity", "ppv", "f1", "specificity", "auc")


def evaluate_classes(
    predictions: pd.DataFrame,
    validation: pd.DataFrame,
    training: pd.DataFrame,
    test_sets: Mapping[str, pd.DataFrame],
    settings: EvaluationSettings,
    classes: Sequence[str],
    levels: Sequence[str],
) -> dict[str, Any]:
    """All figures of a cross-validated study of several classes, by level.

    The class called is that of the highest probability; there is no operating point to choose.

    Args:
      predictions: out-of-fold predictions of all levels, with a `prob_<class>` column per class.
      validation: predictions of the validation folds.
      training: predictions of each network for the patients that it was trained on.
      test_sets: by name, predictions of the mean of all networks for patients in no fold.
      settings: pooling, confidence and bootstrap.
      classes: names, in the order of the labels.
      levels: names of image, unit and patient.

    Returns:
      A dict of plain Python values: `settings`, `folds`, `classes` and `levels`. A level holds the
      figures of `multiclass_figures` (out of fold), n, patients, counts (cases by class),
      `train_accuracy`, `validation_accuracy` and `test_sets` with the same figures of each.
      Intervals below the level of patients count patients.

    Raises:
      UserError: faulty tables, or folds that overlap.
    """
    predictions, validation = check_study(predictions, validation, levels)
    if len(training):
        training = check_predictions(training, "The training predictions", "validation", levels)
    tested = {
        name: check_predictions(table, f"The predictions of {name}", "test", levels)
        for name, table in test_sets.items()
    }
    found = {}
    for level in levels:
        clustered = level != levels[-1]

        def of(table: pd.DataFrame, level=level) -> pd.DataFrame:
            return table[table["level"] == level] if len(table) else table

        found[level] = {
            **class_figures(of(predictions), classes, settings, clustered),
            "train_accuracy": _accuracy(of(training), classes, settings),
            "validation_accuracy": _accuracy(of(validation), classes, settings),
            "test_sets": {
                name: class_figures(of(table), classes, settings, clustered)
                for name, table in tested.items()
            },
        }
    return {
        "settings": asdict(settings),
        "folds": sorted({int(fold) for fold in predictions["fold"]}),
        "classes": list(classes),
        "levels": found,
    }


def class_figures(
    rows: pd.DataFrame,
    classes: Sequence[str],
    settings: EvaluationSettings | ModelSettings,
    clustered: bool,
) -> dict[str, Any]:
    """Figures of the cases of one level; counting patients where these have several (clustered)."""
    labels = rows["label"].to_numpy()
    about = {
        "n": len(rows),
        "patients": int(rows["patient_id"].nunique()),
        "counts": {name: int((labels == k).sum()) for k, name in enumerate(classes)},
    }
    if not len(rows):
        return about
    figures = multiclass_figures(
        labels,
        rows[probability_columns(classes)].to_numpy(),
        rows["patient_id"].to_numpy() if clustered else None,
        names=classes,
        samples=settings.bootstrap_samples,
        seed=settings.seed,
        confidence=settings.confidence,
    )
    of_class = {
        name: {key: _plain(entry[key]) for key in OF_CLASS}
        | {"roc": roc_points(labels == k, rows[column].to_numpy())}
        for k, ((name, entry), column) in enumerate(
            zip(figures["classes"].items(), probability_columns(classes), strict=True)
        )
    }
    overall = {key: _plain(figures[key]) for key in OVERALL}
    return {**about, **overall, "confusion": figures["confusion"], "of_class": of_class}


def evaluate_class_model(
    cases: pd.DataFrame, classes: Sequence[str], settings: ModelSettings, by: Sequence[str] = ()
) -> dict[str, Any]:
    """All figures of a model of three or more classes, whoever wrote its predictions.

    Args:
      cases: `case_table.read_class_cases`.
      classes: their names, in the order of the labels.
      settings: confidence and bootstrap.
      by: columns whose groups are shown apart.

    Returns:
      `settings`, `classes`, the figures of a level of `evaluate_classes`, and `subgroups`: for each
      column, of each group the same figures.

    Raises:
      UserError: a column that is not there.
    """
    settings.check()
    clustered = bool(cases["patient_id"].duplicated().any())
    apart = {}
    for column in by:
        groups = groups_of(cases, column)
        apart[column] = [
            {"group": name, **class_figures(cases[groups == name], classes, settings, clustered)}
            for name in sorted(groups.unique())
        ]
    figures = class_figures(cases, classes, settings, clustered)
    about = {"settings": asdict(settings), "classes": list(classes)}
    return {**about, **figures, "subgroups": apart}


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
        return _plain(proportion(right.sum(), len(right), confidence=settings.confidence))
    return _plain(clustered_proportion(right, patients, settings.confidence))


def _plain(value: Any) -> Any:
    """Dataclasses and numbers of NumPy as what JSON has."""
    if is_dataclass(value):
        return {key: _plain(entry) for key, entry in asdict(value).items()}
    return value.item() if isinstance(value, np.generic) else value
