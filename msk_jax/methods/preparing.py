"""Preparations fitted on training rows: log-odds, imputation, standardisation."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from msk_jax.methods.design import Column, members
from msk_jax.methods.estimator import Impute, LogOdds, Preparation, Standardise

_EDGE = 1e-6


@dataclass(frozen=True, eq=False)
class Odds:
    """Log-odds of some columns."""

    places: np.ndarray
    """Which columns [chosen]."""

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Values [rows, columns]."""
        values = values.copy()
        clipped = np.clip(values[:, self.places], _EDGE, 1 - _EDGE)
        values[:, self.places] = np.log(clipped / (1 - clipped))
        return values

    def columns(self, columns: tuple[Column, ...]) -> tuple[Column, ...]:
        """The columns after it."""
        return columns


@dataclass(frozen=True, eq=False)
class Filler:
    """What stands in the place of missing values."""

    fills: np.ndarray
    """By column [columns]."""
    indicated: np.ndarray
    """Columns whose being missing is a column too [indicated]."""

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Values [rows, columns + indicated] without NaN."""
        lacking = np.isnan(values)
        indicators = lacking[:, self.indicated].astype(float)
        return np.concatenate([np.where(lacking, self.fills, values), indicators], axis=1)

    def columns(self, columns: tuple[Column, ...]) -> tuple[Column, ...]:
        """The columns after it."""
        variables = [columns[j].variable for j in self.indicated]
        return columns + tuple(Column(f"{name} missing", name, "missing") for name in variables)


@dataclass(frozen=True, eq=False)
class Scaler:
    """Means and scales of columns."""

    means: np.ndarray
    """[columns]"""
    scales: np.ndarray
    """[columns]"""

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Values [rows, columns] less the means, over the scales."""
        return (values - self.means) / self.scales

    def columns(self, columns: tuple[Column, ...]) -> tuple[Column, ...]:
        """The columns after it."""
        return columns


def prepare(
    step: Preparation, values: np.ndarray, columns: tuple[Column, ...]
) -> Odds | Filler | Scaler:
    """Fit a preparation on training values [rows, columns].

    Raises:
        UserError: the step names a column that is not there.
    """
    if isinstance(step, LogOdds):
        return Odds(np.flatnonzero(members(step.columns, columns, "LogOdds")))
    if isinstance(step, Impute):
        return _filler(step, values, columns)
    return _scaler(step, values, columns)


def _filler(step: Impute, values: np.ndarray, columns: tuple[Column, ...]) -> Filler:
    fills, indicated = np.zeros(len(columns)), []
    for places in _by_variable(columns):
        cells = values[:, places]
        known = cells[~np.isnan(cells).any(axis=1)]
        if columns[places[0]].kind in ("place", "indicator"):
            fills[places] = _most_frequent(known, columns[places[0]].kind)
        elif len(known):
            fills[places] = np.median(known, axis=0)
        if step.missing and len(known) < len(cells):
            indicated.append(places[0])
    return Filler(fills, np.array(indicated, np.int64))


def _by_variable(columns: tuple[Column, ...]) -> Iterator[np.ndarray]:
    """Places of the columns of each variable that is in the table."""
    variables = np.array([column.variable for column in columns], object)
    for name in dict.fromkeys(variables):
        yield np.flatnonzero(variables == name)


def _most_frequent(known: np.ndarray, kind: str) -> np.ndarray:
    """Cells of the most frequent word [columns of the word]; known: [rows, columns of the word]."""
    if not len(known):
        return np.zeros(known.shape[1])
    if kind == "place":
        place = known[:, 0].astype(int)
    else:  # no indicator is the first word, whose indicator is left out
        place = np.where(known.any(axis=1), 1 + known.argmax(axis=1), 0)
    return known[int(np.flatnonzero(place == np.bincount(place).argmax())[0])]


def _scaler(step: Standardise, values: np.ndarray, columns: tuple[Column, ...]) -> Scaler:
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(values)
    # The mean of a constant column may miss it by rounding.
    constant = (values == values[0]).all(axis=0)
    means = np.where(constant, values[0], scaler.mean_)
    left = members(step.leave, columns, "Standardise")
    return Scaler(np.where(left, 0.0, means), np.where(left, 1.0, scaler.scale_))
