"""The design of a table: numbers and words become columns of floating-point numbers."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from msk_jax.errors import UserError

Indicators = Literal["but_first", "all"]


@dataclass(frozen=True)
class Column:
    """A column of the design, and the variable that it comes from."""

    name: str
    """`age`, `bone=tibia`, or `age missing`."""
    variable: str
    """Column of the table."""
    kind: Literal["number", "place", "indicator", "missing"]
    """A number, the place of an ordered word, whether it is one word, or whether it is missing."""


def design_columns(
    variables: tuple[str, ...],
    words: Mapping[str, tuple[str, ...]],
    ordered: Set[str],
    indicators: Indicators = "but_first",
) -> tuple[Column, ...]:
    """The columns of a design, those of a variable side by side; see `design`.

    Raises:
        UserError: two columns would have the same name, or a variable has no allowed word.
    """
    columns = []
    for name in variables:
        if name not in words:
            columns.append(Column(name, name, "number"))
            continue
        if not words[name]:
            raise UserError(f"The column {name} allows no words. Name them in the cohort's Word.")
        if name in ordered:
            columns.append(Column(name, name, "place"))
        else:
            first = 1 if indicators == "but_first" else 0
            columns += [Column(f"{name}={word}", name, "indicator") for word in words[name][first:]]
    names = [column.name for column in columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(
            f"The table has two columns by the name of {', '.join(twice)}. Give one another name."
        )
    return tuple(columns)


def design(
    rows: pd.DataFrame,
    words: Mapping[str, tuple[str, ...]],
    ordered: Set[str],
    indicators: Indicators = "but_first",
) -> pd.DataFrame:
    """Columns of floating-point numbers [rows, columns], NaN where something is missing.

    Args:
        rows: numbers, NaN where missing, and words, '' where missing.
        words: by column, the allowed words in their order; '' may be one, and is then not missing.
        ordered: columns of words with an order, which become the place 0 to k - 1; others become
            an indicator of each word but the first.
        indicators: whether the first word has an indicator too.

    Raises:
        UserError: a cell is no number, not finite, or a word that is not allowed.
    """
    columns = design_columns(tuple(map(str, rows.columns)), words, ordered, indicators)
    values = np.empty((len(rows), len(columns)))
    places: dict[str, np.ndarray] = {}
    for j, column in enumerate(columns):
        if column.kind == "number":
            values[:, j] = _numbers(rows[column.variable])
            continue
        allowed = words[column.variable]
        if column.variable not in places:
            places[column.variable] = _places(rows[column.variable], allowed)
        place = places[column.variable]
        if column.kind == "place":
            values[:, j] = place
        else:
            word = column.name[len(column.variable) + 1 :]
            values[:, j] = np.where(np.isnan(place), np.nan, place == allowed.index(word))
    return pd.DataFrame(values, index=rows.index, columns=[column.name for column in columns])


def _numbers(cells: pd.Series) -> np.ndarray:
    numbers = pd.to_numeric(cells, errors="coerce").astype(float).to_numpy()
    wrong = (np.isnan(numbers) & ~cells.isna().to_numpy()) | np.isinf(numbers)
    if wrong.any():
        raise UserError(
            f"The column {cells.name} has {str(cells[wrong].iloc[0])[:40]!r} in {wrong.sum()} of "
            f"{len(cells)} rows, which is no finite number. Correct it, leave the cell empty, or "
            "declare the column as a Word."
        )
    return numbers


def _places(cells: pd.Series, allowed: tuple[str, ...]) -> np.ndarray:
    """Place of each word among the allowed [rows], NaN where missing."""
    texts = cells.astype(object).where(cells.notna(), "").astype(str)
    place = {"": np.nan} | {word: float(i) for i, word in enumerate(allowed)}
    unknown = ~texts.isin(list(place)).to_numpy()
    if unknown.any():
        raise UserError(
            f"The column {cells.name} has the word {texts[unknown].iloc[0][:40]!r} in "
            f"{unknown.sum()} of {len(cells)} rows; it may be {', '.join(map(repr, allowed))}. "
            "Correct it, leave the cell empty, or allow the word in the cohort."
        )
    return texts.map(place).to_numpy(float)


def members(names: tuple[str, ...], columns: tuple[Column, ...], step: str) -> np.ndarray:
    """Whether each column is named, by its name or by that of its variable [columns].

    Raises:
        UserError: a name is neither.
    """
    known = {column.name for column in columns} | {column.variable for column in columns}
    missing = [name for name in names if name not in known]
    if missing:
        raise UserError(
            f"{step} names {', '.join(missing)}, which is no column of its table "
            f"({', '.join(sorted(known))}). Correct the name."
        )
    return np.array([c.name in names or c.variable in names for c in columns], bool)


def complete(values: np.ndarray, columns: tuple[Column, ...], step: str) -> None:
    """Refuse missing values [rows, columns] before a step that cannot read them."""
    lacking = np.isnan(values).any(axis=0)
    if lacking.any():
        names = [column.name for column, lack in zip(columns, lacking, strict=True) if lack]
        raise UserError(
            f"{step} cannot read missing values; {len(names)} of the columns before it have some "
            f"({', '.join(names[:5])}). Put Impute() before it."
        )
