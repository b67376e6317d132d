"""Tables of predictions that other people's models wrote: a label and a probability per case."""

from pathlib import Path

import numpy as np
import pandas as pd

from msk_jax.errors import UserError
from msk_jax.evaluation.predictions import LEVELS
from msk_jax.evaluation.tables import exact_numbers, read_text, refuse

NAMES = {
    "case": ("unit_id", "case", "case_id", "id"),
    "patient_id": ("patient_id", "patient"),
    "label": ("label", "truth", "y_true", "y"),
    "prob": ("prob", "probability", "score", "y_score", "y_prob"),
}
"""What a column may be called; the first that is there is taken. `case` and `patient_id` may be
missing: then every row is a case and a patient."""

_MOST_NAMED = 5


def read_cases(path: Path, level: str = "") -> pd.DataFrame:
    """The checked table of a predictions file.

    Args:
      path: CSV with a label 0 or 1 and a probability per row, and any other columns. In a file
        with a column `level` the rows of one level are taken.
      level: which; by default the largest that is there.

    Returns:
      case, patient_id as str, label as int, prob as float, other columns as str.

    Raises:
      UserError: the file is missing or no table, or its rows are faulty; all faults are listed.
    """
    path = Path(path)
    frame = read_text(path, f"There is no file {path}.", encoding="utf-8-sig")
    if "level" in frame:
        frame = _one_level(frame, level, path)
    found = {}
    for name, options in NAMES.items():
        there = [option for option in options if option in frame.columns]
        if there:
            found[there[0]] = name
        elif name in ("label", "prob"):
            raise UserError(
                f"{path} has no column {' or '.join(options)}; it has "
                f"{', '.join(map(str, frame.columns)) or 'none'}."
            )
    taken = [c for c in found.values() if c in frame.columns and c not in found]
    frame = frame.drop(columns=taken).rename(columns=found).reset_index(drop=True)
    refuse(_faults(frame), str(path))
    if "case" not in frame:
        frame["case"] = [str(i + 1) for i in range(len(frame))]
    if "patient_id" not in frame:
        frame["patient_id"] = frame["case"]
    return frame.assign(
        label=frame["label"].astype(float).astype(int), prob=frame["prob"].astype(float)
    )


def match_cases(first: pd.DataFrame, second: pd.DataFrame, where: str) -> np.ndarray:
    """Probabilities of the second table for the cases of the first, in their order.

    Raises:
      UserError: the tables do not hold the same cases, or disagree about a label.
    """
    other = second.set_index("case")
    lacking = [case for case in first["case"] if case not in other.index]
    more = len(second) - (len(first) - len(lacking))
    if lacking or more:
        raise UserError(
            f"{where} does not hold the same cases: {len(lacking)} are missing in it, {more} are "
            "there that the first file lacks" + (f" (as {lacking[0]})." if lacking else ".")
        )
    rows = other.loc[first["case"]]
    wrong = np.flatnonzero(rows["label"].to_numpy() != first["label"].to_numpy())
    if len(wrong):
        raise UserError(
            f"{where} gives {len(wrong)} case(s) another label (as {first['case'].iloc[wrong[0]]})."
        )
    return rows["prob"].to_numpy()


def _one_level(frame: pd.DataFrame, level: str, path: Path) -> pd.DataFrame:
    there = [name for name in frame["level"].unique() if name]
    # Others' names count as smaller than a patient.
    there.sort(key=lambda name: LEVELS.index(name) if name in LEVELS else -1)
    if level and level not in there:
        raise UserError(f"{path} has no rows of level {level}; there is {', '.join(there)}.")
    if not there:
        raise UserError(f"{path} has a column level with nothing in it. Fill it or leave it out.")
    return frame[frame["level"] == (level or there[-1])].drop(columns="level")


def _faults(frame: pd.DataFrame) -> list[str]:
    """Faults of the rows, one sentence each."""
    if not len(frame):
        return ["It holds no prediction, only a header."]
    label = exact_numbers(frame["label"])
    prob = exact_numbers(frame["prob"])
    with np.errstate(invalid="ignore"):
        checks = [
            ("label", ~np.isin(label, (0, 1)), "is neither 0 nor 1"),
            ("prob", ~((prob >= 0) & (prob <= 1)), "is no number from 0 to 1"),
        ]
    for name in ("case", "patient_id"):
        if name in frame:
            checks.append((name, (frame[name] == "").to_numpy(), "is empty"))
    faults = []
    for name, bad, text in checks:
        rows = np.flatnonzero(bad)
        if len(rows):
            named = ", ".join(f"{frame[name][row]!r}" for row in rows[:_MOST_NAMED])
            faults.append(f"{name} {text} in {len(rows)} row(s) ({named}).")
    if "case" in frame and frame["case"].duplicated().any():
        named = frame.loc[frame["case"].duplicated(), "case"].unique()
        faults.append(f"{len(named)} case(s) are there twice ({', '.join(named[:_MOST_NAMED])}).")
    return faults
