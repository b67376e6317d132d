"""Imputation, standardisation and log-odds by hand and beside scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from msk_jax.errors import UserError
from msk_jax.methods.design import Column, design, design_columns
from msk_jax.methods.estimator import Impute, LogOdds, Standardise
from msk_jax.methods.preparing import prepare


def _numbers(count):
    return tuple(Column(f"c{i}", f"c{i}", "number") for i in range(count))


def test_numbers_are_filled_and_scaled_as_by_scikit_learn():
    rng = np.random.default_rng(0)
    values, new = rng.lognormal(size=(2, 30, 4))
    values[::3, 1] = new[::4, 2] = np.nan
    values[:, 3] = 7.3
    theirs = make_pipeline(SimpleImputer(strategy="median"), StandardScaler()).fit(values)
    filler = prepare(Impute(), values, _numbers(4))
    scaler = prepare(Standardise(), filler.apply(values), _numbers(4))
    ours, expected = scaler.apply(filler.apply(new)), theirs.transform(new)
    np.testing.assert_array_equal(ours[:, :3], expected[:, :3])
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-13)
    assert (scaler.apply(filler.apply(values))[:, 3] == 0).all()


def test_a_missing_word_is_the_most_frequent_and_of_equals_the_first_allowed():
    words = {"bone": ("femur", "tibia", "fibula"), "side": ("left", "right")}
    words["garden"] = ("I", "II", "III")
    rows = pd.DataFrame(
        {
            "bone": ["tibia", "fibula", "fibula", "tibia", "femur", ""],
            "side": ["right", "left", "", "", "left", ""],
            "garden": ["III", "III", "I", "", "", "II"],
        }
    )
    names = tuple(rows)
    values = design(rows, words, {"garden"}).to_numpy()
    columns = design_columns(names, words, {"garden"})
    filler = prepare(Impute(), values, columns)
    np.testing.assert_array_equal(filler.fills, [1, 0, 0, 2])
    everything = prepare(
        Impute(),
        design(rows, words, {"garden"}, "all").to_numpy(),
        design_columns(names, words, {"garden"}, "all"),
    )
    np.testing.assert_array_equal(everything.fills, [0, 1, 0, 1, 0, 2])


def test_of_equally_frequent_words_it_is_the_first_allowed():
    words = {"bone": ("femur", "tibia", "fibula")}
    for cells, first in ((["fibula", "tibia"], [1, 0]), (["fibula", "femur"], [0, 0])):
        rows = pd.DataFrame({"bone": [*cells, ""]})
        values = design(rows, words, ()).to_numpy()
        filler = prepare(Impute(), values, design_columns(("bone",), words, ()))
        np.testing.assert_array_equal(filler.fills, first)


def test_being_missing_is_a_column_where_training_rows_lack_it():
    values = np.array([[1.0, np.nan, np.nan], [3.0, np.nan, 5.0]])
    filler = prepare(Impute(missing=True), values, _numbers(3))
    assert [c.name for c in filler.columns(_numbers(3))[3:]] == ["c1 missing", "c2 missing"]
    new = np.array([[np.nan, 4.0, np.nan]])
    np.testing.assert_array_equal(filler.apply(new), [[2, 4, 5, 0, 1]])
    np.testing.assert_array_equal(filler.apply(values)[:, 1], [0, 0])


def test_columns_may_be_left_and_probabilities_become_log_odds():
    values = np.array([[0.0, 10.0], [0.5, 20.0], [0.9, 60.0]])
    odds = prepare(LogOdds(("c0",)), values, _numbers(2)).apply(values)
    np.testing.assert_allclose(odds[:, 0], [np.log(1e-6 / (1 - 1e-6)), 0, np.log(9)], rtol=1e-12)
    scaler = prepare(Standardise(leave=("c0",)), odds, _numbers(2))
    np.testing.assert_array_equal(scaler.apply(odds)[:, 0], odds[:, 0])
    assert scaler.apply(odds)[:, 1].std() == pytest.approx(1)
    with pytest.raises(UserError, match="Standardise names d, which is no column"):
        prepare(Standardise(leave=("d",)), odds, _numbers(2))
