"""The table of a reader study: who rated which case how, in which modality."""

from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pandas as pd

from msk_jax.evaluation.tables.faults import (
    exact_numbers,
    faults_of_rows,
    refuse,
    require_columns,
    some,
    which_is_positive,
)
from msk_jax.table_reader import MISSING, as_number, read_table

COLUMNS = ("reader", "case", "modality", "truth", "rating")
"""Columns that must be there; `group` (of readers) may follow."""


@dataclass(frozen=True)
class Ratings:
    """A reader study as arrays."""

    truth: np.ndarray
    """0 or 1 [cases]."""
    ratings: np.ndarray
    """[modalities, readers, cases], NaN where a reader did not read a case in a modality."""
    modalities: tuple[str, ...]
    """In the order of the file."""
    readers: tuple[str, ...]
    """In the order of the file."""
    cases: tuple[str, ...]
    """In the order of the file."""
    groups: dict[str, str]
    """Group of each reader who has one."""

    def by_group(self) -> dict[str, list[str]]:
        """Readers of each group, of those who have one."""
        return {
            name: [reader for reader in self.readers if self.groups.get(reader) == name]
            for name in dict.fromkeys(self.groups.values())
        }

    def of_readers(self, readers: list[str]) -> "Ratings":
        """The same study with these readers alone."""
        kept = [self.readers.index(name) for name in readers]
        groups = {name: self.groups[name] for name in readers if name in self.groups}
        return Ratings(
            self.truth, self.ratings[:, kept], self.modalities, tuple(readers), self.cases, groups
        )


def read_ratings(path: Path) -> Ratings:
    """The checked table of a ratings file.

    Args:
        path: table with `COLUMNS`: truth 0 or 1, rating a number that is higher for 1. A row is one
            reading; a case that a reader did not read has no row. Who has nothing as `group`
            (`table_reader.MISSING`) is in none.

    Raises:
        UserError: the file is missing or no table, or its rows are faulty; all faults are listed.
    """
    path = Path(path)
    missing = f"There is no file {path}. Give the table with --ratings."
    frame = read_table(path, missing)
    return ratings_from_table(frame, str(path))


def ratings_from_table(frame: pd.DataFrame, where: str) -> Ratings:
    """Arrays from a table; see `read_ratings`. `where` names the table in an error."""
    require_columns(frame, COLUMNS, where)
    names = [name for name in ("reader", "case", "modality", "group") if name in frame]
    frame = frame.assign(**{name: frame[name].astype(str).str.strip() for name in names})
    refuse(_faults(frame), where)
    frame = frame.reset_index(drop=True)
    axes = [pd.factorize(frame[name]) for name in ("modality", "reader", "case")]
    codes, names = [a[0] for a in axes], [tuple(map(str, a[1])) for a in axes]
    ratings = np.full([len(n) for n in names], np.nan)
    ratings[tuple(codes)] = frame["rating"].astype(float)
    truth = np.zeros(len(names[2]), int)
    truth[codes[2]] = frame["truth"].astype(float).astype(int)
    groups = {}
    if "group" in frame:
        named = frame[~frame["group"].isin(MISSING)]
        groups = dict(zip(named["reader"], named["group"], strict=True))
    return Ratings(truth, ratings, *names, groups)


def _faults(frame: pd.DataFrame) -> list[str]:
    """What keeps the table from being a study, one sentence each."""
    if not len(frame):
        return ["It holds no reading, only a header."]
    truth = exact_numbers(frame["truth"])
    rating = exact_numbers(frame["rating"])
    checks = [
        (name, (frame[name] == "").to_numpy(), "is empty")
        for name in ("reader", "case", "modality")
    ]
    checks += [
        (
            "truth",
            ~np.isin(truth, (0, 1)),
            f"is neither 0 nor 1{which_is_positive(frame['truth'])}",
        ),
        ("rating", ~np.isfinite(rating), "is no number (a reading that was not made has no row)"),
    ]
    faults = faults_of_rows(frame, checks) or _written_in_two_ways(frame)
    if faults:
        return faults
    twice = frame[frame.duplicated(["reader", "case", "modality"])]
    if len(twice):
        named = [f"reader {r.reader}, case {r.case}" for r in twice.itertuples()]
        faults.append(f"{len(twice)} reading(s) are there twice ({some(named)}).")
    owners = frame.assign(truth=truth).groupby("case", sort=False)["truth"].nunique()
    if (owners > 1).any():
        faults.append(f"Cases have two truths ({some(list(owners[owners > 1].index))}).")
    if len(set(truth)) < 2:
        faults.append("All cases have the same truth; a reader study needs both.")
    if frame["modality"].nunique() < 2:
        faults.append("There is one modality only; a comparison needs two.")
    pairs = frame[["reader", "modality"]].drop_duplicates()
    every = frame["reader"].nunique() * frame["modality"].nunique()
    if len(frame["reader"].unique()) < len(pairs) < every:
        counts = pairs.groupby("reader", sort=False).size()
        named = list(counts[counts < frame["modality"].nunique()].index)
        faults.append(
            f"Readers lack a modality ({some(named)}). Every reader must read in every one, or "
            "each in one alone; to set a model beside readers give it the same ratings in each."
        )
    if "group" in frame:
        named = frame[~frame["group"].isin(MISSING)]
        groups = named.groupby("reader", sort=False)["group"].nunique()
        if (groups > 1).any():
            faults.append(f"Readers are in two groups ({some(list(groups[groups > 1].index))}).")
    return faults


def _written_in_two_ways(frame: pd.DataFrame) -> list[str]:
    """Names that are likely one: `Unaided` and `unaided`, `01` and `1`.

    Cases are looked at only where readings are missing: a case in two ways leaves some.
    """
    names = [name for name in ("reader", "modality", "group") if name in frame]
    shape = [frame[name].nunique() for name in ("reader", "case", "modality")]
    if len(frame) < np.prod(shape):
        names.append("case")
    faults = []
    for name in names:
        values = pd.Series(frame[name].unique())
        one = values.map(lambda v: as_number(" ".join(normalize("NFKC", v).casefold().split())))
        twice = list(values[one == one[one.duplicated()].iloc[0]]) if one.duplicated().any() else []
        if twice:
            faults.append(
                f"{name} has names that differ in capitals, spaces or zeros alone "
                f"({' and '.join(map(repr, twice))}). Write one name in one way."
            )
    return faults
