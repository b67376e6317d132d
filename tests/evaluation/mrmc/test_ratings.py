"""Tables of ratings: who is in which group, and names that are written in two ways."""

import itertools

import pandas as pd
import pytest

from msk_jax.errors import UserError
from msk_jax.evaluation.mrmc.aided import aided_study
from msk_jax.evaluation.mrmc.ratings import read_ratings
from msk_jax.evaluation.mrmc.study import MrmcSettings, analyse


@pytest.fixture
def table():
    """Three readers of eight cases in two modalities."""
    rows = [
        (f"R{j}", f"k{k}", modality, k % 2, (7 * j + 5 * k * k + len(modality)) % 11 + 4 * (k % 2))
        for j, k, modality in itertools.product((1, 2, 3), range(8), ("unaided", "aided"))
    ]
    return pd.DataFrame(rows, columns=["reader", "case", "modality", "truth", "rating"])


def _written(table, folder):
    table.to_csv(folder / "ratings.csv", index=False)
    return folder / "ratings.csv"


@pytest.mark.parametrize("nothing", ["", "NA", "nan", " "])
def test_an_empty_group_is_no_group(table, tmp_path, nothing):
    groups = table["reader"].map({"R1": nothing, "R2": "senior", "R3": "senior"})
    study = read_ratings(_written(table.assign(group=groups), tmp_path))
    assert study.by_group() == {"senior": ["R2", "R3"]} and study.readers == ("R1", "R2", "R3")
    assert list(analyse(study, MrmcSettings())["groups"]) == ["senior"]
    # What one row states and another leaves empty is stated.
    groups[table["case"] == "k0"] = ""
    study = read_ratings(_written(table.assign(group=groups), tmp_path))
    assert study.by_group() == {"senior": ["R2", "R3"]}


@pytest.mark.parametrize(
    ("column", "old", "new"),
    [
        ("modality", "unaided", "Unaided"),
        ("reader", "R1", "r1"),
        ("case", "k3", "K3"),
        ("reader", "R1", "R\uff11"),  # a full-width 1
    ],
)
def test_a_name_in_two_ways_is_refused(table, tmp_path, column, old, new):
    rows = table.index[table[column] == old]
    table.loc[rows[: len(rows) // 2], column] = new
    with pytest.raises(UserError, match=f"{column} has names that differ in capitals.*'{new}' and"):
        read_ratings(_written(table, tmp_path))


def test_cells_that_are_no_rating_or_truth_say_what_to_do(table, tmp_path):
    table["rating"] = table["rating"].astype(object)
    table.loc[5, "rating"] = "NA"
    with pytest.raises(UserError, match=r"reading that was not made has no row\).*row 7: 'NA'"):
        read_ratings(_written(table, tmp_path))
    words = table.assign(rating=1, truth=table["truth"].map({0: "no", 1: "yes"}))
    with pytest.raises(UserError, match="there is no and yes: write 1 for the positive class"):
        read_ratings(_written(words, tmp_path))


def test_a_single_reader_with_and_without_help_speaks_for_itself(table):
    one = table[table["reader"] == "R1"]
    truth = dict(zip(one["case"], one["truth"], strict=True))
    scores = {case: 0.4 + t / 5 for case, t in truth.items()}
    study = aided_study(one, truth, scores, 0.5, samples=5)
    assert study["analysis"]["overall"]["random"] == "cases"
    assert study["kappa"]["all"] is None
