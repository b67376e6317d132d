"""Whether the figures of a level are what `evaluate` writes of its kind of study."""

from collections.abc import Callable
from typing import Any

from msk_jax.evaluation.studies.kinds import SEVERAL, TWO, kind_of_study
from msk_jax.evaluation.studies.several_classes import OF_CLASS, OVERALL
from msk_jax.files import fault
from msk_jax.reports.shapes import POINTS, TEXT, figure

_CHOSEN = {"threshold": float, "n": int, "sensitivity": float, "specificity": float, "why": None}
_NONE_CHOSEN = {"threshold": None, "why": str}
_BAND = {"specificity": [float], "low": [float], "high": [float]}
_TWO_CLASSES = {
    "n": int,
    "positives": int,
    "negatives": int,
    "auc": figure(method=TEXT),
    "auc_by_fold": [{"value": (float, None)}],
    "roc": ({**POINTS, "band": (_BAND, None)}, None),
    "confusion": (dict.fromkeys(("tp", "fp", "fn", "tn"), int), None),
    "thresholds": {
        "per_fold": [({"fold": int, **_CHOSEN}, {"fold": int, **_NONE_CHOSEN})],
        "predict": (_CHOSEN, _NONE_CHOSEN),
    },
    **dict.fromkeys(("sensitivity", "specificity"), figure(n=int, successes=int)),
    **dict.fromkeys(("ppv", "npv", "accuracy", "balanced_accuracy", "f1", "mcc"), figure()),
}
_IN_ANY_SET = {
    "n": int,
    "patients": int,
    "counts": {str: int},
    "confusion": [[int]],
    **dict.fromkeys(OVERALL, figure()),
    "of_class": {str: {**dict.fromkeys(OF_CLASS, figure()), "roc": (POINTS, None)}},
}
_SEVERAL_CLASSES = {
    **_IN_ANY_SET,
    **dict.fromkeys(("train_accuracy", "validation_accuracy"), (*figure(), None)),
    "test_sets": {str: _IN_ANY_SET},
}


def level_fault(name: str, level: dict[str, Any], metrics: dict[str, Any]) -> str:
    """What is wrong with a level that has cases, with its place; "" for nothing.

    Args:
        name: of the level.
        level: its figures.
        metrics: the whole of metrics.json.
    """
    shape, contradiction = _KINDS[kind_of_study(metrics).name]
    return fault(level, shape, f"levels.{name}") or contradiction(name, level, metrics)


def _misshapen(name: str, level: dict[str, Any], metrics: dict[str, Any]) -> str:
    """Which table of a level does not have the classes for its rows and columns; "" if all do."""
    classes = metrics["classes"]
    for where, part in (
        ("", level),
        *((f".test_sets.{k}", v) for k, v in level["test_sets"].items()),
    ):
        if {len(classes)} != {len(part["confusion"]), *map(len, part["confusion"])}:
            return f"levels.{name}{where}.confusion is not {len(classes)} x {len(classes)}"
        if list(part["of_class"]) != classes or list(part["counts"]) != classes:
            return f"levels.{name}{where} does not name the classes"
        for known, of_class in part["of_class"].items():
            if of_class["roc"] and len(set(map(len, of_class["roc"].values()))) > 1:
                return f"levels.{name}{where}.of_class.{known}.roc has lists of different lengths"
            if of_class["roc"] and of_class["auc"]["value"] is None:
                return f"levels.{name}{where}.of_class.{known} has a curve but no auc.value"
    return ""


def _contradiction(name: str, level: dict[str, Any], metrics: dict[str, Any]) -> str:
    """What in a level does not go together, though each part may be as it is; "" if all does."""
    roc = level["roc"]
    curve = [roc["false_positive_rate"], roc["sensitivity"]] if roc else []
    band = [roc["band"][key] for key in _BAND] if roc and roc["band"] else []
    if any(len({len(points) for points in lines}) > 1 for lines in (curve, band)):
        return f"levels.{name}.roc has lists of different lengths"
    if roc and level["auc"]["value"] is None:
        return f"levels.{name} has a curve but no auc.value"
    if [point["fold"] for point in level["thresholds"]["per_fold"]] != metrics["folds"]:
        return f"levels.{name}.thresholds.per_fold does not list the folds"
    return ""


_KINDS: dict[str, tuple[dict[str, Any], Callable[[str, dict[str, Any], dict[str, Any]], str]]] = {
    TWO.name: (_TWO_CLASSES, _contradiction),
    SEVERAL.name: (_SEVERAL_CLASSES, _misshapen),
}
"""Shape of a level, and what of it must go together, by the kind of study."""
