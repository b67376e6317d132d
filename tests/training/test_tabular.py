"""Logistic models of the patients' table beside the same fit on columns made by hand."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from msk_jax.config import from_json, to_json
from msk_jax.errors import UserError
from msk_jax.training.logistic_model import LogisticModel
from msk_jax.training.tabular import Coefficients, fit

MODEL = LogisticModel("clinical", ("age", "sex"), words=("bone",))


def _rows(count=80):
    rng = np.random.default_rng(0)
    age, sex = rng.normal(30, 12, count).round(), rng.choice(["F", "M"], count)
    bone = rng.choice(["femur", "tibia", "fibula"], count)
    label = (rng.random(count) < 1 / (1 + np.exp((age - 30) / 10 + (bone == "tibia")))).astype(int)
    return pd.DataFrame({"age": age, "sex": sex, "bone": bone, "label": label})


def test_words_are_one_hot_and_numbers_standardised():
    rows = _rows()
    numbers = np.stack([rows["age"], rows["sex"] == "F"], 1).astype(float)
    numbers = (numbers - numbers.mean(0)) / numbers.std(0)
    words = [rows["bone"] == name for name in ("femur", "fibula", "tibia")]
    by_hand = np.column_stack([numbers, *words])
    expected = LogisticRegression(C=1.0, max_iter=1000).fit(by_hand, rows["label"])
    found = fit(MODEL, rows)
    np.testing.assert_allclose(
        found.predict(rows), expected.predict_proba(by_hand)[:, 1], atol=1e-9
    )
    kept = json.loads(json.dumps(to_json(found)))
    np.testing.assert_array_equal(
        from_json(kept, Coefficients, "here").predict(rows), found.predict(rows)
    )


def test_a_missing_number_is_the_median_and_log_odds_are_not_standardised():
    rows = _rows().assign(prob=np.linspace(0.01, 0.99, 80), empty=np.nan)
    stacked = LogisticModel("combined", ("age", "empty"), image=True)
    known = rows.assign(age=rows["age"].where(rows.index != 3))
    found = fit(stacked, known)
    age = rows["age"].mask(rows.index == 3, known["age"].median()).to_numpy()
    odds = np.log(rows["prob"] / (1 - rows["prob"]))
    by_hand = np.column_stack([(age - age.mean()) / age.std(), np.zeros(80), odds])
    expected = LogisticRegression(C=1.0, max_iter=1000).fit(by_hand, rows["label"])
    np.testing.assert_allclose(
        found.predict(known), expected.predict_proba(by_hand)[:, 1], atol=1e-9
    )


def test_strength_shrinks_the_columns_and_not_the_log_odds():
    """The gradient of the penalised likelihood is 0, with a penalty of its own for each weight."""
    rows = _rows().assign(prob=np.linspace(0.01, 0.99, 80)[::-1])
    model = LogisticModel("combined", ("age", "sex"), True, ("bone",), strength=0.05)
    found = fit(model, rows)
    numbers = np.stack([rows["age"], rows["sex"] == "F"], 1).astype(float)
    words = [rows["bone"] == name for name in ("femur", "fibula", "tibia")]
    odds = np.log(rows["prob"] / (1 - rows["prob"]))
    by_hand = np.column_stack([(numbers - numbers.mean(0)) / numbers.std(0), *words, odds])
    gradient = by_hand.T @ (rows["label"] - found.predict(rows))
    penalty = np.array([20, 20, 20, 20, 20, 1]) * found.weights
    np.testing.assert_allclose(gradient, penalty, atol=0.05)
    assert np.abs(penalty).max() > 5


def test_an_unknown_word_counts_for_nothing_and_an_empty_one_is_a_word():
    rows = _rows()
    found = fit(MODEL, rows)
    asked = rows.iloc[:2].assign(bone=["patella", None])
    numbers = np.stack([asked["age"], asked["sex"] == "F"], 1).astype(float)
    numbers = (numbers - found.means) / found.scales
    expected = 1 / (1 + np.exp(-(numbers @ found.weights[:2] + found.intercept)))
    np.testing.assert_allclose(found.predict(asked), expected, atol=1e-12)
    with_empty = rows.assign(bone=rows["bone"].where(rows["age"] > 20, ""))
    assert len(fit(MODEL, with_empty).weights) == 6


def test_a_word_that_the_cohort_does_not_keep():
    with pytest.raises(UserError, match="clinical model wants bone"):
        fit(MODEL, _rows().drop(columns="bone"))
