"""From one table of predictions, or two, to the figures of a model, as a dict for JSON."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from msk_jax.evaluation.agreement import mcnemar
from msk_jax.evaluation.classes.auc_bootstrap import bootstrap_areas
from msk_jax.evaluation.classes.binary import binary_figures, confusion
from msk_jax.evaluation.classes.calibration import calibration_figures
from msk_jax.evaluation.classes.decision_curve import decision_curve
from msk_jax.evaluation.classes.operating_point import (
    Part,
    operating_points,
    parts_of,
    recalibrated,
)
from msk_jax.evaluation.classes.points import (
    calibration_points,
    precision_recall_points,
    roc_points,
)
from msk_jax.evaluation.classes.reclassification import reclassification
from msk_jax.evaluation.classes.roc import Auc, clustered_auc, delong
from msk_jax.evaluation.classes.roc_comparison import permutation_test, roc_areas
from msk_jax.evaluation.core.figure import to_plain
from msk_jax.evaluation.settings import ModelSettings
from msk_jax.evaluation.studies.fairness import fairness_figures
from msk_jax.evaluation.studies.gate import LIMITS, judge
from msk_jax.evaluation.studies.subgroups import UNKNOWN, groups_apart, groups_of
from msk_jax.evaluation.tables.case_table import in_fixed_order, match_cases

_CALIBRATION = ("slope", "intercept", "in_the_large", "brier", "ece", "ece_by_chance")


def evaluate_model(
    cases: pd.DataFrame,
    settings: ModelSettings,
    *,
    other: pd.DataFrame | None = None,
    validation: pd.DataFrame | None = None,
    by: tuple[str, ...] = (),
    decisions: bool = False,
) -> dict[str, Any]:
    """All figures of a two-class model.

    Args:
        cases: case, patient_id, label, prob and other columns (`case_table.read_cases`).
        settings: how to judge.
        other: a second model's predictions of the same cases; the first is compared with it.
        validation: predictions of other patients, on which the operating point is chosen.
        by: columns whose groups are shown apart.
        decisions: whether to add the decision curve.

    Returns:
        A dict of plain Python values: `settings`, `threshold`, `n`, `figures`, `confusion`,
        `roc`, `precision_recall`, `calibration`, with validation cases `recalibration`,
        and, where asked for, `comparison`, `decision_curve`, `subgroups` and
        `fairness`, `gate`. What has no answer is None, with the reason in a `why` beside it.

    Raises:
        UserError: tables that do not fit each other, or a column that is not there.
    """
    settings.check()
    second = None if other is None else match_cases(cases, other, "The second file")
    cases, second = in_fixed_order(cases, second)
    parts, limits, point = _operating_point(cases, validation, settings)
    labels, probs, patients = _arrays(cases)
    called = pd.Series(probs >= limits, cases.index)
    result: dict[str, Any] = {
        "settings": asdict(settings),
        "threshold": point,
        "n": _counts(cases),
        "figures": to_plain(_figures(cases, called, settings)),
        "confusion": asdict(confusion(labels, called.to_numpy())),
        "roc": roc_points(labels, probs),
        "precision_recall": precision_recall_points(labels, probs),
        "calibration": calibration_points(labels, probs, patients, settings.confidence),
    }
    if parts is not None:
        result["recalibration"] = _recalibrated(cases, parts, settings)
    if second is not None:
        result["comparison"] = _comparison(labels, probs, second, patients, limits, settings)
    if decisions:
        curve = decision_curve(labels, probs, patients, other=second, **_options(settings))
        result["decision_curve"] = to_plain(curve)
    if by:
        result["subgroups"] = {name: _subgroups(cases, name, called, settings) for name in by}
        result["fairness"] = {name: _fairness(cases, name, called, settings) for name in by}
    if settings.gate != "none":
        result["gate"] = _gate(result["figures"], cases, settings)
    return result


def _operating_point(
    cases: pd.DataFrame, validation: pd.DataFrame | None, settings: ModelSettings
) -> tuple[list[Part] | None, np.ndarray, dict[str, Any]]:
    """The parts that it was chosen in (None where it was given), the limit of each case [cases],
    and what is told of it."""
    if validation is None:
        given = {"value": settings.threshold, "chosen_on": "given"}
        return None, np.full(len(cases), settings.threshold), given
    parts = parts_of(cases, in_fixed_order(validation)[0])
    return parts, *operating_points(parts, settings.criterion, settings.target)


def _arrays(cases: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Labels, probabilities, and patients where these have several cases."""
    patients = cases["patient_id"].to_numpy() if cases["patient_id"].duplicated().any() else None
    return cases["label"].to_numpy(), cases["prob"].to_numpy(), patients


def _options(settings: ModelSettings) -> dict[str, Any]:
    return {
        "samples": settings.bootstrap_samples,
        "seed": settings.seed,
        "confidence": settings.confidence,
    }


def _counts(cases: pd.DataFrame) -> dict[str, int]:
    positives = int(cases["label"].sum())
    return {
        "cases": len(cases),
        "patients": int(cases["patient_id"].nunique()),
        "positives": positives,
        "negatives": len(cases) - positives,
    }


def _figures(cases: pd.DataFrame, called: pd.Series, settings: ModelSettings) -> dict[str, Any]:
    """AUC, figures of the decision and calibration, counting patients where these have several
    cases. `called` may be of more cases than these."""
    labels, probs, patients = _arrays(cases)
    options = _options(settings)
    area = _area(labels, probs, patients, settings)
    decided = binary_figures(
        labels, called[cases.index].to_numpy(), patients, method=settings.proportions, **options
    )
    calibrated = calibration_figures(labels, probs, patients, **options)
    return {"auc": area, **decided, **{name: calibrated[name] for name in _CALIBRATION}}


def _area(
    labels: np.ndarray, probs: np.ndarray, patients: np.ndarray | None, settings: ModelSettings
) -> Auc:
    if patients is None:
        return delong(labels, probs, settings.confidence)
    return clustered_auc(labels, probs, patients, settings.confidence)


def _recalibrated(
    cases: pd.DataFrame, parts: list[Part], settings: ModelSettings
) -> dict[str, Any]:
    """Platt's map, fitted on the validation cases, and the calibration of the cases through it."""
    try:
        mapped, maps = recalibrated(parts, cases["prob"].to_numpy())
    except ValueError as error:
        return {"method": "platt", "why": str(error)}
    labels, probs, patients = _arrays(cases.assign(prob=mapped))
    figures = calibration_figures(labels, probs, patients, **_options(settings))
    return {
        "method": "platt",
        "why": None,
        **maps,
        "figures": to_plain({name: figures[name] for name in _CALIBRATION}),
        "calibration": calibration_points(labels, probs, patients, settings.confidence),
    }


def _comparison(
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    patients: np.ndarray | None,
    limits: np.ndarray,
    settings: ModelSettings,
) -> dict[str, Any]:
    """The first model against the second, both called by the first one's limits [cases]."""
    options = _options(settings)
    pair = np.stack([first, second])
    right = [(p >= limits) == labels for p in pair]
    result: dict[str, Any] = {
        "roc": roc_points(labels, second),
        "precision_recall": precision_recall_points(labels, second),
    }
    try:
        areas = roc_areas(labels, pair, patients)
    except ValueError as error:
        return {**result, "why": str(error)}
    drawn = bootstrap_areas(labels, pair, patients, **options)
    result["auc"] = [to_plain(_area(labels, probs, patients, settings)) for probs in pair]
    result["auc_difference"] = to_plain(areas.compare(confidence=settings.confidence))
    result["auc_difference_bootstrap"] = asdict(drawn.difference)
    tested = permutation_test(labels, first, second, patients, seed=settings.seed)
    result["permutation"] = asdict(tested)
    result["mcnemar"] = asdict(mcnemar(*right)) if patients is None else None
    moved = reclassification(labels, second, first, None, patients, **options)
    result["reclassification"] = to_plain(moved)
    result["why"] = None
    if patients is not None:
        result["why"] = "McNemar's test takes cases as independent; patients have several here."
    return result


def _subgroups(
    cases: pd.DataFrame, column: str, called: pd.Series, settings: ModelSettings
) -> list[dict[str, Any]]:
    """Figures of each group, and their gaps to all other cases."""
    return [
        {"group": name, "n": _counts(part), "figures": to_plain(own), "gaps": to_plain(gaps)}
        for name, part, own, gaps in groups_apart(
            cases, column, lambda part: _figures(part, called, settings)
        )
    ]


def _fairness(
    cases: pd.DataFrame, column: str, called: pd.Series, settings: ModelSettings
) -> dict[str, Any]:
    """How far apart the groups of a column are called, of the cases whose group is known."""
    groups = groups_of(cases, column)
    cases = cases[groups != UNKNOWN]
    labels, _, patients = _arrays(cases)
    figures = fairness_figures(
        labels,
        called[cases.index].to_numpy(),
        groups[cases.index].to_numpy(),
        patients,
        **_options(settings),
    )
    return to_plain(figures)


def _gate(
    figures: dict[str, Any], cases: pd.DataFrame, settings: ModelSettings
) -> list[dict[str, Any]]:
    positives = int(cases["label"].sum())
    counts = {
        "sensitivity": (positives, "positives"),
        "specificity": (len(cases) - positives, "negatives"),
        "slope": (len(cases), "cases"),
    }
    verdicts = []
    for name, limits in LIMITS[settings.gate].items():
        figure, (n, counted) = figures[name], counts[name]
        verdict = judge(
            name,
            figure["value"],
            figure["low"],
            figure["high"],
            n,
            limits,
            counted=counted,
            proportion=name != "slope" and figure["method"] == "wilson",
            rule=settings.gate_rule,
            confidence=settings.confidence,
            why=figure["why"],
        )
        verdicts.append(to_plain(verdict))
    return verdicts
