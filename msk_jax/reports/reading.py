"""What a report is made of: the files that the other verbs left in the working folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from msk_jax.errors import UserError
from msk_jax.evaluation.predictions import read_predictions

_LEVEL_KEYS = (
    "positives",
    "negatives",
    "auc",
    "auc_by_fold",
    "roc",
    "confusion",
    "thresholds",
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "accuracy",
    "balanced_accuracy",
    "f1",
    "mcc",
)
_HISTORY_COLUMNS = {"step", "epoch", "split", "loss", "auc"}


@dataclass(frozen=True)
class ReportInputs:
    """The contents of a working folder that a report shows."""

    run: dict[str, Any]
    """run.json, written by `train`."""
    metrics: dict[str, Any]
    """metrics.json, written by `evaluate`."""
    predictions: pd.DataFrame
    """predictions.csv, written by `evaluate`."""
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
    workdir = Path(workdir)
    if not workdir.is_dir():
        raise UserError(
            f"There is no folder {workdir}. Give the --workdir that `msk-jax train` wrote to."
        )
    run = _json(workdir / "run.json", "train")
    metrics = _json(workdir / "metrics.json", "evaluate")
    _check_metrics(metrics, workdir / "metrics.json")
    heat_maps, missing = _heat_maps(workdir / "cam")
    has_cohort = (workdir / "cohort.json").exists()
    return ReportInputs(
        run=run,
        metrics=metrics,
        predictions=read_predictions(workdir / "predictions.csv"),
        cohort=_json(workdir / "cohort.json", "build") if has_cohort else None,
        histories=_histories(workdir),
        heat_maps=heat_maps,
        heat_maps_missing=missing,
    )


def _check_metrics(metrics: dict[str, Any], path: Path) -> None:
    """UserError where metrics.json is not what `evaluate` of this version writes."""
    levels = metrics.get("levels")
    missing = [] if isinstance(levels, dict) and levels else ["levels"]
    for name, level in levels.items() if not missing else ():
        if isinstance(level, dict) and level.get("n"):
            missing += [f"{key} of level {name}" for key in _LEVEL_KEYS if key not in level]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}. Run `msk-jax evaluate` again.")


def _json(path: Path, verb: str, kind: type = dict) -> Any:
    """Content of a JSON file, or a UserError that names the verb that writes it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"There is no {path}. Run `msk-jax {verb}` first, which writes it."
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} could not be read ({error}). Run `msk-jax {verb}` again, which writes it."
        ) from error
    if not isinstance(content, kind):
        raise UserError(
            f"{path} should hold a JSON {'object' if kind is dict else 'list'}. "
            f"Run `msk-jax {verb}` again, which writes it."
        )
    return content


def _histories(workdir: Path) -> dict[int, pd.DataFrame]:
    """Training curves by fold; a fold without a usable table is left out."""
    histories = {}
    for path in sorted(workdir.glob("fold_*/history.csv")):
        fold = path.parent.name.removeprefix("fold_")
        if not fold.isdigit():
            continue
        try:
            table = pd.read_csv(path)
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
    for entry in _json(folder / "index.json", "evaluate", list):
        # Only pictures that lie beside the index: a report must not carry other files away.
        name = Path(str(entry.get("file", ""))).name if isinstance(entry, dict) else ""
        picture = folder / name
        if name and picture.is_file():
            entries.append({**entry, "png": picture.read_bytes()})
        else:
            missing += 1
    return tuple(entries), missing
