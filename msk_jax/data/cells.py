"""The cells of one row of a manifest, and what is wrong with them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass


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

    def number(self, column: str) -> float | None:
        """A finite number; None where the cell is empty or, with a fault, where it is none."""
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
