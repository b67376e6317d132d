"""One self-contained HTML page that tells what a study is and what came of it."""

import base64
import io
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from msk_jax.errors import UserError
from msk_jax.evaluation import plots
from msk_jax.evaluation.predictions import LEVELS
from msk_jax.files import replacing
from msk_jax.reports.cohort import class_names, classes_table, cohort_rows
from msk_jax.reports.formats import UNKNOWN, decimals, interval, mapping, percent, value
from msk_jax.reports.reading import ReportInputs, read_inputs

_MOST_HEAT_MAPS = 24
_MOST_MISTAKES = 20


def write_report(workdir: Path, out: Path) -> Path:
    """Writes the report of a working folder as one HTML file without outside resources.

    Args:
      workdir: folder that `train` and `evaluate` wrote to: run.json, metrics.json and
        predictions.csv must be there; cohort.json, fold_<k>/history.csv and cam/index.json may be.
      out: the file to write; its folder is made.

    Returns:
      `out`.

    Raises:
      UserError: a necessary file is missing or cannot be read, or `out` cannot be written.
    """
    page = render(read_inputs(workdir))
    out = Path(out)
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
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(percent=percent, interval=interval, value=value, decimals=decimals)
    source = resources.files("msk_jax.reports").joinpath("report.html.j2").read_text("utf-8")
    return environment.from_string(source).render(**_context(inputs))


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
    classes = list(named if len(named) == 2 else class_names(inputs.cohort))
    levels = {
        name: metrics["levels"][name]
        for name in LEVELS
        if mapping(metrics["levels"].get(name)).get("n")
    }
    published = [entry for entry in experiment.get("published") or () if entry.get("name")]
    cohort = inputs.cohort
    return {
        "experiment": experiment,
        "classes": classes,
        "is_phantom": bool(run.get("is_phantom") or (cohort or {}).get("is_phantom")),
        "levels": levels,
        "settings": mapping(metrics.get("settings")),
        "pooling": {"mean": "mean", "max": "maximum", "median": "median"},
        "folds": metrics.get("folds") or [],
        "published": published,
        "headline": _headline(levels, classes),
        "cohort": None if cohort is None else cohort_rows(cohort),
        "cohort_classes": classes_table(cohort),
        "mistakes": _mistakes(inputs)[:_MOST_MISTAKES],
        "num_mistakes": len(_mistakes(inputs)),
        "pictures": _pictures(levels, published, classes, inputs),
        "heat_maps": [
            {**entry, "src": _data_uri(entry["png"], "image/png")}
            for entry in inputs.heat_maps[:_MOST_HEAT_MAPS]
        ],
        "num_heat_maps": len(inputs.heat_maps),
        "heat_maps_missing": inputs.heat_maps_missing,
        "choices": _choices(run, cohort, mapping(experiment.get("choices"))),
        "run": run,
        "details": [
            (title, _flat(run[key]))
            for key, title in (
                ("model", "Model"),
                ("recipe", "Recipe"),
                ("preprocess", "Preprocessing"),
                ("evaluation", "Evaluation"),
            )
            if run.get(key)
        ],
        "unknown": UNKNOWN,
    }


def _pictures(
    levels: Mapping[str, Any], published: list, classes: list[str], inputs: ReportInputs
) -> dict[str, Any]:
    """Every picture as a data address, those of levels one by one so that they can wrap."""
    return {
        "forest": _svg(plots.forest_figure(levels, published)) if levels else None,
        "roc": {name: _svg(plots.roc_figure({name: level})) for name, level in levels.items()},
        "confusion": {
            name: _svg(plots.confusion_figure({name: level}, classes))
            for name, level in levels.items()
        },
        "training": _svg(plots.training_figure(inputs.histories)) if inputs.histories else None,
    }


def _svg(figure: Figure) -> str:
    """A figure as an SVG data address; glyphs are outlines, so that it needs no font."""
    buffer = io.BytesIO()
    with plots.house_style():
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    return _data_uri(buffer.getvalue(), "image/svg+xml")


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _headline(levels: Mapping[str, Any], classes: list[str]) -> str:
    """The answer in one sentence, from the largest unit that has one."""
    for name in reversed(LEVELS):
        level = levels.get(name) or {}
        sensitivity, specificity = level.get("sensitivity"), level.get("specificity")
        if not sensitivity or not specificity:
            continue
        if sensitivity["value"] is None or specificity["value"] is None:
            continue
        plural = {"slice": "slice stacks"}.get(name, f"{name}s")
        return (
            f"Of {sensitivity['n']} {plural} labelled {classes[1]}, {sensitivity['successes']} "
            f"were found (sensitivity {percent(sensitivity['value'])}, {interval(sensitivity)}); "
            f"of {specificity['n']} labelled {classes[0]}, {specificity['successes']} were called "
            f"so (specificity {percent(specificity['value'])}, {interval(specificity)})."
        )
    return "No level has a sensitivity and a specificity; the reasons stand below."


def _mistakes(inputs: ReportInputs) -> list[dict[str, Any]]:
    """Patients that were called wrongly, the surest mistakes first."""
    patient = mapping(inputs.metrics["levels"].get("patient"))
    per_fold = mapping(patient.get("thresholds")).get("per_fold") or []
    limits = {entry["fold"]: entry["threshold"] for entry in per_fold}
    rows = inputs.predictions[inputs.predictions["level"] == "patient"]
    wrong = []
    for row in rows.to_dict("records"):
        limit = limits.get(row["fold"])
        if limit is not None and (row["prob"] >= limit) != bool(row["label"]):
            about = [
                value(row[name])
                for name in ("site", "sex", "age")
                if row.get(name) not in (None, "") and row[name] == row[name]
            ]
            wrong.append({**row, "threshold": limit, "about": ", ".join(about)})
    return sorted(wrong, key=lambda row: -abs(row["prob"] - row["threshold"]))


def _choices(
    run: Mapping[str, Any], cohort: Mapping[str, Any] | None, choices: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    """Field, the value it had in this run (empty where the run does not say), and the reason."""
    config = mapping(mapping(mapping(cohort).get("fingerprint")).get("config"))
    parts = {name: run.get(name) for name in ("model", "recipe", "preprocess", "evaluation")}
    parts |= {
        "region": config.get("region"),
        "cohort": {"num_folds": mapping(cohort).get("num_folds")},
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
