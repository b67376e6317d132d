"""From predictions of three or more classes to the figures of a study, as a dict for JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from msk_jax.evaluation.classes.calibration import calibration_figures
from msk_jax.evaluation.classes.multiclass import (
    multiclass_figures,
    order_figures,
    ordinal_figures,
)
from msk_jax.evaluation.classes.points import calibration_points, roc_points
from msk_jax.evaluation.core.figure import to_plain
from msk_jax.evaluation.core.proportions import clustered_proportion, proportion
from msk_jax.evaluation.settings import EvaluationSettings, ModelSettings
from msk_jax.evaluation.studies.study import check_study
from msk_jax.evaluation.studies.subgroups import groups_apart
from msk_jax.evaluation.tables.case_table import in_fixed_order
from msk_jax.evaluation.tables.predictions import check_predictions, probability_columns

OVERALL = ("accuracy", "macro_auc", "hand_till", "balanced_accuracy", "macro_f1", "kappa")
CALIBRATION = ("slope", "in_the_large", "brier", "ece", "ece_by_chance")
OF_CLASS = ("sensitivity", "ppv", "f1", "specificity", "auc")


def evaluate_classes(
    predictions: pd.DataFrame,
    validation: pd.DataFrame,
    training: pd.DataFrame,
    test_sets: Mapping[str, pd.DataFrame],
    settings: EvaluationSettings,
    classes: Sequence[str],
    levels: Sequence[str],
    ordinal: bool = False,
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
        ordinal: whether the classes have an order.

    Returns:
        A dict of plain Python values: `settings`, `folds`, `classes` and `levels`. A level holds
            its
        `class_figures` (out of fold), `train_accuracy`, `validation_accuracy` and `test_sets`, with
        `class_figures` of each. Intervals below the level of patients count patients.

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
            **class_figures(of(predictions), classes, settings, clustered, ordinal),
            "train_accuracy": _accuracy(of(training), classes, settings),
            "validation_accuracy": _accuracy(of(validation), classes, settings),
            "test_sets": {
                name: class_figures(of(table), classes, settings, clustered, ordinal)
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
    ordinal: bool = False,
) -> dict[str, Any]:
    """Figures of the cases of one level; counting patients where these have several (clustered).

    Of classes that have an order also `ordinal`, the figures of `ordinal_figures` and `ordinal_c`,
    and `cuts`: by class but the first, `auc` and `roc` of "this or higher".
    """
    figures = _about(rows, classes)
    if not len(rows):
        return figures
    figures |= _shown(rows, classes, _found(rows, classes, settings, clustered))
    return figures | (_ordinal(rows, classes, settings, clustered) if ordinal else {})


def _about(rows: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    labels = rows["label"].to_numpy()
    return {
        "n": len(rows),
        "patients": int(rows["patient_id"].nunique()),
        "counts": {name: int((labels == k).sum()) for k, name in enumerate(classes)},
    }


def _found(
    rows: pd.DataFrame,
    classes: Sequence[str],
    settings: EvaluationSettings | ModelSettings,
    clustered: bool,
) -> dict[str, Any]:
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


def _shown(
    rows: pd.DataFrame, classes: Sequence[str], figures: Mapping[str, Any]
) -> dict[str, Any]:
    """What of these figures is kept, with the ROC curve of each class."""
    labels = rows["label"].to_numpy()
    columns = probability_columns(classes)
    of_class = {
        name: {key: to_plain(entry[key]) for key in OF_CLASS}
        | {"roc": roc_points(labels == k, rows[columns[k]].to_numpy())}
        for k, (name, entry) in enumerate(figures["classes"].items())
    }
    overall = {key: to_plain(figures[key]) for key in OVERALL}
    return {**overall, "confusion": figures["confusion"], "of_class": of_class}


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
        `settings`, `classes`, the figures of a level of `evaluate_classes`, `calibration` of each
        class against the rest, `ordinal` and `cuts` where asked for, and `subgroups`: for each
        column, of each group the same figures (no curves), and `gaps` and `gaps_of_class`, to all
        other cases.

    Raises:
        UserError: a column that is not there.
    """
    settings.check()
    cases, _ = in_fixed_order(cases)
    clustered = bool(cases["patient_id"].duplicated().any())

    def found(part: pd.DataFrame) -> dict[str, Any]:
        figures = _found(part, classes, settings, clustered)
        flat = {key: figures[key] for key in OVERALL}
        for name, entry in figures["classes"].items():
            flat |= {(name, key): entry[key] for key in OF_CLASS}
        return flat

    apart = {
        column: [_group(*row, classes) for row in groups_apart(cases, column, found)]
        for column in by
    }
    return {
        "settings": asdict(settings),
        "classes": list(classes),
        **class_figures(cases, classes, settings, clustered, settings.ordinal),
        "calibration": _calibration(cases, classes, settings, clustered),
        "subgroups": apart,
    }


def _ordinal(
    cases: pd.DataFrame,
    classes: Sequence[str],
    settings: EvaluationSettings | ModelSettings,
    clustered: bool,
) -> dict[str, Any]:
    """How far the calls are off, by classes in the order of their columns, and each cut of them."""
    labels, probs = cases["label"].to_numpy(), cases[probability_columns(classes)].to_numpy()
    patients = cases["patient_id"].to_numpy() if clustered else None
    options = {"samples": settings.bootstrap_samples, "seed": settings.seed}
    options["confidence"] = settings.confidence
    figures = ordinal_figures(labels, probs.argmax(axis=1), len(classes), patients, **options)
    ordinal_c, areas = order_figures(labels, probs, patients, **options)
    cuts = {
        name: {"auc": to_plain(area), "roc": roc_points(labels >= k, probs[:, k:].sum(axis=1))}
        for k, (name, area) in enumerate(zip(classes[1:], areas, strict=True), start=1)
    }
    return {"ordinal": to_plain({**figures, "ordinal_c": ordinal_c}), "cuts": cuts}


def _calibration(
    cases: pd.DataFrame, classes: Sequence[str], settings: ModelSettings, clustered: bool
) -> dict[str, Any]:
    """Slope, groups and curve of each class against the rest."""
    patients = cases["patient_id"].to_numpy() if clustered else None
    options = {"samples": settings.bootstrap_samples, "seed": settings.seed}
    found = {}
    for k, (name, column) in enumerate(zip(classes, probability_columns(classes), strict=True)):
        labels, probs = (cases["label"] == k).to_numpy(), cases[column].to_numpy()
        figures = calibration_figures(
            labels, probs, patients, confidence=settings.confidence, **options
        )
        found[name] = {
            **{key: to_plain(figures[key]) for key in CALIBRATION},
            **calibration_points(labels, probs, patients, settings.confidence),
        }
    return found


def _group(
    name: str,
    part: pd.DataFrame,
    own: Mapping[Any, Any],
    gaps: Mapping[Any, Any],
    classes: Sequence[str],
) -> dict[str, Any]:
    """One group's figures, and their gaps to all other cases, overall and of each class."""

    def of_classes(flat: Mapping[Any, Any]) -> dict[str, Any]:
        return {c: {key: to_plain(flat[c, key]) for key in OF_CLASS} for c in classes}

    return {
        "group": name,
        **_about(part, classes),
        **{key: to_plain(own[key]) for key in OVERALL},
        "of_class": of_classes(own),
        "gaps": {key: to_plain(gaps[key]) for key in OVERALL},
        "gaps_of_class": of_classes(gaps),
    }


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
