"""The same figures in parts of the cohort, and how far a part is from the rest."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from msk_jax.errors import UserError
from msk_jax.evaluation.core.figure import Figure, missing
from msk_jax.table_reader import MISSING

AGE_BANDS = ((0, 40), (40, 60), (60, 80), (80, 200))
"""Years, the upper end excluded."""

UNKNOWN = "unknown"
"""Group of the cases that have none, see `table_reader.MISSING`."""

_MOST_NUMBERS, _MOST_GROUPS = 10, 50


def age_band(ages: pd.Series) -> pd.Series:
    """The band of each age in words; empty for unknown ages."""
    years = pd.to_numeric(ages, errors="coerce")
    bands = pd.Series("", index=ages.index, dtype=object)
    for low, high in AGE_BANDS:
        text = f"{low} to {high - 1}" if high < 200 else f"{low} and over"
        bands[(years >= low) & (years < high)] = text
    return bands


def gap(part: Any, rest: Any) -> Figure:
    """Figure of a part minus that of the rest, from the two intervals.

    d - sqrt((a - low a)² + (high b - b)²) to d + sqrt((high a - a)² + (b - low b)²): it takes over
    that intervals of shares and areas are not symmetric.

    Args:
        part: has value, low and high.
        rest: the same figure of other patients, independent of `part`.

    Source: G. Y. Zou and A. Donner, Stat Med 2008;27:1693; for shares R. G. Newcombe, Stat Med
    1998;17:873.
    """
    method = "from two intervals"
    if part.value is None or rest.value is None:
        return missing(method, "One of the two has no figure.")
    difference = float(part.value - rest.value)
    if None in (part.low, part.high, rest.low, rest.high):
        return missing(method, "One of the two has no interval.", difference)
    down = np.hypot(part.value - part.low, rest.high - rest.value)
    up = np.hypot(part.high - part.value, rest.value - rest.low)
    return Figure(difference, float(difference - down), float(difference + up), method)


def groups_apart(
    cases: pd.DataFrame, column: str, figures_of: Callable[[pd.DataFrame], dict[str, Any]]
) -> list[tuple[str, pd.DataFrame, dict[str, Any], dict[str, Figure]]]:
    """Of each group its name, its cases, its figures, and their gaps to those of all other cases.

    Args:
        cases: with a column `patient_id`.
        column: whose groups they are.
        figures_of: cases -> figures by name.

    Raises:
        UserError: as `groups_of`.
    """
    rows = []
    groups = groups_of(cases, column)
    for name in sorted(groups.unique()):
        part, rest = cases[groups == name], cases[groups != name]
        own, why = figures_of(part), None
        if not len(rest):
            why = "There is no other group."
        elif set(part["patient_id"]) & set(rest["patient_id"]):
            why = "Patients are in several groups, so the groups are not independent."
        if why is None:
            others = figures_of(rest)
            gaps = {key: gap(own[key], others[key]) for key in own}
        else:
            gaps = {key: missing("none", why) for key in own}
        rows.append((name, part, own, gaps))
    return rows


def groups_of(table: pd.DataFrame, column: str) -> pd.Series:
    """Group of each row by a column; ages in bands, missing cells as `UNKNOWN`.

    Raises:
        UserError: there is no such column, or it holds measurements instead of groups.
    """
    if column not in table:
        raise UserError(
            f"There is no column {column} to group by; there is {', '.join(table.columns)}."
        )
    values = age_band(table[column]) if column == "age" else table[column].astype(str).str.strip()
    values = values.where(~values.isin(MISSING), UNKNOWN)
    known = values[values != UNKNOWN]
    numbers = pd.to_numeric(known, errors="coerce").notna().all()
    most = _MOST_NUMBERS if numbers else _MOST_GROUPS
    if known.nunique() > most:
        raise UserError(
            f"The column {column} has {known.nunique()} different values; at most {most} "
            f"{'numbers' if numbers else 'names'} are taken for groups. Make a column of bands, as "
            "low, middle, high."
        )
    return values
