"""Faults of tables from other people's files, gathered into one sentence each."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from msk_jax.errors import UserError
from msk_jax.table_reader import MISSING

_MOST_NAMED = 5


def require_columns(frame: pd.DataFrame, columns: Sequence[str], where: str) -> None:
    """Raises UserError, naming those that are missing and those that are there."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise UserError(
            f"{where} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; it has "
            f"{listed_columns(frame)}."
        )


def listed_columns(frame: pd.DataFrame) -> str:
    """The columns that a table has, for an error about one that it lacks."""
    columns = list(map(str, frame.columns))
    if len(columns) == 1:
        return f"{columns[0]} alone (cells are separated by commas, semicolons or tabs)"
    return ", ".join(columns) or "none"


def which_is_positive(cells: pd.Series) -> str:
    """What to do with cells that should be 0 or 1 where they are two other things; "" else."""
    values = sorted(set(cells.astype(str)) - MISSING)
    if len(values) != 2:
        return ""
    both = " and ".join(values)
    return f" (there is {both}: write 1 for the positive class, 0 for the other)"


def refuse(faults: Sequence[str], where: str) -> None:
    """Raises UserError with all faults, if there are any."""
    if faults:
        raise UserError(f"{where} cannot be used:\n" + "\n".join(f"- {f}" for f in faults))


def exact_numbers(cells: pd.Series) -> np.ndarray:
    """Cells, text or numbers, as float64 to the last bit; NaN where a cell is no number.

    Before pandas 3 `to_numeric` was some last bits off, so a table changed each time it was read
    and written.
    """
    are_numbers = pd.to_numeric(cells, errors="coerce").notna()
    pairs = zip(cells, are_numbers, strict=True)
    return np.array([float(cell) if fine else np.nan for cell, fine in pairs], np.float64)


def faults_of_rows(frame: pd.DataFrame, checks: Sequence[tuple[str, np.ndarray, str]]) -> list[str]:
    """One sentence per check that some rows fail, with their places in the file.

    Args:
        frame: the file as `table_reader.read_table` gives it, or some of its rows.
        checks: column, whether a row fails [rows], and what to say of it.
    """
    faults = []
    for name, bad, text in checks:
        rows = np.flatnonzero(bad)
        if len(rows):
            # Row 1 of the file is the header.
            named = [f"row {frame.index[row] + 2}: {frame[name].iloc[row]!r}" for row in rows]
            faults.append(f"{name} {text} in {len(rows)} row(s) ({some(named)}).")
    return faults


def some(names: Sequence) -> str:
    """The first names, and that there are more."""
    shown = ", ".join(map(str, names[:_MOST_NAMED]))
    return shown + (", ..." if len(names) > _MOST_NAMED else "")
