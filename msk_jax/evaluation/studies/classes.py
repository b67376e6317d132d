"""From predictions of any number of classes to the figures of a study, as a dict for JSON."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from msk_jax.errors import UserError
from msk_jax.evaluation.settings import EvaluationSettings
from msk_jax.evaluation.studies.cases import Cases, Level, of_level
from msk_jax.evaluation.studies.kinds import Part, kind_of
from msk_jax.evaluation.tables.predictions import LEVELS, check_predictions


def evaluate_classes(
    predictions: pd.DataFrame,
    validation: pd.DataFrame,
    training: pd.DataFrame,
    test_sets: Mapping[str, pd.DataFrame],
    settings: EvaluationSettings,
    classes: Sequence[str],
    levels: Sequence[str] = LEVELS,
    ordinal: bool = False,
) -> dict[str, Any]:
    """All figures of a cross-validated study of two or more classes, by level.

    Which figures a level holds follows from `kinds.kind_of(classes, ordinal)`. Of two classes cases
    are called by an operating point that their labels had no part in
    (`thresholds.choose_thresholds`); of three and more the most probable is called.

    Args:
        predictions: out-of-fold predictions of all levels; of two classes with the column `prob`,
            of more with a `prob_<class>` column per class.
        validation: predictions of the validation folds.
        training: predictions of each network for the patients that it was trained on; may be empty.
        test_sets: by name, predictions of the mean of all networks for patients in no fold; two
            classes are called by the threshold for new patients.
        settings: how to judge.
        classes: names, in the order of the labels.
        levels: names of image, unit and patient.
        ordinal: whether three or more classes have an order.

    Returns:
        A dict of plain Python values: `settings`, `folds`, of three and more classes `classes`, and
        `levels`, where a level holds the figures of its kind and under `test_sets` those of each
        set. Figures below patients carry an interval that counts patients: of two classes under
        `clustered`, of more it is the only one. What has no answer is None, with the reason in a
        `why` beside it.

        Of two classes: n, positives, negatives, patients, why, auc, auc_by_fold, roc
        (false_positive_rate, sensitivity, band), `two_classes.DECISIONS`, confusion, and thresholds
        (per_fold, predict). Of more: n, patients, counts, `several_classes.OVERALL`, confusion,
        of_class, of an order ordinal and cuts, train_accuracy and validation_accuracy.

    Raises:
        UserError: faulty tables; a patient in two test folds; a validation row whose model was to
            be tested on the same patient.
    """
    predictions, validation = check_study(predictions, validation, levels)
    if len(training):
        training = check_predictions(training, "The training predictions", "validation", levels)
    tested = {
        name: check_predictions(table, f"The predictions of {name}", "test", levels)
        for name, table in test_sets.items()
    }
    folds = predictions.groupby("patient_id")["fold"].first()
    kind = kind_of(classes, ordinal)
    figures = {}
    for name in levels:
        level = Level(
            name=name,
            validation=of_level(validation, name),
            training=of_level(training, name),
            folds=folds,
            classes=tuple(classes),
            settings=settings,
            clustered=name != levels[-1],
        )
        figures[name] = _gather(kind.out_of_fold, Cases(level, of_level(predictions, name), True))
        figures[name]["test_sets"] = {
            where: _gather(kind.test_set, Cases(level, of_level(table, name), False))
            for where, table in tested.items()
        }
    return {
        "settings": asdict(settings),
        "folds": sorted({int(fold) for fold in folds}),
        **({"classes": list(classes)} if kind.names_classes else {}),
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


def _gather(parts: Iterable[Part], cases: Cases) -> dict[str, Any]:
    """Figures of all parts, each name where it came first."""
    figures: dict[str, Any] = {}
    for part in parts:
        figures |= part(cases)
    return figures
