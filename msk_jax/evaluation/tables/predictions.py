"""The table of predictions: what evaluation reads, whatever system wrote it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from msk_jax.errors import UserError
from msk_jax.evaluation.settings import Pooling
from msk_jax.evaluation.tables.faults import (
    exact_numbers,
    faults_of_rows,
    refuse,
    require_columns,
    some,
)
from msk_jax.files import place, replacing
from msk_jax.table_reader import read_table

LEVELS = ("slice", "joint", "patient")
"""From the smallest unit to the largest, where a cohort does not name its own."""

KEYS = ("patient_id", "unit_id", "level", "fold", "label")
COLUMNS = (*KEYS, "prob")
"""Columns that must be there; columns of the cohort (site, age, sex) follow. Of more than two
classes there is a `prob_<class>` for each in place of `prob`, in the order of their labels."""

ENSEMBLE = -1
"""The fold of what the networks of all folds predict together."""


def probability_columns(classes: Sequence[str]) -> list[str]:
    """The columns of the probabilities of these classes."""
    return ["prob"] if len(classes) == 2 else [f"prob_{name}" for name in classes]


def probability_cells(classes: Sequence[str], probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """Probabilities [rows, classes] as columns of a table; of two classes that of the second."""
    shown = probabilities[:, 1:] if len(classes) == 2 else probabilities
    names = probability_columns(classes)
    return {name: shown[:, k].astype(np.float64) for k, name in enumerate(names)}


def found_columns(frame: pd.DataFrame) -> list[str]:
    """The columns of probabilities that a table has: `prob`, or those of three or more classes."""
    several = [name for name in frame.columns if str(name).startswith("prob_")]
    return several if "prob" not in frame.columns and len(several) > 2 else ["prob"]


def read_predictions(
    path: Path,
    role: Literal["test", "validation"] = "test",
    levels: Sequence[str] = LEVELS,
) -> pd.DataFrame:
    """The checked table of a predictions file.

    Args:
        path: CSV with `COLUMNS` and any others.
        role: "test": a unit is predicted once, by the model that never saw its patient.
            "validation": `fold` is the number of the model; each model predicts a unit at most
            once.
        levels: what may stand in the column `level`.

    Returns:
        patient_id, unit_id, level as str; fold, label as int64; probabilities as float64; `age`
        (where it is there) as float64 with NaN for unknown; further columns as str, empty where
        unknown.

    Raises:
        UserError: the file is missing or no table, or its rows are faulty; all faults are listed.
    """
    frame = read_table(
        path, f"There are no predictions at {path}. Run `msk-jax train`, which writes them."
    )
    return check_predictions(frame, str(path), role, levels)


def write_predictions(frame: pd.DataFrame, path: Path) -> Path:
    """Writes a table with `COLUMNS` first; probabilities keep all their digits."""
    path = place(path)
    with replacing(path) as temporary:
        _in_order(frame).to_csv(temporary, index=False)
    return path


def check_predictions(
    frame: pd.DataFrame,
    where: str,
    role: Literal["test", "validation"] = "test",
    levels: Sequence[str] = LEVELS,
) -> pd.DataFrame:
    """The table with proper types; see `read_predictions` for types and errors.

    Args:
        frame: a table with `COLUMNS`, cells as text or as numbers.
        where: what to call the table in an error.
    """
    probs = found_columns(frame)
    require_columns(frame, (*KEYS, *probs), where)
    if not len(frame):
        raise UserError(f"{where} holds no prediction, only a header.")
    numbers = {name: exact_numbers(frame[name]) for name in ("fold", "label", *probs)}
    texts = {name: frame[name].astype(str) for name in ("patient_id", "unit_id", "level")}
    faults = _faults(frame, numbers, texts, probs, levels)
    if not faults:
        typed = frame.reset_index(drop=True).assign(
            **{name: cells.to_numpy() for name, cells in texts.items()},
            fold=numbers["fold"].astype(np.int64),
            label=numbers["label"].astype(np.int64),
            **{name: numbers[name] for name in probs},
        )
        if "age" in typed:
            typed["age"] = exact_numbers(typed["age"])
        faults = _faults_between_rows(typed, role)
    refuse(faults, where)
    return typed


def _faults(
    frame: pd.DataFrame,
    numbers: dict[str, np.ndarray],
    texts: dict[str, pd.Series],
    probs: Sequence[str],
    levels: Sequence[str],
) -> list[str]:
    """Faults that a row has by itself, one sentence each."""
    fold, label = numbers["fold"], numbers["label"]
    count = max(len(probs), 2)
    labels = "neither 0 nor 1" if count == 2 else f"no class (0 to {count - 1})"
    total = np.sum([numbers[name] for name in probs], axis=0)
    with np.errstate(invalid="ignore"):
        checks = [
            ("patient_id", (texts["patient_id"] == "").to_numpy(), "is empty"),
            ("unit_id", (texts["unit_id"] == "").to_numpy(), "is empty"),
            ("level", ~texts["level"].isin(levels).to_numpy(), f"is none of {', '.join(levels)}"),
            (
                "fold",
                ~((fold >= ENSEMBLE) & (fold == np.floor(fold))),
                "is no fold number (0, 1, ...)",
            ),
            ("label", ~np.isin(label, range(count)), f"is {labels}"),
        ]
        checks += [
            (name, ~((numbers[name] >= 0) & (numbers[name] <= 1)), "is no number from 0 to 1")
            for name in probs
        ]
        if count > 2:
            checks.append(
                (probs[0], ~(np.abs(total - 1) < 1e-3), "does not sum to 1 with the others")
            )
    return faults_of_rows(frame, checks)


def _faults_between_rows(frame: pd.DataFrame, role: str) -> list[str]:
    """Faults that only show when rows are held against each other."""
    faults = []
    key = ["level", "unit_id"] if role == "test" else ["fold", "level", "unit_id"]
    twice = frame[frame.duplicated(key)]
    if len(twice):
        named = [f"{row.level} {row.unit_id}" for row in twice.itertuples()]
        faults.append(f"{len(twice)} unit(s) are predicted twice ({some(named)}).")
    owners = frame.groupby(["level", "unit_id"])["patient_id"].nunique()
    if (owners > 1).any():
        named = [unit for _, unit in owners[owners > 1].index]
        faults.append(f"Units belong to two patients ({some(named)}).")
    labels = frame.groupby(["level", "unit_id"])["label"].nunique()
    if (labels > 1).any():
        named = [unit for _, unit in labels[labels > 1].index]
        faults.append(f"Units carry two labels ({some(named)}).")
    if role == "test":
        folds = frame.groupby("patient_id")["fold"].nunique()
        if (folds > 1).any():
            named = list(folds[folds > 1].index)
            faults.append(f"Patients are in two test folds ({some(named)}).")
    return faults


def pool(
    images: pd.DataFrame,
    unit_labels: Mapping[str, int] | None = None,
    patient_labels: Mapping[str, int] | None = None,
    unit: Pooling = "mean",
    patient: Pooling = "max",
    levels: Sequence[str] = LEVELS,
) -> pd.DataFrame:
    """Rows of all levels from the rows of images, each fold (model) by itself.

    The probability of a unit is made from its images, that of a patient from its units. Ids are cut
    at the slash: `<patient>/<unit>/<image>` -> `<patient>/<unit>` -> `<patient>`. Labels of units
    and patients are given and never derived: a slice between two lesions of a sick joint is normal,
    and the other joint of a sick patient may be. Pooled probabilities of several classes are
    divided by their sum.

    Args:
        images: rows of the first level; cohort columns are carried over.
        unit_labels: label of each `<patient>/<unit>`; None: take the column `<unit level>_label`.
        patient_labels: label of each patient; None: take the column `<patient level>_label`.
        unit: pooling of images into a unit.
        patient: pooling of units into a patient.
        levels: names of image, unit and patient.

    Returns:
        `COLUMNS` and the cohort columns, without the label columns: images, units, patients.

    Raises:
        UserError: rows of another level, a unit id of another form, a label that is missing.
    """
    first, middle, last = levels
    if set(images["level"]) - {first}:
        raise UserError(f"Only rows of level {first} can be pooled; {middle}s and {last}s follow.")
    parts = images["unit_id"].str.rsplit("/", n=2, expand=True)
    bad = parts.shape[1] < 3 or parts.isna().any(axis=None)
    if bad or (parts[0] != images["patient_id"]).any():
        raise UserError(
            f"The unit ids of {first}s must read <patient_id>/<{middle}>/<index>, as in "
            f"P-0123/left/4; the first is {images['unit_id'].iloc[0]!r}."
        )
    owners = parts[0] + "/" + parts[1]
    base = images.assign(_owner=owners)
    units = _pool_level(base, middle, "_owner", unit, _labels(images, middle, owners, unit_labels))
    patients = _pool_level(
        units,
        last,
        "patient_id",
        patient,
        _labels(images, last, images["patient_id"], patient_labels),
    )
    drop = ["_owner", f"{middle}_label", f"{last}_label"]
    table = pd.concat([base, units, patients], ignore_index=True)
    return _in_order(table.drop(columns=[name for name in drop if name in table]))


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with the columns that must be there first."""
    first = [*KEYS, *found_columns(frame)]
    return frame[[*first, *(name for name in frame.columns if name not in first)]]


def _labels(
    images: pd.DataFrame, level: str, owners: pd.Series, given: Mapping[str, int] | None
) -> Mapping[str, int]:
    """Label of each owner (unit or patient) of images, as given or from the label column."""
    if given is not None:
        return given
    column = f"{level}_label"
    if column not in images:
        raise UserError(f"Labels of {level}s are needed: give them, or a column {column}.")
    pairs = pd.DataFrame({"owner": owners, "label": images[column]}).drop_duplicates()
    if pairs["owner"].duplicated().any():
        name = pairs.loc[pairs["owner"].duplicated(), "owner"].iloc[0]
        raise UserError(f"The {level} {name} carries two labels in the column {column}.")
    return dict(zip(pairs["owner"], pairs["label"].astype(int), strict=True))


def _pool_level(
    rows: pd.DataFrame, level: str, key: str, how: Pooling, labels: Mapping[str, int]
) -> pd.DataFrame:
    """Rows of one level up; everything but the probabilities is the first row's."""
    if how not in ("mean", "max", "median"):
        raise UserError(f"Probabilities can be pooled by mean, max or median, not by {how!r}.")
    probs = found_columns(rows)
    groups = rows.groupby(["fold", key], sort=False)
    pooled = groups.first().reset_index()
    values = groups[probs].agg(how).to_numpy()
    if len(probs) > 1:
        values = values / values.sum(axis=1, keepdims=True)
    pooled[probs] = values
    unknown = sorted(set(pooled[key]) - set(labels))
    if unknown:
        raise UserError(f"No label is given for the {level}(s) {some(unknown)}.")
    return pooled.assign(
        unit_id=pooled[key], level=level, label=[int(labels[name]) for name in pooled[key]]
    )
