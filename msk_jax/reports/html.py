"""One self-contained HTML page that tells what a study is and what came of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from msk_jax.errors import UserError
from msk_jax.evaluation.plots import plots
from msk_jax.evaluation.plots.features import feature_map_figure
from msk_jax.files import place, replacing
from msk_jax.reports.classes import classes_context
from msk_jax.reports.cohort import class_names, classes_table, cohort_rows
from msk_jax.reports.formats import (
    UNKNOWN,
    about,
    decimals,
    interval,
    mapping,
    opening,
    p_value,
    percent,
    plural,
    value,
)
from msk_jax.reports.images import data_uri, svg
from msk_jax.reports.models import models_context
from msk_jax.reports.readers import readers_context
from msk_jax.reports.reading import ReportInputs, read_inputs

_MOST_HEAT_MAPS = 24
_MOST_MISTAKES = 20


def write_report(workdir: Path, out: Path) -> Path:
    """Writes the report of a working folder as one HTML file without outside resources.

    Args:
        workdir: folder that `train` and `evaluate` wrote to: run.json, metrics.json and
            predictions.csv must be there; cohort.json, fold_<k>/history.csv and cam/index.json may
            be.
        out: the file to write; its folder is made.

    Returns:
        `out`.

    Raises:
        UserError: a necessary file is missing or cannot be read, or `out` cannot be written.
    """
    page = render(read_inputs(workdir))
    out = place(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The folder {out.parent} cannot be made ({error.strerror}). Give another --out."
        ) from error
    with replacing(out) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return out


def render(inputs: ReportInputs) -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader("msk_jax.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown_as = (percent, interval, value, decimals, plural, p_value, opening)
    environment.filters.update({function.__name__: function for function in shown_as})
    context = _context(inputs)
    if "classes" not in inputs.metrics:
        return environment.get_template("report.html.j2").render(**context)
    context |= classes_context(inputs, context["levels"])
    return environment.get_template("classes.html.j2").render(**context)


def _context(inputs: ReportInputs) -> dict[str, Any]:
    """What the template needs."""
    run, metrics = inputs.run, inputs.metrics
    experiment = {
        "name": "",
        "title": "Study",
        "task": "",
        "modality": "",
        "input": "",
        "source": "",
        **mapping(run.get("experiment")),
    }
    named = experiment.get("classes") or ()
    classes = list(named if len(named) >= 2 else class_names(inputs.cohort))
    levels = {name: level for name, level in metrics["levels"].items() if level["n"]}
    binary = "classes" not in metrics
    printed = [entry for entry in experiment.get("published") or () if entry.get("name")]
    published = [entry for entry in printed if not (entry.get("test_set") or entry.get("readers"))]
    cohort = inputs.cohort
    return {
        "experiment": experiment,
        "classes": classes,
        "names": list(metrics["levels"]),
        "is_phantom": bool(run.get("is_phantom") or (cohort or {}).get("is_phantom")),
        "levels": levels,
        "settings": mapping(metrics.get("settings")),
        "pooling": {"mean": "mean", "max": "maximum", "median": "median"},
        "folds": metrics.get("folds") or [],
        "published": published,
        "side": models_context(metrics, [entry for entry in printed if entry.get("test_set")]),
        "readers": readers_context(metrics, [entry for entry in printed if entry.get("readers")]),
        "headline": _headline(levels, classes) if binary else "",
        "cohort": None if cohort is None else cohort_rows(cohort),
        "cohort_classes": classes_table(cohort),
        "mistakes": _mistakes(inputs)[:_MOST_MISTAKES] if binary else [],
        "num_mistakes": len(_mistakes(inputs)) if binary else 0,
        "pictures": _pictures(levels, published, classes, inputs) if binary else {},
        "heat_maps": [
            {**entry, "src": data_uri(entry["png"], "image/png")}
            for entry in inputs.heat_maps[:_MOST_HEAT_MAPS]
        ],
        "num_heat_maps": len(inputs.heat_maps),
        "heat_maps_missing": inputs.heat_maps_missing,
        "explained": metrics.get("explained"),
        "features": _features(metrics.get("features"), classes),
        "choices": _choices(run, cohort, mapping(experiment.get("choices"))),
        "run": run,
        "details": [
            (title, _flat(run[key]))
            for key, title in (
                ("model", "Model"),
                ("before", "Phases before the recipe"),
                ("recipe", "Recipe"),
                ("preprocess", "Preprocessing"),
                ("evaluation", "Evaluation"),
            )
            if run.get(key)
        ],
        "unknown": UNKNOWN,
    }


def _features(features: Mapping[str, Any] | None, classes: list[str]) -> dict[str, Any] | None:
    if features is None or "why" in features:
        return features
    return {**features, "picture": svg(feature_map_figure(features, classes))}


def _pictures(
    levels: Mapping[str, Any], published: list, classes: list[str], inputs: ReportInputs
) -> dict[str, Any]:
    """Every picture as a data address, those of levels one by one so that they can wrap."""
    return {
        "forest": svg(plots.forest_figure(levels, published)) if levels else None,
        "roc": {name: svg(plots.roc_figure({name: level})) for name, level in levels.items()},
        "confusion": {
            name: svg(plots.confusion_figure({name: level}, classes))
            for name, level in levels.items()
        },
        "training": svg(plots.training_figure(inputs.histories)) if inputs.histories else None,
    }


def _headline(levels: Mapping[str, Any], classes: list[str]) -> str:
    """The answer in one sentence, from the largest unit that has one."""
    for name, level in reversed(levels.items()):
        sensitivity, specificity = level.get("sensitivity"), level.get("specificity")
        if not sensitivity or not specificity:
            continue
        if sensitivity["value"] is None or specificity["value"] is None:
            continue
        return (
            f"Of {sensitivity['n']} {plural(name)} labelled {classes[1]}, "
            f"{sensitivity['successes']} were found (sensitivity "
            f"{percent(sensitivity['value'])}, {interval(sensitivity)}); "
            f"of {specificity['n']} labelled {classes[0]}, {specificity['successes']} were called "
            f"so (specificity {percent(specificity['value'])}, {interval(specificity)})."
        )
    return "No level has a sensitivity and a specificity; the reasons stand below."


def _mistakes(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Patients that were called wrongly, the surest mistakes first."""
    last = list(inputs.metrics["levels"])[-1]
    patient = inputs.metrics["levels"][last]
    per_fold = mapping(patient.get("thresholds")).get("per_fold") or []
    limits = {entry["fold"]: entry["threshold"] for entry in per_fold}
    rows = inputs.predictions[inputs.predictions["level"] == last]
    wrong = []
    for row in rows.to_dict("records"):
        limit = limits.get(row["fold"])
        if limit is not None and (row["prob"] >= limit) != bool(row["label"]):
            wrong.append({**row, "threshold": limit, "about": about(row)})
    return sorted(wrong, key=lambda row: -abs(row["prob"] - row["threshold"]))


def _choices(
    run: Mapping[str, Any], cohort: Mapping[str, Any] | None, choices: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    """Field, the value it had in this run (empty where the run does not say), and the reason."""
    config = mapping(mapping(mapping(cohort).get("fingerprint")).get("config"))
    parts = {name: run.get(name) for name in ("model", "recipe", "preprocess", "evaluation")}
    parts |= {
        "region": config.get("region"),
        "cohort": {
            "num_folds": mapping(cohort).get("num_folds"),
            "held_out": mapping(mapping(cohort).get("fingerprint")).get("held_out"),
        },
        "phases": {"before": run.get("before")},
    }
    values: dict[str, str] = {}
    for part, settings in parts.items():
        # A choice may speak of a group as a whole, as of all that augmentation does.
        groups = [(k, value(e)) for k, e in mapping(settings).items() if isinstance(e, Mapping)]
        for name, text in [*_flat(settings), *groups]:
            values[f"{part}.{name}"] = text
            values.setdefault(name, text)
    return [(field, values.get(field, ""), str(reason)) for field, reason in choices.items()]


def _flat(entries: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted name, text)."""
    rows = []
    for key, entry in mapping(entries).items():
        if isinstance(entry, Mapping) and entry:
            rows += _flat(entry, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", value(entry)))
    return rows
