"""The answer of a selection by labels."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Choice:
    """Columns that a selection keeps, one at least."""

    places: np.ndarray
    """In their order [kept]."""
    strongest: int
    """The column that it would keep if it kept one."""


def standardised(fit: np.ndarray, judge: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    """Rows to fit, and rows to judge, by mean and standard deviation of those to fit."""
    scale = fit.std(axis=0)
    # What rounding leaves of a constant column is no spread.
    scale = np.where(scale > 1e-12 * (1 + np.abs(fit).max(axis=0, initial=0.0)), scale, np.inf)
    both = (fit,) if judge is None else (fit, judge)
    return tuple((values - fit.mean(axis=0)) / scale for values in both)
