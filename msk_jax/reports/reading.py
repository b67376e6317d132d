"""What a report is made of: the files that the other verbs left in the working folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from msk_jax.errors import UserError
from msk_jax.evaluation.tables.predictions import LEVELS, read_predictions
from msk_jax.files import place, read_json, table_source
from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.levels import level_fault
from msk_jax.reports.sections import shapes

METRICS = {
    "settings": {
        **dict.fromkeys(("criterion", "unit_pool", "patient_pool"), str),
        **dict.fromkeys(("confidence", "target_sensitivity"), float),
        "bootstrap_samples": int,
    },
    "folds": [int],
    "levels": {str: {"n": int}},
    "classes?": [str],
}
"""metrics.json as far as every page reads it; sections add their `METRICS`, and of a level with
cases (`n` above 0) see `levels.level_fault`."""

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
_DRAWN = {"file": str, "unit_id": str, "fold": int}
_HISTORY_COLUMNS = {"step", "epoch", "split", "loss"}


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
    metrics = _json(workdir / "metrics.json", "evaluate", METRICS | shapes())
    _check_levels(metrics, run["experiment"].get("levels", LEVELS), workdir / "metrics.json")
    heat_maps, missing = _heat_maps(workdir / "cam")
    has_cohort = (workdir / "cohort.json").exists()
    return ReportInputs(
        run=run,
        metrics=metrics,
        predictions=_predictions(workdir, metrics),
        cohort=_json(workdir / "cohort.json", "train", dict) if has_cohort else None,
        histories=_histories(workdir),
        heat_maps=heat_maps,
        heat_maps_missing=missing,
        drawn_boxes=_drawn_boxes(workdir / "boxes"),
    )


def _predictions(workdir: Path, metrics: Mapping[str, Any]) -> pd.DataFrame:
    """The table of predictions; empty where no level has cases of classes."""
    if "detection" in metrics:
        return pd.DataFrame()
    return read_predictions(workdir / "predictions.csv", levels=tuple(metrics["levels"]))


def _drawn_boxes(folder: Path) -> tuple[dict[str, Any], ...]:
    """Pictures with boxes, with their content; those that are gone are left out."""
    if not (folder / "index.json").is_file():
        return ()
    entries = _json(folder / "index.json", "train", {"score": float, "pictures": [_DRAWN]})
    there = [entry for entry in entries["pictures"] if _inside(folder, entry["file"])]
    return tuple({**entry, "png": (folder / entry["file"]).read_bytes()} for entry in there)


def _inside(folder: Path, name: str) -> bool:
    """Whether a file of that name lies in the folder itself, as all that we write does."""
    return Path(name).name == name and (folder / name).is_file()


def _check_levels(metrics: dict[str, Any], names: Sequence[str], path: Path) -> None:
    """UserError where metrics.json is not what `evaluate` of this version writes."""
    lacking = [name for name in names if name not in metrics["levels"]]
    damage = f"levels lacks {', '.join(lacking)}" if lacking else ""
    for name, level in metrics["levels"].items():
        if level["n"] > 0 and not damage:
            damage = level_fault(name, level, metrics)
    if damage:
        raise UserError(f"{path} is damaged: {damage}. Run `msk-jax evaluate` again.")


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
