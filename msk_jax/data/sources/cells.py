"""The cells of a manifest, and what is wrong with those of a row."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msk_jax.files import plain_text
from msk_jax.table_reader import MISSING, parse_table, table_bytes

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Cells:
    """The cells of one row; what cannot be understood is added to the faults."""

    row: int
    record: Mapping[str, str]
    faults: list[str]

    def text(self, column: str) -> str:
        """A cell as it is; '' where it has no value (`table_reader.MISSING`), or the table no such
        column."""
        text = self.record.get(column, "")
        return "" if text in MISSING else text

    def fault(self, text: str) -> None:
        """Note a fault of this row."""
        self.faults.append(f"row {self.row}: {text}")

    def number(
        self, column: str, low: float = -math.inf, high: float = math.inf, unit: str = ""
    ) -> float | None:
        """A finite number; None where the cell is empty or, with a fault, where it is none.

        One that is not between `low` and `high` is a fault too.
        """
        text = self.text(column)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            self.fault(f"{column} {text!r} is not a number")
            return None
        if not low <= value <= high:
            bounds = f"{low:g} and {high:g} {unit}".rstrip()
            self.fault(f"{column} {value:g} is not between {bounds}")
        return value

    def one_of(
        self, column: str, allowed: tuple[str, ...], refused: Mapping[str, str] | None = None
    ) -> int:
        """The place of a cell among the words that it may be; 0, with a fault, for any other.

        Args:
            column: which cell.
            allowed: the words.
            refused: words that are often taken for one of them, and why they are not.
        """
        text = self.text(column)
        if text in allowed:
            return allowed.index(text)
        why = (refused or {}).get(text)
        reason = f" ({why})" if why else ""
        self.fault(f"{column} {text!r} is not one of {', '.join(allowed)}{reason}")
        return 0


def read_table(path: Path) -> "tuple[pd.DataFrame, str]":
    """The cells of a manifest as stripped text, indexed by data row from 0, and its SHA-256.

    Raises:
        UserError: there is no such file, or it is no table; see `table_reader.read_table`.
    """
    where = f"The manifest {path}"
    missing = f"There is no manifest {path}. Give the CSV with one row per unit."
    content = table_bytes(path, missing, where)
    table = parse_table(content, where)
    # What a draft wrote of foreign headers, see `files.csv_text`.
    table = table.apply(lambda column: column.map(plain_text))
    return table, hashlib.sha256(content).hexdigest()
