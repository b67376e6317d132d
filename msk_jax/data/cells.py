"""The cells of a manifest, and what is wrong with those of a row."""

import hashlib
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msk_jax.errors import UserError
from msk_jax.files import plain_text

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class Cells:
    """The cells of one row; what cannot be understood is added to the faults."""

    row: int
    record: Mapping[str, str]
    faults: list[str]

    def text(self, column: str) -> str:
        """A cell as it is; '' where the table has no such column."""
        return self.record.get(column, "")

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
      UserError: there is no such file, or it is no table.
    """
    try:
        content = path.read_bytes()
        table = _table_of(path, content)
    except FileNotFoundError:
        raise UserError(
            f"There is no manifest {path}. Give the CSV with one row per unit."
        ) from None
    except OSError as error:
        raise UserError(
            f"The manifest {path} cannot be read ({error.strerror}). Give a readable CSV file."
        ) from error
    except ValueError as error:  # what pandas and the decoder raise
        raise UserError(
            f"The manifest {path} is not a CSV file in UTF-8 ({error}). Save it as CSV (UTF-8) or "
            "Parquet."
        ) from error
    table.columns = [str(column).strip() for column in table.columns]
    table = table.fillna("").apply(lambda column: column.str.strip().map(plain_text))
    return table[(table != "").any(axis=1)], hashlib.sha256(content).hexdigest()


def _table_of(path: Path, content: bytes) -> "pd.DataFrame":
    import pandas as pd

    if content[:4] == b"PAR1":
        table = pd.read_parquet(io.BytesIO(content))
        # 7 as a spreadsheet shows it, not 7.0, where a column of whole numbers has gaps.
        return table.map(lambda v: "" if pd.isna(v) else f"{v:.15g}" if isinstance(v, float)
                         else str(v)).reset_index(drop=True)  # fmt: skip
    return pd.read_csv(
        io.BytesIO(content),
        dtype=str,
        keep_default_na=False,
        encoding="utf-8-sig",
        skip_blank_lines=False,
        index_col=False,
    )
