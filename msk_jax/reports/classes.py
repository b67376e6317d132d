"""What the page of a study of three or more classes shows beside what every page shows."""

from collections.abc import Mapping
from typing import Any

from msk_jax.evaluation.plots import models as model_plots
from msk_jax.evaluation.plots import plots
from msk_jax.evaluation.tables.predictions import probability_columns
from msk_jax.reports.formats import about, interval, percent, plural
from msk_jax.reports.images import svg
from msk_jax.reports.reading import ReportInputs

_MOST_MISTAKES = 20
ACCURACIES = {
    "train_accuracy": "Training",
    "validation_accuracy": "Validation",
    "accuracy": "Out of fold",
}
"""Accuracy on which patients, in the order of the page."""
OVERALL = {
    "macro_auc": "Macro AUC",
    "hand_till": "Hand-Till AUC",
    "kappa": "Cohen's kappa",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
}
OF_CLASS = {
    "sensitivity": "Recall",
    "ppv": "Precision",
    "f1": "F1",
    "specificity": "Specificity",
    "auc": "AUC against the rest",
}

ORDINAL = {
    "kappa_quadratic": "Quadratic kappa",
    "kappa_linear": "Linear kappa",
    "mean_absolute_error": "Mean absolute error, steps",
    "exact": "Exact",
    "within_one": "At most one step off",
    "kendall_tau_b": "Kendall's tau b",
    "ordinal_c": "Ordinal C",
}
"""Of classes that have an order."""


def classes_context(inputs: ReportInputs, levels: Mapping[str, Any]) -> dict[str, Any]:
    """What `classes.html.j2` needs more than `report.html.j2`."""
    classes = inputs.metrics["classes"]
    sets = list(next(iter(levels.values()))["test_sets"]) if levels else []
    wrong = _mistakes(inputs)
    training = plots.training_figure(inputs.histories) if inputs.histories else None
    return {
        "headline": _headline(levels),
        "classes": classes,
        "accuracies": ACCURACIES,
        "overall": OVERALL,
        "of_class": OF_CLASS,
        "ordinal": ORDINAL,
        "test_sets": sets,
        "parts": _parts(levels),
        "mistakes": wrong[:_MOST_MISTAKES],
        "num_mistakes": len(wrong),
        "pictures": {
            "confusion": {
                f"{name}, {where}": svg(plots.confusion_figure({f"{name}, {where}": part}, classes))
                for name, where, part in _parts(levels)
            },
            "roc": {
                f"{name}, {where}": svg(model_plots.class_curves_figure(part["of_class"]))
                for name, where, part in _parts(levels)
                if any(of_class["roc"] for of_class in part["of_class"].values())
            },
            "cuts": {
                f"{name}, {where}": svg(model_plots.class_curves_figure(_cuts(part)))
                for name, where, part in _parts(levels)
                if any(cut["roc"] for cut in _cuts(part).values())
            },
            "training": None if training is None else svg(training),
        },
    }


def _parts(levels: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Level, on whom, and the figures: out of fold, then each test set that has cases."""
    parts = []
    for name, level in levels.items():
        parts.append((name, "out of fold", level))
        parts += [(name, where, part) for where, part in level["test_sets"].items() if part["n"]]
    return parts


def _cuts(part: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Area and curve of each cut of classes that have an order, by what lies above it."""
    return {f"{name} or higher": cut for name, cut in part.get("cuts", {}).items()}


def _headline(levels: Mapping[str, Any]) -> str:
    """The answer in a sentence or two, from the largest unit."""
    if not levels:
        return "There are no predictions."
    name, level = list(levels.items())[-1]
    accuracy = level["accuracy"]
    text = (
        f"Of {level['n']} {plural(name)}, each judged by a network that never saw them, "
        f"{accuracy['successes']} were called rightly (accuracy {percent(accuracy['value'])}, "
        f"{interval(accuracy)})."
    )
    for where, part in level["test_sets"].items():
        if part["n"]:
            right = part["accuracy"]
            text += (
                f" Of {part['n']} {where} {plural(name)}, in no fold and judged by all networks "
                f"together, {right['successes']} ({percent(right['value'])}, {interval(right)})."
            )
    return text


def _mistakes(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Patients that were called wrongly, the surest mistakes first."""
    classes, last = inputs.metrics["classes"], list(inputs.metrics["levels"])[-1]
    rows = inputs.predictions[inputs.predictions["level"] == last]
    probs = rows[probability_columns(classes)].to_numpy()
    wrong = []
    for row, called, sure in zip(
        rows.to_dict("records"), probs.argmax(axis=1), probs.max(axis=1), strict=True
    ):
        if called != row["label"]:
            wrong.append(
                {
                    "patient_id": row["patient_id"],
                    "label": classes[row["label"]],
                    "called": classes[called],
                    "prob": float(sure),
                    "fold": row["fold"],
                    "about": about(row),
                }
            )
    return sorted(wrong, key=lambda row: -row["prob"])
