"""The operating point of a table of predictions, chosen on other cases than it is used for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from msk_jax.errors import UserError
from msk_jax.evaluation.classes.binary import (
    threshold_at_sensitivity,
    threshold_at_specificity,
    youden_threshold,
)
from msk_jax.evaluation.classes.recalibration import recalibrate
from msk_jax.evaluation.tables.faults import exact_numbers

Criterion = Literal["youden", "sensitivity", "specificity"]


@dataclass(frozen=True)
class Part:
    """Cases that share an operating point, with the cases that it is chosen on."""

    fold: int | None
    """The test fold of the cases; None where there is one part only."""
    cases: np.ndarray
    """Which they are [cases], bool."""
    validation: pd.DataFrame
    """Predictions of other patients."""


def parts_of(cases: pd.DataFrame, validation: pd.DataFrame) -> list[Part]:
    """The cases by what they may be called by.

    Tables of a cross-validation, as a run writes them, hold the same patients: each is tested by
    one model and validates another. So with a column `fold` in both, the cases of a test fold are
    called by the validation predictions of patients outside it, as in
    `thresholds.choose_thresholds`.

    Args:
        cases: case, patient_id, label, prob, and maybe the test `fold`.
        validation: the same, `fold` being the number of the model.

    Raises:
        UserError: patients are in both tables and no folds keep them apart, or a model validated
            on patients whom it is tested on.
    """
    shared = sorted(set(validation["patient_id"]) & set(cases["patient_id"]))
    if not shared:
        return [Part(None, np.ones(len(cases), bool), validation)]
    if "fold" not in cases or "fold" not in validation:
        raise UserError(
            f"{len(shared)} patient(s) are in the validation file and in the predictions (as "
            f"{shared[0]}); an operating point must be chosen on other patients, or, where both "
            "files have a column fold, as those of a run do, on the other folds. (Rows of a file "
            "without patient_id and case are numbered: give both files one of the two.)"
        )
    folds = _folds(cases, "table of predictions")
    tested = pd.Series(folds, index=cases["patient_id"]).groupby(level=0).agg(["min", "max"])
    if (tested["min"] != tested["max"]).any():
        name = tested.index[tested["min"] != tested["max"]][0]
        raise UserError(f"The predictions have patient {name} in two test folds.")
    own = validation["patient_id"].map(tested["min"]).to_numpy()
    leaking = np.flatnonzero(own == _folds(validation, "validation file"))
    if len(leaking):
        raise UserError(
            f"{len(leaking)} row(s) of the validation file are of the model that the predictions "
            f"test on the same patient (as {validation['patient_id'].iloc[leaking[0]]}): column "
            "fold must be the number of the model in one, and of the test fold in the other."
        )
    return [Part(int(fold), folds == fold, validation[own != fold]) for fold in np.unique(folds)]


def operating_points(
    parts: list[Part], criterion: Criterion, target: float
) -> tuple[np.ndarray, dict[str, Any]]:
    """The threshold of each case [cases], and what JSON has of it: `value` (None where each fold
    has one of its own, in `per_fold`) and `chosen_on`.

    Raises:
        UserError: validation cases of one class only.
    """
    values = [_chosen(part, criterion, target) for part in parts]
    limits = _of_cases(parts, lambda part, k: values[k])
    if parts[0].fold is None:
        return limits, {"value": values[0], "chosen_on": "validation"}
    per_fold = [{"fold": p.fold, "value": v} for p, v in zip(parts, values, strict=True)]
    said = {"value": None, "chosen_on": "validation of the other folds", "per_fold": per_fold}
    return limits, said


def recalibrated(parts: list[Part], probs: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """Probabilities [cases] by Platt's map of each part's validation cases, and the maps.

    Raises:
        ValueError: as `recalibration.recalibrate`.
    """
    maps = [
        recalibrate(p.validation["label"].to_numpy(), p.validation["prob"].to_numpy())
        for p in parts
    ]
    mapped = _of_cases(parts, lambda part, k: maps[k](probs[part.cases]))
    lines = [{"intercept": one.x[0], "slope": one.x[1]} for one in maps]
    if parts[0].fold is None:
        return mapped, lines[0]
    per_fold = [{"fold": p.fold, **line} for p, line in zip(parts, lines, strict=True)]
    return mapped, {"intercept": None, "slope": None, "per_fold": per_fold}


def _of_cases(parts: list[Part], value: Callable[[Part, int], Any]) -> np.ndarray:
    """One number for each case [cases], from those of its part."""
    values = np.empty(len(parts[0].cases))
    for k, part in enumerate(parts):
        values[part.cases] = value(part, k)
    return values


def _chosen(part: Part, criterion: Criterion, target: float) -> float:
    labels, probs = part.validation["label"].to_numpy(), part.validation["prob"].to_numpy()
    if len(set(labels)) < 2:
        outside = "" if part.fold is None else f" outside fold {part.fold}"
        raise UserError(
            f"The validation file holds one class only{outside}; a threshold needs both."
        )
    if criterion == "youden":
        return youden_threshold(labels, probs)
    choose = threshold_at_specificity if criterion == "specificity" else threshold_at_sensitivity
    return choose(labels, probs, target)


def _folds(table: pd.DataFrame, where: str) -> np.ndarray:
    folds = exact_numbers(table["fold"])
    if not np.equal(np.mod(folds, 1), 0).all():
        raise UserError(f"The {where} has a column fold that is not whole numbers throughout.")
    return folds.astype(int)
