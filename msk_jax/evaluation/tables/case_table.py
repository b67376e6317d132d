"""Tables of predictions that other people's models wrote: a label and probabilities per case."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from msk_jax.errors import UserError
from msk_jax.evaluation.tables.faults import (
    exact_numbers,
    faults_of_rows,
    listed_columns,
    refuse,
    some,
    which_is_positive,
)
from msk_jax.evaluation.tables.predictions import LEVELS
from msk_jax.table_reader import MISSING, as_number, read_table

NAMES = {
    "case": ("unit_id", "case", "case_id", "id"),
    "patient_id": ("patient_id", "patient"),
    "label": ("label", "truth", "y_true", "y"),
    "prob": ("prob", "probability", "score", "y_score", "y_prob"),
}
"""What a column may be called. Of several for a case or a patient the first is taken; several for
the label or the probability must agree. `case` and `patient_id` may be missing: then every row is a
case and a patient."""

_OF_CLASS = "prob_"
_BESIDE = "\0"  # no column of a file is called so
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")


def read_cases(
    path: Path, level: str = "", one_class: str = "", several_models: bool = False
) -> pd.DataFrame:
    """The checked table of a two-class model's predictions, or of one class against the rest.

    Args:
        path: CSV with a label 0 or 1 and a probability per row, and any other columns. In a file
            with a column `level` the rows of one level are taken.
        level: which; by default the largest that is there.
        one_class: of a file of several classes, the one that is positive.
        several_models: whether a case may be there once for each number in a column `fold`.

    Returns:
        case, patient_id as str, label as int, prob as float, other columns as str.

    Raises:
        UserError: the file is missing or no table, has other classes than were asked for, or its
            rows are faulty; all faults are listed.
    """
    frame = _read(path)
    classes = _classes(frame, path)
    if not classes and not one_class:
        frame = _named(frame, path, level, ("label", "prob"))
        labels = exact_numbers(frame["label"])
        refuse(_faults(frame, labels, (0, 1), ["prob"], several_models), str(path))
        frame = frame.reset_index(drop=True)
        return frame.assign(**_numbers(frame, ["label"], int), **_numbers(frame, ["prob"], float))
    if one_class not in classes:
        there = f"the classes {', '.join(classes)}" if classes else "two classes and one `prob`"
        raise UserError(
            f"{path} has {there}"
            + (f", none is called {one_class}." if one_class else ": name one with --one-class.")
        )
    frame = _class_cases(frame, classes, path, level, several_models)
    positive = frame["label"] == classes.index(one_class)
    return frame.assign(label=positive.astype(int), prob=frame[_OF_CLASS + one_class])


def read_class_cases(path: Path, level: str = "") -> pd.DataFrame:
    """The checked table of a model of three or more classes.

    Args:
        path: as for `read_cases`, with a column `prob_<class>` for each class. Labels are names of
            classes, or, where no name is a number, may all be their places from 0.
        level: as for `read_cases`.

    Returns:
        As `read_cases`, with the columns `prob_<class>` in place of `prob`.

    Raises:
        UserError: as `read_cases`.
    """
    frame = _read(path)
    return _class_cases(frame, _classes(frame, path), path, level)


def _class_cases(
    frame: pd.DataFrame,
    classes: Sequence[str],
    path: Path,
    level: str,
    several_models: bool = False,
) -> pd.DataFrame:
    frame = _named(frame, path, level, ("label",))
    labels = _places(frame["label"], classes)
    columns = [_OF_CLASS + name for name in classes]
    refuse(_faults(frame, labels, range(len(classes)), columns, several_models), str(path))
    frame = frame.reset_index(drop=True)
    return frame.assign(label=labels.astype(int), **_numbers(frame, columns, float))


def _places(cells: pd.Series, classes: Sequence[str]) -> np.ndarray:
    """The place of each label among the classes; NaN where it is none.

    Names that are numbers are compared as such (1.0 is 1), and then no label is a place: a 1 would
    be two things.
    """
    values = exact_numbers(pd.Series(classes))
    if np.isfinite(values).any():
        by_value = {v: k for k, v in enumerate(values) if np.isfinite(v)}
        named = {name: k for k, name in enumerate(classes)}
        pairs = zip(cells, exact_numbers(cells), strict=True)
        found = [named.get(cell, by_value.get(value, np.nan)) for cell, value in pairs]
        return np.array(found, np.float64)
    if cells.isin(classes).any():
        places = {name: float(k) for k, name in enumerate(classes)}
        return cells.map(lambda cell: places.get(cell, np.nan)).to_numpy(np.float64)
    return exact_numbers(cells)


def class_names(path: Path) -> tuple[str, ...]:
    """The classes of a file that has `prob_<class>` columns for three or more, else none.

    Raises:
        UserError: the file is missing or no table, a class has no name, or there is a probability
            of two classes too.
    """
    return _classes(_read(path), path)


def _read(path: Path) -> pd.DataFrame:
    return read_table(Path(path), f"There is no file {path}.")


def _classes(frame: pd.DataFrame, path: Path) -> tuple[str, ...]:
    columns = [str(name) for name in frame.columns]
    found = [name for name in columns if name.startswith(_OF_CLASS)]
    if len(found) < 3:
        return ()
    names = tuple(name.removeprefix(_OF_CLASS) for name in found)
    both = [name for name in NAMES["prob"] if name in columns]
    if "" in names or both:
        fault = "a column prob_ without a class"
        if both:
            fault = f"the columns {', '.join(found)} of several classes, and {both[0]} of two"
        raise UserError(f"{path} has {fault}. Take one away.")
    return names


def _named(frame: pd.DataFrame, path: Path, level: str, needed: tuple[str, ...]) -> pd.DataFrame:
    """The rows of one level as text, with columns called by the keys of `NAMES`."""
    if "level" in frame:
        frame = _one_level(frame, level, path)
    found = {}
    for name, options in NAMES.items():
        there = [option for option in options if option in frame.columns]
        if there:
            found[there[0]] = name
        elif name in needed:
            raise UserError(
                f"{path} has no column {' or '.join(options)}; it has {listed_columns(frame)}."
                + _of_two_classes(frame, name)
            )
        if name in ("label", "prob"):
            _check_alone(frame, there, path)
    taken = [c for c in found.values() if c in frame.columns and c not in found]
    frame = frame.drop(columns=taken).rename(columns=found)
    for name, other in (("case", None), ("patient_id", "case")):
        if name not in frame:
            frame[name] = frame[other] if other else [str(i + 1) for i in range(len(frame))]
    return frame


def _of_two_classes(frame: pd.DataFrame, name: str) -> str:
    """What to do where each of two classes has its probability."""
    columns = [str(column) for column in frame.columns if str(column).startswith(_OF_CLASS)]
    if name != "prob" or len(columns) != 2:
        return ""
    return f" Of two classes, rename the column of the positive one ({' or '.join(columns)}) prob."


def _check_alone(frame: pd.DataFrame, names: Sequence[str], path: Path) -> None:
    """Raises UserError where columns that mean the same differ. A `y` beside another name may be a
    place."""
    for name in names[1:]:
        alike = frame[name] == frame[names[0]]
        alike |= exact_numbers(frame[name]) == exact_numbers(frame[names[0]])
        if name != "y" and not alike.all():
            raise UserError(
                f"{path} has the columns {names[0]} and {name}, which differ; both may be meant. "
                "Rename the one that is not, or take it away."
            )


def _numbers(frame: pd.DataFrame, columns: list[str], kind: type) -> dict[str, pd.Series]:
    return {name: frame[name].astype(float).astype(kind) for name in columns}


def match_cases(first: pd.DataFrame, second: pd.DataFrame, where: str) -> np.ndarray:
    """Probabilities of the second table for the cases of the first, in their order.

    Raises:
        UserError: the tables do not hold the same cases, or disagree about a label.
    """
    other = second.set_index("case")
    lacking = [case for case in first["case"] if case not in other.index]
    more = len(second) - (len(first) - len(lacking))
    if lacking or more:
        alike = {as_number(case): case for case in other.index}
        example = f" (as {lacking[0]})" if lacking else ""
        if lacking and as_number(lacking[0]) in alike:
            example = (
                f" (as {lacking[0]}, which is {alike[as_number(lacking[0])]} there: a program has "
                "taken the names for numbers; write them alike in both)"
            )
        raise UserError(
            f"{where} does not hold the same cases: {len(lacking)} are missing in it, {more} are "
            f"there that the first file lacks{example}."
        )
    rows = other.loc[first["case"]]
    wrong = np.flatnonzero(rows["label"].to_numpy() != first["label"].to_numpy())
    if len(wrong):
        raise UserError(
            f"{where} gives {len(wrong)} case(s) another label (as {first['case'].iloc[wrong[0]]})."
        )
    return rows["prob"].to_numpy()


def in_fixed_order(
    cases: pd.DataFrame, beside: np.ndarray | None = None
) -> tuple[pd.DataFrame, np.ndarray | None]:
    """The cases, and what is known beside them [cases], in an order that does not depend on that of
    the rows: a bootstrap draws by place, and sums are rounded by it.

    Sorted by all that is said of a case, its name last, for that may be the number of its row.
    """
    names = ("patient_id", "case")
    columns = [name for name in cases.columns if name not in names]
    table = cases.assign(**{_BESIDE: 0.0 if beside is None else beside})
    table = table.sort_values([*columns, _BESIDE, *names], kind="stable", key=_sortable)
    ordered = table[_BESIDE].to_numpy()
    return table.drop(columns=_BESIDE).reset_index(drop=True), None if beside is None else ordered


def _sortable(cells: pd.Series) -> pd.Series:
    return cells if pd.api.types.is_numeric_dtype(cells) else cells.astype(str)


def _one_level(frame: pd.DataFrame, level: str, path: Path) -> pd.DataFrame:
    there = [name for name in frame["level"].unique() if name]
    # Others' names count as smaller than a patient.
    there.sort(key=lambda name: LEVELS.index(name) if name in LEVELS else -1)
    if level and level not in there:
        raise UserError(f"{path} has no rows of level {level}; there is {', '.join(there)}.")
    if not there:
        raise UserError(f"{path} has a column level with nothing in it. Fill it or leave it out.")
    return frame[frame["level"] == (level or there[-1])].drop(columns="level")


def _faults(
    frame: pd.DataFrame,
    labels: np.ndarray,
    classes: Sequence[int],
    columns: list[str],
    several_models: bool,
) -> list[str]:
    """Faults of the rows, one sentence each."""
    if not len(frame):
        return ["It holds no prediction, only a header."]
    two = len(classes) == 2
    names = ", ".join(name.removeprefix(_OF_CLASS) for name in columns)
    what = (
        f"is neither 0 nor 1{which_is_positive(frame['label'])}"
        if two
        else f"is none of {names} (or, throughout, their place from 0)"
    )
    checks = [("label", ~np.isin(labels, classes), what)]
    probs = {name: exact_numbers(frame[name]) for name in columns}
    with np.errstate(invalid="ignore"):
        for name, prob in probs.items():
            bad = ~((prob >= 0) & (prob <= 1))
            advice = _probability_advice(frame[name][bad], prob)
            checks.append((name, bad, f"is no number from 0 to 1{advice}"))
        if not two:
            total = np.sum(list(probs.values()), axis=0)
            wrong = ~(np.abs(total - 1) < 1e-3)
            checks.append((columns[0], wrong, f"does not sum to 1 with {', '.join(columns[1:])}"))
    for name in ("case", "patient_id"):
        checks.append((name, (frame[name] == "").to_numpy(), "is empty"))
    faults = faults_of_rows(frame, checks)
    twice = frame.duplicated(["fold", "case"] if several_models and "fold" in frame else ["case"])
    if twice.any():
        named = list(frame.loc[twice, "case"].unique())
        faults.append(f"{len(named)} case(s) are there twice ({some(named)}).")
    return faults


def _probability_advice(bad: pd.Series, probs: np.ndarray) -> str:
    """What the cells that are no probability may be instead.

    Args:
        bad: these cells.
        probs: all cells as numbers, NaN where one is none.
    """
    known = probs[np.isfinite(probs)]
    if bad.isin(MISSING).all():
        return " (a case without a prediction has no row)"
    if bad.map(lambda cell: bool(_DECIMAL_COMMA.fullmatch(cell))).any():
        return " (write a decimal point, or separate the cells by semicolons)"
    if bad.str.endswith("%").any() or (len(known) and 1 < np.median(known) <= max(known) <= 100):
        return " (write 0.71 for 71 per cent)"
    if len(known) and min(known) < 0:
        return " (of a logit x the probability is 1 / (1 + exp(-x)))"
    return ""
