"""Logistic models of the patients' table beside the same fit on columns made by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from msk_jax.errors import UserError
from msk_jax.training.tabular import LogisticModel, design, fit

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
        found.predict_proba(design(MODEL, rows)), expected.predict_proba(by_hand), atol=1e-9
    )


def test_an_unknown_word_counts_for_nothing_and_an_empty_one_is_a_word():
    rows = _rows()
    found = fit(MODEL, rows)
    asked = rows.iloc[:2].assign(bone=["patella", None])
    weights = found[-1].coef_[0]
    numbers = found[0].named_transformers_["pipeline"].transform(asked.assign(sex=[
        {"F": 1.0, "M": 0.0}[sex] for sex in asked["sex"]
    ])[["age", "sex"]])  # fmt: skip
    expected = 1 / (1 + np.exp(-(numbers @ weights[:2] + found[-1].intercept_)))
    np.testing.assert_allclose(
        found.predict_proba(design(MODEL, asked))[:, 1], expected, atol=1e-12
    )
    with_empty = rows.assign(bone=rows["bone"].where(rows["age"] > 20, ""))
    assert fit(MODEL, with_empty)[-1].coef_.shape == (1, 6)


def test_a_word_that_the_cohort_does_not_keep():
    with pytest.raises(UserError, match="clinical model wants bone"):
        fit(MODEL, _rows().drop(columns="bone"))
