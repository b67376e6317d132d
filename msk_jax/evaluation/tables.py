"""Tables from other people's files: read as text, their faults gathered into one sentence each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from msk_jax.errors import UserError
from msk_jax.files import table_source

_MOST_NAMED = 5


def read_text(path: Path, if_missing: str, encoding: str = "utf-8") -> pd.DataFrame:
    """A CSV with every cell as text, empty where there is nothing.

    Args:
      path: of the file.
      if_missing: the sentence for a file that is not there.
      encoding: `utf-8-sig` also takes what spreadsheets write.

    Raises:
      UserError: there is no file, or it is no table.
    """
    try:
        source = table_source(path)
        return pd.read_csv(source, dtype=str, keep_default_na=False, encoding=encoding)
    except FileNotFoundError:
        raise UserError(if_missing) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} could not be read as a CSV table: {error}") from error


def require_columns(frame: pd.DataFrame, columns: Sequence[str], where: str) -> None:
    """Raises UserError, naming those that are missing and those that are there."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise UserError(
            f"{where} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; it has "
            f"{', '.join(map(str, frame.columns)) or 'none'}."
        )


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
    """One sentence per check that some rows fail, with their lines.

    Args:
      frame: the whole file, in its order.
      checks: column, whether a row fails [rows], and what to say of it.
    """
    faults = []
    for name, bad, text in checks:
        rows = np.flatnonzero(bad)
        if len(rows):
            # Line 1 of the file is the header.
            named = [f"line {row + 2}: {frame[name][row]!r}" for row in rows]
            faults.append(f"{name} {text} in {len(rows)} row(s) ({some(named)}).")
    return faults


def some(names: Sequence) -> str:
    """The first names, and that there are more."""
    shown = ", ".join(map(str, names[:_MOST_NAMED]))
    return shown + (", ..." if len(names) > _MOST_NAMED else "")
