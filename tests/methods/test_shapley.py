"""Shapley values: their sums, every subset of four columns, and what order they give."""

from itertools import combinations
from math import factorial

import numpy as np
import pandas as pd
import pytest

from msk_jax.errors import UserError
from msk_jax.methods import shapley
from msk_jax.methods.estimator import (
    SVM,
    Estimator,
    Impute,
    LightGBM,
    Logistic,
    RandomForest,
    Standardise,
    XGBoost,
)
from msk_jax.methods.fitting import fit
from msk_jax.methods.shapley import by_variable, contributions, ranking
from tests.methods.tables import ORDERED, WORDS, table

MODELS = [
    (Logistic(), 1e-10),
    (LightGBM(trees=20, early_stopping=None), 1e-6),
    (XGBoost(trees=20, early_stopping=None), 1e-4),
    (RandomForest(trees=10), 1e-6),
    (SVM(folds=3), 1e-10),
]
IDS = [type(model).__name__ for model, _ in MODELS]


def _fitted(model, labels, rows, groups, classes):
    estimator = Estimator((Impute(), Standardise(), model))
    return fit(estimator, rows, labels, classes, WORDS, ORDERED, groups, 0)


def _by_subsets(score, row, base):
    """Mean over the background of each subset of the row's columns, weighed as Shapley does."""
    count = len(row)

    def value(subset):
        mixed = base.copy()
        mixed[:, list(subset)] = row[list(subset)]
        return score(mixed).mean()

    phi = np.zeros(count)
    for i in range(count):
        others = [j for j in range(count) if j != i]
        for size in range(count):
            weight = factorial(size) * factorial(count - size - 1) / factorial(count)
            for subset in combinations(others, size):
                phi[i] += weight * (value((*subset, i)) - value(subset))
    return phi


@pytest.mark.parametrize(("model", "tolerance"), MODELS, ids=IDS)
@pytest.mark.parametrize("of_class", [1, 0])
def test_values_of_four_columns_are_those_of_all_subsets(model, tolerance, of_class):
    rows, labels, _, groups = table(80, noise=1)
    rows = rows[["age", "bmi", "noise0", "garden"]]
    fitted = _fitted(model, labels, rows, groups, 2)
    base, asked = rows.iloc[:25], rows.iloc[40:43]
    answer = contributions(fitted, asked, base, 0, of_class)
    prepared = fitted.prepared(asked)

    def score(values):
        return fitted.classifier.score(values, of_class)

    expected = [_by_subsets(score, row, fitted.prepared(base)) for row in prepared]
    # Random orders come near: ten of the twenty-four, each to and fro.
    near = 0.02 if isinstance(model, SVM) else max(tolerance, 1e-7)
    np.testing.assert_allclose(answer.values, expected, atol=near)
    total = answer.values.sum(axis=1) + answer.expected
    np.testing.assert_allclose(total, score(prepared), atol=tolerance)
    assert answer.expected == pytest.approx(score(fitted.prepared(base)).mean(), abs=1e-12)


@pytest.mark.parametrize(("model", "tolerance"), MODELS[:4], ids=IDS[:4])
def test_each_of_three_classes_adds_up(model, tolerance):
    rows, _, labels, groups = table(90, noise=1)
    fitted = _fitted(model, labels, rows, groups, 3)
    asked = rows.iloc[:10]
    for k in range(3):
        answer = contributions(fitted, asked, rows, 0, k)
        total = answer.values.sum(axis=1) + answer.expected
        wanted = fitted.classifier.score(fitted.prepared(asked), k)
        np.testing.assert_allclose(total, wanted, atol=tolerance)
    assert answer.unit == ("probability" if model == MODELS[3][0] else "score before the softmax")


def test_words_are_summed_and_the_signal_leads():
    rows, labels, _, groups = table(200)
    fitted = _fitted(Logistic(), labels, rows, groups, 2)
    answer = contributions(fitted, rows, rows, 0)
    assert answer.unit == "log-odds"
    assert list(answer.values)[-3:] == ["bone=tibia", "bone=fibula", "garden"]
    sums = by_variable(fitted, answer.values)
    assert list(sums) == list(rows)
    both = answer.values["bone=tibia"] + answer.values["bone=fibula"]
    pd.testing.assert_series_equal(sums["bone"], both, check_names=False)
    assert list(ranking(sums).index[:3]) == ["age", "bmi", "bone"]


def test_no_background_and_wrong_sums_are_refused(monkeypatch):
    rows, labels, _, groups = table(60)
    fitted = _fitted(XGBoost(trees=5, early_stopping=None), labels, rows, groups, 2)
    with pytest.raises(UserError, match="need background rows"):
        contributions(fitted, rows, rows.iloc[:0], 0)
    right = shapley._of_trees
    monkeypatch.setattr(shapley, "_of_trees", lambda *given: 1.5 * right(*given))
    with pytest.raises(UserError, match="miss the model's answer by"):
        contributions(fitted, rows, rows, 0)


def test_a_forest_adds_up_where_values_lie_on_its_thresholds():
    """Thresholds are between values of single precision, closer than that precision tells apart."""
    rng = np.random.default_rng(0)
    values = np.round(rng.normal(size=300), 6)
    values[1::2] = np.nextafter(values[::2].astype(np.float32), np.float32(9)).astype(float)
    labels = np.tile([0, 1], 150)
    rows = pd.DataFrame({"a": values, "b": rng.normal(size=300)})
    estimator = Estimator((RandomForest(trees=30),))
    fitted = fit(estimator, rows, labels, 2, {}, set(), np.arange(300).astype(str), 0)
    answer = contributions(fitted, rows.iloc[:60], rows.iloc[100:180], 0)
    wanted = fitted.predict(rows.iloc[:60])[:, 1] - answer.expected
    np.testing.assert_allclose(answer.values.sum(axis=1), wanted, atol=1e-9)
