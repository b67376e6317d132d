"""Local weights of a linear model, and the ridge behind them beside scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from msk_jax.errors import UserError
from msk_jax.methods.estimator import Estimator, Impute, Logistic, Standardise
from msk_jax.methods.fitting import fit
from msk_jax.methods.lime import local_weights, ridge
from tests.methods.tables import ORDERED, WORDS, table


def _fitted():
    rows, labels, _, groups = table(200)
    # Little strength, so that probabilities are nearly linear.
    estimator = Estimator((Impute(), Standardise(), Logistic(strength=0.02)))
    return rows, fit(estimator, rows, labels, 2, WORDS, ORDERED, groups, 0)


def test_a_linear_model_has_its_own_signs_and_order():
    rows, fitted = _fitted()
    local = local_weights(fitted, rows.iloc[[1, 2, 3]], rows, 0)
    numbers = [name for name in rows if name not in WORDS]
    names = list(fitted.selected)
    weights = np.array([fitted.classifier.weights[0, names.index(name)] for name in numbers])
    large = np.abs(weights) > 0.02
    assert large.sum() >= 2
    for _, row in local[numbers].iterrows():
        assert (np.sign(row.to_numpy()[large]) == np.sign(weights[large])).all()
        order = np.argsort(-np.abs(row.to_numpy()))[:2]
        assert list(order) == list(np.argsort(-np.abs(weights))[:2])
        # The slope of a probability near 1/2 is a quarter of the log-odds'.
        np.testing.assert_allclose(row, weights / 4, atol=0.2 * np.abs(weights).max() / 4)


def test_having_a_word_speaks_for_what_it_speaks_for():
    rows, fitted = _fitted()
    word = rows["bone"].to_numpy()
    local = local_weights(fitted, rows.iloc[[np.argmax(word == "tibia")]], rows, 0)
    assert local["bone"].iloc[0] > 0.02
    other = local_weights(fitted, rows.iloc[[np.argmax(word == "fibula")]], rows, 0)
    assert other["bone"].iloc[0] < -0.01


def test_what_is_missing_has_no_weight_and_seeds_repeat():
    rows, fitted = _fitted()
    asked = rows.iloc[[0]]  # lacks bmi and bone
    local = local_weights(fitted, asked, rows, 3, samples=300)
    assert local["bmi"].iloc[0] == 0 and local["bone"].iloc[0] == 0 and local["age"].iloc[0] > 0
    np.testing.assert_array_equal(local_weights(fitted, asked, rows, 3, samples=300), local)
    opposite = local_weights(fitted, asked, rows, 3, of_class=0, samples=300)
    np.testing.assert_allclose(opposite, -local, atol=1e-12)
    with pytest.raises(UserError, match="need background rows"):
        local_weights(fitted, asked, rows.iloc[:0], 0)


def test_the_ridge_is_scikit_learns():
    rng = np.random.default_rng(0)
    features, target, weights = rng.normal(size=(50, 4)), rng.normal(size=50), rng.random(50)
    theirs = Ridge(alpha=1.0).fit(features, target, sample_weight=weights)
    np.testing.assert_allclose(ridge(features, target, weights), theirs.coef_, atol=1e-10)
