"""What a report is made of: the files that the other verbs left in the working folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from msk_jax.errors import UserError
from msk_jax.evaluation.studies.several_classes import OF_CLASS, OVERALL
from msk_jax.evaluation.studies.side_by_side import CALIBRATION, FIGURES
from msk_jax.evaluation.tables.predictions import LEVELS, read_predictions
from msk_jax.files import fault, place, read_json, table_source

_TEXT = (str, None)
_BOUNDS = ({"low": float, "high": float}, {"low": None, "high": None})


def _figure(**answered: Any) -> tuple:
    """A figure with an interval, without one, or without an answer at all."""
    plain = {"why": _TEXT, "clustered?": (*_BOUNDS, None)}
    given = {"value": float, **plain, **answered}
    return (*({**given, **bounds} for bounds in _BOUNDS), {"value": None, **_BOUNDS[1], **plain})


_CHOSEN = {"threshold": float, "n": int, "sensitivity": float, "specificity": float, "why": None}
_NONE_CHOSEN = {"threshold": None, "why": str}
_BAND = {"specificity": [float], "low": [float], "high": [float]}
_POINTS = {"false_positive_rate": [float], "sensitivity": [float]}
_LEVEL = {
    "n": int,
    "positives": int,
    "negatives": int,
    "auc": _figure(method=_TEXT),
    "auc_by_fold": [{"value": (float, None)}],
    "roc": ({**_POINTS, "band": (_BAND, None)}, None),
    "confusion": (dict.fromkeys(("tp", "fp", "fn", "tn"), int), None),
    "thresholds": {
        "per_fold": [({"fold": int, **_CHOSEN}, {"fold": int, **_NONE_CHOSEN})],
        "predict": (_CHOSEN, _NONE_CHOSEN),
    },
    **dict.fromkeys(("sensitivity", "specificity"), _figure(n=int, successes=int)),
    **dict.fromkeys(("ppv", "npv", "accuracy", "balanced_accuracy", "f1", "mcc"), _figure()),
}
_OF_CLASSES = {
    "n": int,
    "patients": int,
    "counts": {str: int},
    "confusion": [[int]],
    **dict.fromkeys(OVERALL, _figure()),
    "of_class": {str: {**dict.fromkeys(OF_CLASS, _figure()), "roc": (_POINTS, None)}},
}
_CLASS_LEVEL = {
    **_OF_CLASSES,
    **dict.fromkeys(("train_accuracy", "validation_accuracy"), (*_figure(), None)),
    "test_sets": {str: _OF_CLASSES},
}
_IN_SET = {"n": int, "positives": int, **dict.fromkeys((*FIGURES, *CALIBRATION), _figure())}
_TEST = {
    "first": str,
    "second": str,
    "why": _TEXT,
    **dict.fromkeys(("difference", "low", "high", "p"), (float, None)),
}
_CURVE = {
    **{name: [float] for name in ("thresholds", "model", "treat_all")},
    **dict.fromkeys(("low", "high"), ([float], None)),
}
_READERS = {
    "simulated": bool,
    "analysis": {
        "n": {"readers": int, "cases": int, "positives": int},
        "design": str,
        "groups": {str: dict},
        "roc?": ({str: {"readers": {str: _POINTS}, "mean": _POINTS}}, None),
        "overall": {"reader_names": [str], "modality_names": [str], "modalities": [dict]},
    },
    "network": {"threshold": float, "auc": dict, "accuracy": dict},
    **{key: {str: (dict, None)} for key in ("majorities", "kappa")},
    "reading_time": ({str: {str: float}}, None),
    "why": _TEXT,
}
METRICS = {
    "settings": {
        **dict.fromkeys(("criterion", "unit_pool", "patient_pool"), str),
        **dict.fromkeys(("confidence", "target_sensitivity"), float),
        "bootstrap_samples": int,
    },
    "folds": [int],
    "levels": {str: {"n": int}},
    "classes?": [str],
    "models?": {str: {str: _IN_SET}},
    "readers?": _READERS,
    "explained?": {
        "signs": str,
        "n": int,
        **dict.fromkeys(("energy", "area", "gain", "hits", "shuffled"), _figure()),
    },
    "features?": (
        {
            "n": int,
            **dict.fromkeys(("silhouette", "silhouette_of_map"), float),
            "x": [float],
            "y": [float],
            "label": [int],
            "set": [str],
        },
        {"n": int, "why": str},
    ),
    "comparison?": {str: {"tests": [_TEST], "decision_curves": {str: _CURVE}, "why": _TEXT}},
}
"""metrics.json as far as the page reads it; a level with cases (`n` above 0) is a `_LEVEL`, or of
three and more `classes` a `_CLASS_LEVEL`."""

RUN = {
    "is_phantom": bool,
    "experiment": {
        "classes?": [str],
        "levels?": [str],
        "published?": [
            {
                "name": str,
                "value": float,
                "level?": str,
                "note?": str,
                "model?": str,
                "test_set?": str,
                "readers?": str,
            }
        ],
        "choices?": {str: str},
    },
    "commands?": [str],
    "warnings?": [str],
    **dict.fromkeys(("model?", "before?", "recipe?", "preprocess?", "evaluation?"), dict),
}
"""run.json as far as the page reads it."""

_HEAT_MAP = {"file": str}
_HISTORY_COLUMNS = {"step", "epoch", "split", "loss", "auc"}


@dataclass(frozen=True)
class ReportInputs:
    """The contents of a working folder that a report shows."""

    run: dict[str, Any]
    """run.json, written by `train`."""
    metrics: dict[str, Any]
    """metrics.json, written by `evaluate`."""
    predictions: pd.DataFrame
    """predictions.csv, written by `train`."""
    cohort: dict[str, Any] | None
    """cohort.json, written by `build`; None where missing."""
    histories: dict[int, pd.DataFrame]
    """history.csv of each fold; empty where missing."""
    heat_maps: tuple[dict[str, Any], ...]
    """Entries of cam/index.json whose picture is there, with `png` (bytes) added."""
    heat_maps_missing: int
    """Entries of cam/index.json whose picture is not there."""


def read_inputs(workdir: Path) -> ReportInputs:
    """Reads all that a report shows.

    Raises:
        UserError: run.json, metrics.json or predictions.csv is missing (naming the verb that writes
            it), or a file that is there cannot be read.
    """
    workdir = place(workdir)
    if not workdir.is_dir():
        raise UserError(
            f"There is no folder {workdir}. Give the --workdir that `msk-jax train` wrote to."
        )
    run = _json(workdir / "run.json", "train", RUN)
    metrics = _json(workdir / "metrics.json", "evaluate", METRICS)
    _check_levels(metrics, run["experiment"].get("levels", LEVELS), workdir / "metrics.json")
    heat_maps, missing = _heat_maps(workdir / "cam")
    has_cohort = (workdir / "cohort.json").exists()
    return ReportInputs(
        run=run,
        metrics=metrics,
        predictions=read_predictions(workdir / "predictions.csv", levels=tuple(metrics["levels"])),
        cohort=_json(workdir / "cohort.json", "train", dict) if has_cohort else None,
        histories=_histories(workdir),
        heat_maps=heat_maps,
        heat_maps_missing=missing,
    )


def _check_levels(metrics: dict[str, Any], names: Sequence[str], path: Path) -> None:
    """UserError where metrics.json is not what `evaluate` of this version writes."""
    lacking = [name for name in names if name not in metrics["levels"]]
    found = f"levels lacks {', '.join(lacking)}" if lacking else ""
    for name, level in metrics["levels"].items():
        if level["n"] > 0 and not found and "classes" in metrics:
            found = fault(level, _CLASS_LEVEL, f"levels.{name}")
            found = found or _misshapen(name, level, metrics["classes"])
        elif level["n"] > 0 and not found:
            found = fault(level, _LEVEL, f"levels.{name}") or _contradiction(name, level, metrics)
    if found:
        raise UserError(f"{path} is damaged: {found}. Run `msk-jax evaluate` again.")


def _misshapen(name: str, level: dict[str, Any], classes: list[str]) -> str:
    """Which table of a level does not have the classes for its rows and columns; "" if all do."""
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


def _json(path: Path, verb: str, shape: Any) -> Any:
    """Content of a JSON file, or a UserError that names the verb that writes it."""
    if not path.is_file():
        raise UserError(f"There is no {path}. Run `msk-jax {verb}` first, which writes it.")
    return read_json(path, shape, f"Run `msk-jax {verb}` again, which writes it.")


def _histories(workdir: Path) -> dict[int, pd.DataFrame]:
    """Training curves by fold; a fold without a usable table is left out."""
    histories = {}
    for path in sorted(workdir.glob("fold_*/history.csv")):
        fold = path.parent.name.removeprefix("fold_")
        if not fold.isdigit():
            continue
        try:
            table = pd.read_csv(table_source(path))
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path} could not be read as a CSV table ({error}). Run `msk-jax train` again; "
                "it goes on where it stopped and writes it."
            ) from error
        if set(table.columns) >= _HISTORY_COLUMNS and len(table):
            histories[int(fold)] = table
    return histories


def _heat_maps(folder: Path) -> tuple[tuple[dict[str, Any], ...], int]:
    """Entries of the index with their PNG bytes, and how many have no picture."""
    if not (folder / "index.json").exists():
        return (), 0
    entries, missing = [], 0
    for entry in _json(folder / "index.json", "train", [_HEAT_MAP]):
        # Only pictures that lie beside the index: a report must not carry other files away.
        name = Path(entry["file"]).name
        picture = folder / name
        if name and picture.is_file():
            entries.append({**entry, "png": picture.read_bytes()})
        else:
            missing += 1
    return tuple(entries), missing
