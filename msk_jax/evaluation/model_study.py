"""From one table of predictions, or two, to the figures of a model, as a dict for JSON."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from msk_jax.config import check_limits
from msk_jax.errors import UserError
from msk_jax.evaluation.agreement import mcnemar
from msk_jax.evaluation.auc_bootstrap import bootstrap_areas
from msk_jax.evaluation.binary import (
    binary_figures,
    confusion,
    threshold_at_sensitivity,
    threshold_at_specificity,
    youden_threshold,
)
from msk_jax.evaluation.calibration import calibration_bins, calibration_curve, calibration_figures
from msk_jax.evaluation.case_table import match_cases
from msk_jax.evaluation.decision_curve import decision_curve
from msk_jax.evaluation.figure import missing
from msk_jax.evaluation.gate import LIMITS, judge
from msk_jax.evaluation.reclassification import reclassification
from msk_jax.evaluation.roc import clustered_auc, delong, roc_curve
from msk_jax.evaluation.roc_comparison import permutation_test, roc_areas
from msk_jax.evaluation.subgroups import gap, groups_of

_CALIBRATION = ("slope", "intercept", "in_the_large", "brier", "ece")


@dataclass(frozen=True)
class ModelSettings:
    """How a table of predictions is judged."""

    threshold: float = 0.5
    """A probability of at least this is a call of positive, unless --validation chooses it."""
    criterion: Literal["youden", "sensitivity", "specificity"] = "youden"
    """What the operating point is chosen by on the cases of --validation."""
    target: float = 0.95
    """The sensitivity or specificity to reach there."""
    gate: Literal["none", "early", "staging"] = "none"
    """Judge by the limits of this task: early diagnosis, or staging and prognosis."""
    confidence: float = 0.95
    """Of every interval."""
    bootstrap_samples: int = 2000
    """Samples of every bootstrap over patients."""
    seed: int = 0
    """Of every bootstrap."""

    def check(self) -> None:
        """Raises UserError where a field cannot be what it is."""
        check_limits(
            self,
            threshold=(0, 1),
            target=(0.01, 1),
            confidence=(0.5, 0.9999),
            bootstrap_samples=(2, 1_000_000),
            seed=(0, 2**31 - 1),
        )


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
      A dict of plain Python values: `settings`, `threshold`, `n`, `figures`, `roc`, `calibration`,
      and, where asked for, `comparison`, `decision_curve`, `subgroups`, `gate`. What has no
      answer is None, with the reason in a `why` beside it.

    Raises:
      UserError: tables that do not fit each other, or a column that is not there.
    """
    settings.check()
    threshold, chosen_on = _threshold(cases, validation, settings)
    labels, probs = cases["label"].to_numpy(), cases["prob"].to_numpy()
    patients = cases["patient_id"].to_numpy() if cases["patient_id"].duplicated().any() else None
    options = _options(settings)
    result: dict[str, Any] = {
        "settings": asdict(settings),
        "threshold": {"value": threshold, "chosen_on": chosen_on},
        "n": _counts(cases),
        "figures": _plain(_figures(cases, threshold, settings)),
        "confusion": asdict(confusion(labels, probs >= threshold)),
        "roc": roc_points(labels, probs),
        "calibration": _calibration(labels, probs, patients, settings),
    }
    second = None
    if other is not None:
        second = match_cases(cases, other, "The second file")
        result["comparison"] = _comparison(labels, probs, second, patients, threshold, settings)
    if decisions:
        curve = decision_curve(labels, probs, patients, other=second, **options)
        result["decision_curve"] = _lists(curve)
    if by:
        result["subgroups"] = {name: _subgroups(cases, name, threshold, settings) for name in by}
    if settings.gate != "none":
        result["gate"] = _gate(result["figures"], cases, settings)
    return result


def _options(settings: ModelSettings) -> dict[str, Any]:
    return {
        "samples": settings.bootstrap_samples,
        "seed": settings.seed,
        "confidence": settings.confidence,
    }


def _threshold(
    cases: pd.DataFrame, validation: pd.DataFrame | None, settings: ModelSettings
) -> tuple[float, str]:
    """The operating point, and what it was chosen on."""
    if validation is None:
        return settings.threshold, "given"
    shared = set(validation["patient_id"]) & set(cases["patient_id"])
    if shared:
        raise UserError(
            f"{len(shared)} patient(s) are in the validation file and in the predictions (as "
            f"{sorted(shared)[0]}); an operating point must be chosen on other patients. (Rows of "
            "a file without patient_id and case are numbered: give both files one of the two.)"
        )
    labels, probs = validation["label"].to_numpy(), validation["prob"].to_numpy()
    if len(set(labels)) < 2:
        raise UserError("The validation file holds one class only; a threshold needs both.")
    if settings.criterion == "youden":
        return youden_threshold(labels, probs), "validation"
    choose = threshold_at_sensitivity
    if settings.criterion == "specificity":
        choose = threshold_at_specificity
    return choose(labels, probs, settings.target), "validation"


def _counts(cases: pd.DataFrame) -> dict[str, int]:
    positives = int(cases["label"].sum())
    return {
        "cases": len(cases),
        "patients": int(cases["patient_id"].nunique()),
        "positives": positives,
        "negatives": len(cases) - positives,
    }


def _figures(cases: pd.DataFrame, threshold: float, settings: ModelSettings) -> dict[str, Any]:
    """AUC, figures of the decision and calibration, counting patients where these have several
    cases."""
    labels, probs = cases["label"].to_numpy(), cases["prob"].to_numpy()
    patients = cases["patient_id"].to_numpy() if cases["patient_id"].duplicated().any() else None
    options = _options(settings)
    if patients is None:
        area = delong(labels, probs, settings.confidence)
    else:
        area = clustered_auc(labels, probs, patients, **options)
    decided = binary_figures(labels, probs >= threshold, patients, **options)
    calibrated = calibration_figures(labels, probs, patients, **options)
    return {"auc": area, **decided, **{name: calibrated[name] for name in _CALIBRATION}}


def roc_points(labels: np.ndarray, probs: np.ndarray) -> dict[str, list] | None:
    """The corners of a ROC curve; None where there is one class only."""
    if len(set(labels)) < 2:
        return None
    fpr, tpr, _ = roc_curve(labels, probs)
    return {"false_positive_rate": fpr.tolist(), "sensitivity": tpr.tolist()}


def _calibration(
    labels: np.ndarray, probs: np.ndarray, patients: np.ndarray | None, settings: ModelSettings
) -> dict[str, Any]:
    """Groups and the flexible curve; the curve is None where it cannot be fitted."""
    curve = calibration_curve(labels, probs, patients, confidence=settings.confidence)
    bins = calibration_bins(labels, probs, 10)
    return {"bins": _lists(bins), "curve": None if curve is None else _lists(curve)}


def _comparison(
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    patients: np.ndarray | None,
    threshold: float,
    settings: ModelSettings,
) -> dict[str, Any]:
    """The first model against the second."""
    options = _options(settings)
    pair = np.stack([first, second])
    right = [(p >= threshold) == labels for p in pair]
    result: dict[str, Any] = {"roc": roc_points(labels, second)}
    try:
        areas = roc_areas(labels, pair, patients)
    except ValueError as error:
        return {**result, "why": str(error)}
    drawn = bootstrap_areas(labels, pair, patients, **options)
    result["auc"] = [asdict(areas.figure(i, settings.confidence)) for i in (0, 1)]
    result["auc_difference"] = asdict(areas.compare(confidence=settings.confidence))
    result["auc_difference_bootstrap"] = asdict(drawn.difference)
    tested = permutation_test(labels, first, second, patients, seed=settings.seed)
    result["permutation"] = asdict(tested)
    result["mcnemar"] = asdict(mcnemar(*right)) if patients is None else None
    moved = reclassification(labels, second, first, None, patients, **options)
    result["reclassification"] = _plain(moved)
    result["why"] = None
    if patients is not None:
        result["why"] = "McNemar's test takes cases as independent; patients have several here."
    return result


def _subgroups(
    cases: pd.DataFrame, column: str, threshold: float, settings: ModelSettings
) -> list[dict[str, Any]]:
    """Figures of each group, and its gap to all other cases."""
    rows = []
    groups = groups_of(cases, column)
    shown = ("auc", "sensitivity", "specificity", "slope")
    for name in sorted(groups.unique()):
        part, rest = cases[groups == name], cases[groups != name]
        own = _figures(part, threshold, settings)
        row: dict[str, Any] = {"group": name, "n": _counts(part)}
        row["figures"] = _plain({key: own[key] for key in shown})
        why = None
        if not len(rest):
            why = "There is no other group."
        elif set(part["patient_id"]) & set(rest["patient_id"]):
            why = "Patients are in several groups, so the groups are not independent."
        if why is None:
            others = _figures(rest, threshold, settings)
            row["gaps"] = _plain({key: gap(own[key], others[key]) for key in shown})
        else:
            row["gaps"] = _plain({key: missing("none", why) for key in shown})
        rows.append(row)
    return rows


def _gate(
    figures: dict[str, Any], cases: pd.DataFrame, settings: ModelSettings
) -> list[dict[str, Any]]:
    counts = {"sensitivity": int(cases["label"].sum()), "slope": len(cases)}
    counts["specificity"] = len(cases) - counts["sensitivity"]
    verdicts = []
    for name, limits in LIMITS[settings.gate].items():
        figure = figures[name]
        verdicts.append(
            asdict(
                judge(
                    name, figure["value"], figure["low"], figure["high"], counts[name], limits,
                    proportion=name != "slope" and figure["method"] == "wilson",
                    confidence=settings.confidence,
                )
            )
        )  # fmt: skip
    return verdicts


def _plain(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: asdict(figure) for name, figure in figures.items()}


def _lists(result: Any) -> dict[str, Any]:
    """A dataclass of arrays as lists, NaN as None."""
    lists = {}
    for name, value in asdict(result).items():
        if value is None:
            lists[name] = None
            continue
        lists[name] = [x if np.isfinite(x) else None for x in np.asarray(value).tolist()]
    return lists
