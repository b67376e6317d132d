"""`msk-jax evaluate --predictions`: figures of a model, whoever wrote it, from its table."""

from pathlib import Path
from typing import Any

from msk_jax.evaluation import model_plots
from msk_jax.evaluation.case_table import read_cases
from msk_jax.evaluation.model_study import ModelSettings, evaluate_model
from msk_jax.files import write_json
from msk_jax.verbs import console

_SHOWN = ("auc", "sensitivity", "specificity", "ppv", "npv", "accuracy", "f1", "slope", "brier")


def run(
    predictions: Path,
    settings: ModelSettings,
    *,
    compare: Path | None,
    validation: Path | None,
    level: str,
    by: tuple[str, ...],
    decisions: bool,
    out: Path | None,
) -> dict[str, Any]:
    """Judge a table; gives what `figures.json` holds."""
    result = evaluate_model(
        read_cases(predictions, level),
        settings,
        other=read_cases(compare, level) if compare else None,
        validation=read_cases(validation, level) if validation else None,
        by=by,
        decisions=decisions,
    )
    _print(result)
    if out is not None:
        console.writable_folder(out, "--out")
        write_json(out / "figures.json", result)
        names = (predictions.stem, compare.stem if compare else "")
        for name, figure in _pictures(result, names).items():
            figure.savefig(out / f"{name}.png", dpi=200)
        console.say(f"Everything is in {out}.")
    return result


def _pictures(result: dict[str, Any], names: tuple[str, str]) -> dict[str, Any]:
    """The pictures that the figures allow, by file name."""
    drawn = {}
    if result["roc"]:
        curves = {names[0]: {**result["roc"], "auc": result["figures"]["auc"]}}
        compared = result.get("comparison", {})
        if "auc" in compared:
            curves[f"{names[1]} (second)"] = {**compared["roc"], "auc": compared["auc"][1]}
        drawn["roc"] = model_plots.roc_curves_figure(curves)
    slope = result["figures"]["slope"]
    drawn["calibration"] = model_plots.calibration_figure(result["calibration"], slope)
    if "decision_curve" in result:
        drawn["decision_curve"] = model_plots.decision_figure(result["decision_curve"], names)
    for column, rows in result.get("subgroups", {}).items():
        drawn[f"by_{column}"] = model_plots.subgroup_figure(rows, column)
    return drawn


def _print(result: dict[str, Any]) -> None:
    """The figures for the reader."""
    n = result["n"]
    point = result["threshold"]
    console.say(
        f"{n['cases']} cases of {n['patients']} patients, {n['positives']} positive; positive from "
        f"{point['value']:.4g} ({point['chosen_on']})."
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
    if "gate" in result:
        rows = [("gate", "value", "interval", "verdict", "cases to settle it")]
        for verdict in result["gate"]:
            need = verdict["n_to_settle"]
            shown = (verdict["name"], *_words(verdict), verdict["verdict"])
            rows.append((*shown, "" if need is None else f"about {need}"))
        console.say_columns(rows)


def _print_comparison(compared: dict[str, Any]) -> None:
    if "auc" not in compared:
        console.say(f"No comparison: {compared['why']}")
        return
    test = compared["auc_difference"]
    console.say(
        "AUC, first minus second: "
        + " ".join(_words({**test, "value": test["difference"]}))
        + f", p {_number(test['p'])} ({test['method']}), {_number(compared['permutation']['p'])} "
        "(permutation)."
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
