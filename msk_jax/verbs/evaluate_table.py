"""`msk-jax evaluate --predictions`: figures of a model, whoever wrote it, from its table."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from msk_jax import console
from msk_jax.errors import UserError
from msk_jax.evaluation.plots import decisions as decision_plots
from msk_jax.evaluation.plots import groups as group_plots
from msk_jax.evaluation.plots import models as model_plots
from msk_jax.evaluation.plots import plots
from msk_jax.evaluation.settings import ModelSettings
from msk_jax.evaluation.studies.class_model import evaluate_class_model
from msk_jax.evaluation.studies.model_study import evaluate_model
from msk_jax.evaluation.studies.several_classes import OF_CLASS, OVERALL
from msk_jax.evaluation.tables.case_table import class_names, read_cases, read_class_cases
from msk_jax.files import write_json
from msk_jax.reports.formats import p_value

_SHOWN = ("auc", "sensitivity", "specificity", "ppv", "npv", "accuracy", "f1", "slope", "brier")


def run(
    predictions: Path,
    settings: ModelSettings,
    *,
    compare: Path | None,
    validation: Path | None,
    level: str,
    one_class: str,
    by: tuple[str, ...],
    decisions: bool,
    out: Path | None,
) -> dict[str, Any]:
    """Judge a table; gives what `figures.json` holds."""
    classes = () if one_class else class_names(predictions)
    if classes:
        if compare or validation or decisions or settings.gate != "none":
            raise UserError(
                f"{predictions} has {len(classes)} classes; --compare, --validation, "
                "--decision-curve and --gate are for two. Give --one-class and one of "
                f"{', '.join(classes)}, to hold it against the rest."
            )
        usual = ModelSettings()
        for name in ("threshold", "criterion", "target", "proportions"):
            if getattr(settings, name) != getattr(usual, name):
                raise UserError(
                    f"--{name} is for two classes. Leave it out, as the class called is that of "
                    f"the highest probability, or give --one-class and one of {', '.join(classes)}."
                )
        cases = read_class_cases(predictions, level)
        result = evaluate_class_model(cases, classes, settings, by)
        _print_classes(result)
        pictures = _pictures_of_classes(result)
    else:
        if settings.ordinal:
            raise UserError(f"{predictions} has two classes; --ordinal is for three and more.")
        cases, second = (
            read_cases(path, level, one_class) if path else None for path in (predictions, compare)
        )
        others = read_cases(validation, level, one_class, True) if validation else None
        result = evaluate_model(
            cases, settings, other=second, validation=others, by=by, decisions=decisions
        )
        _print(result)
        pictures = _pictures(result, (predictions.stem, compare.stem if compare else ""))
    if out is not None:
        console.writable_folder(out, "--out")
        write_json(out / "figures.json", result)
        for name, figure in pictures.items():
            figure.savefig(out / f"{name}.png", dpi=200)
        console.say(f"Everything is in {out}.")
    return result


def _pictures_of_classes(result: dict[str, Any]) -> dict[str, Any]:
    drawn = {
        "confusion": plots.confusion_figure({"cases": result}, result["classes"]),
        "calibration": model_plots.calibration_figure(result["calibration"]),
    }
    if any(part["roc"] for part in result["of_class"].values()):
        drawn["roc"] = model_plots.class_curves_figure(result["of_class"])
    shown = {
        column: [{**row, "figures": row} for row in rows]
        for column, rows in result["subgroups"].items()
    }
    return drawn | _of_groups(shown, group_plots.OF_CLASSES)


def _of_groups(subgroups: dict[str, list[dict[str, Any]]], keys: tuple[str, ...]) -> dict[str, Any]:
    """Pictures of the groups of each column and of their gaps."""
    drawn = {}
    for name, (column, rows) in zip(_file_names(subgroups), subgroups.items(), strict=True):
        drawn[f"by_{name}"] = group_plots.subgroup_figure(rows, column, keys)
        drawn[f"gaps_by_{name}"] = group_plots.gap_figure(rows, column, keys)
    return drawn


def _print_classes(result: dict[str, Any]) -> None:
    """The figures of several classes for the reader."""
    counts = ", ".join(f"{count} {name}" for name, count in result["counts"].items())
    console.say(f"{result['n']} cases of {result['patients']} patients: {counts}.")
    rows = [("figure", "value", "interval")]
    console.say_columns(rows + [(name, *_words(result[name])) for name in OVERALL])
    if "ordinal" in result:
        rows = [("in their order", "value", "interval")]
        console.say_columns(rows + [(k, *_words(found)) for k, found in result["ordinal"].items()])
    for key in OF_CLASS:
        rows = [(f"{key} of", "value", "interval")]
        parts = result["of_class"].items()
        console.say_columns(rows + [(name, *_words(part[key])) for name, part in parts])
    for column, groups in result["subgroups"].items():
        console.say(f"By {column}:")
        rows = [("group", "cases", "accuracy", "interval", "macro AUC", "interval")]
        for group in groups:
            shown = (_words(group[key]) for key in ("accuracy", "macro_auc"))
            rows.append((group["group"], str(group["n"]), *(word for two in shown for word in two)))
        console.say_columns(rows)


def _pictures(result: dict[str, Any], names: tuple[str, str]) -> dict[str, Any]:
    """The pictures that the figures allow, by file name."""
    compared = result.get("comparison", {})
    second = f"{names[1]} (second)"
    drawn = {"confusion": plots.confusion_figure({"cases": result}, ("negative", "positive"))}
    if result["roc"]:
        curves = {names[0]: {**result["roc"], "auc": result["figures"]["auc"]}}
        if "auc" in compared:
            curves[second] = {**compared["roc"], "auc": compared["auc"][1]}
        drawn["roc"] = model_plots.roc_curves_figure(curves)
        curves = {names[0]: result["precision_recall"]}
        if compared:
            curves[second] = compared["precision_recall"]
        drawn["precision_recall"] = model_plots.precision_recall_figure(curves)
    calibrated = {names[0]: {**result["calibration"], "slope": result["figures"]["slope"]}}
    again = result.get("recalibration", {})
    if "calibration" in again:
        slope = again["figures"]["slope"]
        calibrated["recalibrated on validation"] = {**again["calibration"], "slope": slope}
    drawn["calibration"] = model_plots.calibration_figure(calibrated)
    if "decision_curve" in result:
        curve, both = result["decision_curve"], (names[0], second)
        drawn["decision_curve"] = decision_plots.decision_figure(curve, both)
        drawn["interventions_avoided"] = decision_plots.avoided_figure(curve, names[0])
        if curve["difference"]:
            drawn["benefit_difference"] = decision_plots.benefit_difference_figure(curve, both)
    drawn |= _of_groups(result.get("subgroups", {}), group_plots.OF_TWO_CLASSES)
    if "gate" in result:
        drawn["gate"] = group_plots.gate_figure(result["gate"])
    return drawn


def _file_names(columns: Iterable[str]) -> list[str]:
    """The columns as names that every file system takes and tells apart, also one that does not
    distinguish capitals."""
    names, taken = [], set()
    for column in columns:
        plain = name = re.sub(r"[^\w.-]+", "_", column)
        number = 1
        while name.casefold() in taken:
            number += 1
            name = f"{plain}_{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _print(result: dict[str, Any]) -> None:
    """The figures for the reader."""
    n = result["n"]
    point = result["threshold"]
    values = [entry["value"] for entry in point.get("per_fold", [point])]
    limits = " to ".join(f"{value:.4g}" for value in sorted({min(values), max(values)}))
    console.say(
        f"{n['cases']} cases of {n['patients']} patients, {n['positives']} positive; positive from "
        f"{limits} ({point['chosen_on']})."
    )
    rows = [("figure", "value", "interval")]
    rows += [(name, *_words(result["figures"][name])) for name in _SHOWN]
    console.say_columns(rows)
    if "comparison" in result:
        _print_comparison(result["comparison"])
    for column, groups in result.get("subgroups", {}).items():
        console.say(f"By {column}:")
        rows = [("group", "cases", "AUC", "interval", "gap to the rest", "interval")]
        for entry in groups:
            area, gap = (_words(entry[kind]["auc"]) for kind in ("figures", "gaps"))
            rows.append((entry["group"], str(entry["n"]["cases"]), *area, *gap))
        console.say_columns(rows)
        rows = [("between the groups", "value", "interval")]
        rows += [(key, *_words(found)) for key, found in result["fairness"][column].items()]
        console.say_columns(rows)
    if "gate" in result:
        rows = [("gate", "value", "interval", "verdict", "what would settle it")]
        for verdict in result["gate"]:
            need = verdict["n_to_settle"]
            shown = (verdict["name"], *_words(verdict), verdict["verdict"])
            settled = "" if need is None else f"about {need} {verdict['counted']}"
            rows.append((*shown, settled))
        console.say_columns(rows)


def _print_comparison(compared: dict[str, Any]) -> None:
    if "auc" not in compared:
        console.say(f"No comparison: {compared['why']}")
        return
    test = compared["auc_difference"]
    console.say(
        "AUC, first minus second: "
        + " ".join(_words({**test, "value": test["difference"]}))
        + f", p {p_value(test['p'], unknown='none')} ({test['method']}), "
        f"{p_value(compared['permutation']['p'], unknown='none')} (permutation)."
    )


def _words(figure: dict[str, Any]) -> tuple[str, str]:
    """A figure and its interval."""
    if figure["value"] is None:
        return "none", figure.get("why") or ""
    if figure["low"] is None:
        return _number(figure["value"]), figure.get("why") or ""
    return _number(figure["value"]), f"{_number(figure['low'])} to {_number(figure['high'])}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
