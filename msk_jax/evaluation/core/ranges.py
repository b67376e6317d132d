"""Ranges of axes and bins for values of any kind: none, one, equal, NaN, infinite.

Matplotlib and NumPy make none of what is not finite, and no bins of values that differ by their
rounding alone.
"""

from collections.abc import Sequence

import numpy as np

_ROUNDING = 1e-9
"""Share of their size by which values differ at most that are the same but for rounding."""


def finite(values: Sequence[float]) -> np.ndarray:
    """The finite ones of any numbers [n], None left out too."""
    numbers = np.array(values, float).ravel()
    return numbers[np.isfinite(numbers)]


def span(values: Sequence[float], around: float = 0.5) -> tuple[float, float]:
    """The smallest and the largest finite value, and further apart where they are equal.

    Args:
        values: any numbers.
        around: what lies on either side of values that are equal, or equal but for rounding.

    Returns:
        Two numbers, the first smaller; 0 and 1 where no value is finite.
    """
    known = finite(values)
    if not len(known):
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    least = _ROUNDING * max(abs(low), abs(high), 1e-3)
    if high - low > least:
        return low, high
    around = max(around, least)
    return low - around, high + around


def bin_edges(values: Sequence[float], count: int) -> np.ndarray:
    """Edges of so many equal bins over the finite values.

    Values that are equal but for rounding lie in the middle of one, for which the bins are an odd
    number.
    """
    low, high = span(values)
    if not (finite(values) == low).any():
        count += 1 - count % 2
    return np.linspace(low, high, count + 1)
