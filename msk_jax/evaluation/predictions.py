"""The table of predictions: what evaluation reads, whatever system wrote it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from msk_jax.errors import UserError
from msk_jax.evaluation.tables import (
    exact_numbers,
    faults_of_rows,
    read_text,
    refuse,
    require_columns,
    some,
)
from msk_jax.files import replacing

LEVELS = ("slice", "joint", "patient")
"""From the smallest unit to the largest."""

COLUMNS = ("patient_id", "unit_id", "level", "fold", "label", "prob")
"""Columns that must be there; columns of the cohort (site, age, sex) follow."""

Pooling = Literal["mean", "max", "median"]
"""How probabilities of parts become the probability of the whole."""


def read_predictions(path: Path, role: Literal["test", "validation"] = "test") -> pd.DataFrame:
    """The checked table of a predictions file.

    Args:
      path: CSV with `COLUMNS` and any others.
      role: "test": a unit is predicted once, by the model that never saw its patient.
        "validation": `fold` is the number of the model; each model predicts a unit at most once.

    Returns:
      patient_id, unit_id, level as str; fold, label as int64; prob as float64; `age` (where it is
      there) as float64 with NaN for unknown; further columns as str, empty for unknown.

    Raises:
      UserError: the file is missing or no table, or its rows are faulty; all faults are listed.
    """
    path = Path(path)
    frame = read_text(
        path, f"There are no predictions at {path}. Run `msk-jax evaluate`, which writes them."
    )
    return check_predictions(frame, str(path), role)


def write_predictions(frame: pd.DataFrame, path: Path) -> Path:
    """Writes a table with `COLUMNS` first; probabilities keep all their digits."""
    rest = [name for name in frame.columns if name not in COLUMNS]
    with replacing(Path(path)) as temporary:
        frame[[*COLUMNS, *rest]].to_csv(temporary, index=False)
    return Path(path)


def check_predictions(
    frame: pd.DataFrame, where: str, role: Literal["test", "validation"] = "test"
) -> pd.DataFrame:
    """The table with proper types; see `read_predictions` for types and errors.

    Args:
      frame: a table with `COLUMNS`, cells as text or as numbers.
      where: what to call the table in an error.
    """
    require_columns(frame, COLUMNS, where)
    if not len(frame):
        raise UserError(f"{where} holds no prediction, only a header.")
    frame = frame.reset_index(drop=True)
    numbers = {name: exact_numbers(frame[name]) for name in ("fold", "label", "prob")}
    texts = {name: frame[name].astype(str) for name in ("patient_id", "unit_id", "level")}
    faults = _faults(frame, numbers, texts)
    if not faults:
        typed = frame.assign(
            **texts,
            fold=numbers["fold"].astype(np.int64),
            label=numbers["label"].astype(np.int64),
            prob=numbers["prob"],
        )
        if "age" in typed:
            typed["age"] = exact_numbers(typed["age"])
        faults = _faults_between_rows(typed, role)
    refuse(faults, where)
    return typed


def _faults(
    frame: pd.DataFrame, numbers: dict[str, np.ndarray], texts: dict[str, pd.Series]
) -> list[str]:
    """Faults that a row has by itself, one sentence each."""
    fold, label, prob = numbers["fold"], numbers["label"], numbers["prob"]
    with np.errstate(invalid="ignore"):
        checks = [
            ("patient_id", (texts["patient_id"] == "").to_numpy(), "is empty"),
            ("unit_id", (texts["unit_id"] == "").to_numpy(), "is empty"),
            ("level", ~texts["level"].isin(LEVELS).to_numpy(), f"is none of {', '.join(LEVELS)}"),
            ("fold", ~((fold >= 0) & (fold == np.floor(fold))), "is no fold number (0, 1, ...)"),
            ("label", ~np.isin(label, (0, 1)), "is neither 0 nor 1"),
            ("prob", ~((prob >= 0) & (prob <= 1)), "is no number from 0 to 1"),
        ]
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
    slices: pd.DataFrame,
    joint_labels: Mapping[str, int] | None = None,
    patient_labels: Mapping[str, int] | None = None,
    joint: Pooling = "mean",
    patient: Pooling = "max",
) -> pd.DataFrame:
    """Rows of all levels from the rows of slices, each fold (model) by itself.

    The probability of a joint is made from its slices, that of a patient from its joints. Unit ids
    are cut at the slash: `<patient>/<side>/<index>` -> `<patient>/<side>` -> `<patient>`. Labels
    of joints and patients are given and never derived: a slice between two lesions of a sick joint
    is normal, and the other joint of a sick patient may be.

    Args:
      slices: rows of level `slice`; cohort columns are carried over.
      joint_labels: label of each `<patient>/<side>`; None: take the column `joint_label`.
      patient_labels: label of each patient; None: take the column `patient_label`.
      joint: pooling of slices into a joint.
      patient: pooling of joints into a patient.

    Returns:
      `COLUMNS` and the cohort columns, without the label columns: slices, joints, patients.

    Raises:
      UserError: rows of another level, a unit id of another form, a label that is missing.
    """
    if set(slices["level"]) - {"slice"}:
        raise UserError("Only rows of level slice can be pooled; joints and patients follow.")
    parts = slices["unit_id"].str.rsplit("/", n=2, expand=True)
    bad = parts.shape[1] < 3 or parts.isna().any(axis=None)
    if bad or (parts[0] != slices["patient_id"]).any():
        raise UserError(
            "The unit ids of slices must read <patient_id>/<side>/<index>, as in "
            f"P-0123/left/4; the first is {slices['unit_id'].iloc[0]!r}."
        )
    base = slices.assign(joint_id=parts[0] + "/" + parts[1])
    joints = _pool_level(base, "joint", "joint_id", joint, _labels(base, "joint", joint_labels))
    patients = _pool_level(
        joints, "patient", "patient_id", patient, _labels(base, "patient", patient_labels)
    )
    drop = ["joint_id", "joint_label", "patient_label"]
    table = pd.concat([base, joints, patients], ignore_index=True)
    table = table.drop(columns=[name for name in drop if name in table])
    rest = [name for name in table.columns if name not in COLUMNS]
    return table[[*COLUMNS, *rest]]


def _labels(slices: pd.DataFrame, level: str, given: Mapping[str, int] | None) -> Mapping[str, int]:
    """Label of each joint or patient, as given or from the label column."""
    if given is not None:
        return given
    column, key = f"{level}_label", f"{level}_id"
    if column not in slices:
        raise UserError(f"Labels of {level}s are needed: give them, or a column {column}.")
    pairs = slices[[key, column]].drop_duplicates()
    if pairs[key].duplicated().any():
        name = pairs.loc[pairs[key].duplicated(), key].iloc[0]
        raise UserError(f"The {level} {name} carries two labels in the column {column}.")
    return dict(zip(pairs[key], pairs[column].astype(int), strict=True))


def _pool_level(
    rows: pd.DataFrame, level: str, key: str, how: Pooling, labels: Mapping[str, int]
) -> pd.DataFrame:
    """Rows of one level up; everything but the probability is the first row's."""
    if how not in ("mean", "max", "median"):
        raise UserError(f"Probabilities can be pooled by mean, max or median, not by {how!r}.")
    groups = rows.groupby(["fold", key], sort=False)
    pooled = groups.first().reset_index()
    pooled["prob"] = groups["prob"].agg(how).to_numpy()
    unknown = sorted(set(pooled[key]) - set(labels))
    if unknown:
        raise UserError(f"No label is given for the {level}(s) {some(unknown)}.")
    return pooled.assign(
        unit_id=pooled[key], level=level, label=[int(labels[name]) for name in pooled[key]]
    )
