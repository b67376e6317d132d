"""Selections beside scikit-learn and by hand, and that they look at training rows alone."""

import numpy as np
import pytest
from sklearn.feature_selection import RFE
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.svm import SVC

from msk_jax.errors import UserError
from msk_jax.methods import selection
from msk_jax.methods.design import Column
from msk_jax.methods.estimator import SVMRFE, Chosen, Lasso, Uncorrelated
from msk_jax.methods.inner_folds import inner_folds
from msk_jax.methods.selection import elimination, penalised, select
from msk_jax.methods.selection.choice import Choice, standardised


def _columns(values):
    return tuple(Column(f"c{i}", f"c{i}", "number") for i in range(values.shape[1]))


def _planted(count=120, columns=25, seed=0):
    """Columns 3, 7 and 11 carry the label; two rows of each patient."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count, columns))
    risk = 2 * values[:, 3] - 2 * values[:, 7] + 1.5 * values[:, 11] + rng.logistic(size=count)
    return values, (risk > 0).astype(int), np.repeat(np.arange(count // 2), 2).astype(str)


def _kept(step, values, labels, groups):
    return set(select(step, values, _columns(values), labels, groups, 0).places.tolist())


@pytest.mark.parametrize("classes", [2, 3])
def test_the_path_has_scikit_learns_minima(classes):
    """Their objective is C * sum of losses + sum of absolute weights."""
    values, labels, _ = _planted(80, 12)
    if classes == 3:
        labels = labels + (values[:, 5] > 0.3)
    (x,) = standardised(values)
    grid = penalised.penalties(x, labels, 8)
    weights, intercepts = penalised.l1_path(x, labels, grid)
    assert (weights[0] == 0).all() and (weights[1] != 0).any()
    for i in (1, 4):
        theirs = LogisticRegression(
            l1_ratio=1, C=1 / (80 * grid[i]), solver="saga", tol=1e-9, max_iter=100_000
        ).fit(x, labels == classes - 1)
        np.testing.assert_allclose(weights[i, -1], theirs.coef_[0], atol=1e-5)
        np.testing.assert_allclose(intercepts[i, -1], theirs.intercept_[0], atol=1e-5)


def test_the_rule_of_the_penalty_by_hand():
    """Means 3, 2.2, 2, 2.1; the error of the third is sqrt(mean of 1, 0, 1 / (3 - 1)) = 0.577."""
    deviances = np.array([[3, 3.2, 3, 3.1], [3, 2.2, 2, 2.1], [3, 1.2, 1, 1.1]])
    sizes = np.array([5.0, 5.0, 5.0])
    assert penalised.chosen_penalty(deviances, sizes, "min") == 2
    assert penalised.chosen_penalty(deviances, sizes, "1se") == 1
    # A fold without rows has no say.
    assert penalised.chosen_penalty(deviances[:, ::-1], np.array([1.0, 0, 0]), "min") == 1


def test_planted_columns_are_selected():
    values, labels, groups = _planted()
    planted = {3, 7, 11}
    full = _kept(Lasso(folds=4, penalties=25), values, labels, groups)
    assert planted <= full
    spare = _kept(Lasso(folds=4, penalties=25, rule="1se"), values, labels, groups)
    assert planted <= spare and len(spare) < len(full)
    assert _kept(Lasso(folds=4, penalties=25, keep=3), values, labels, groups) == planted
    by_rounds = _kept(SVMRFE(folds=4, drop=0.2), values, labels, groups)
    assert planted <= by_rounds and len(by_rounds) < 15
    both = _kept(Chosen((Lasso(4, penalties=25), SVMRFE(4, drop=0.2))), values, labels, groups)
    assert both == full & by_rounds
    either = Chosen((Lasso(4, penalties=25), SVMRFE(4, drop=0.2)), "either")
    assert _kept(either, values, labels, groups) == full | by_rounds


def test_where_nothing_is_selected_the_strongest_is(monkeypatch):
    values, labels, groups = _planted()
    monkeypatch.setattr(penalised, "chosen_penalty", lambda *_: 0)
    (x,) = standardised(values)
    strongest = np.argmax(np.abs(x.T @ (labels - labels.mean())))
    assert _kept(Lasso(folds=2, penalties=5), values, labels, groups) == {strongest}


def test_where_two_selections_agree_on_nothing_it_is_the_first_ones_strongest(monkeypatch):
    values, labels, groups = _planted()
    first, second = Choice(np.array([1, 4, 5]), 4), Choice(np.array([0, 2]), 2)
    monkeypatch.setattr(selection, "lasso", lambda *_: first)
    monkeypatch.setattr(selection, "eliminate", lambda *_: second)
    assert _kept(Chosen((Lasso(), SVMRFE())), values, labels, groups) == {4}
    assert _kept(Chosen((Lasso(), SVMRFE()), "either"), values, labels, groups) == {0, 1, 2, 4, 5}


def test_elimination_is_scikit_learns_and_ties_go_to_fewer():
    values, labels, _ = _planted(60, 12)
    machine = SVC(kernel="linear", class_weight="balanced")
    rounds = elimination._rounds(SVMRFE(), values, labels, list(range(12, 0, -1)))
    for places, _ in rounds[1:]:
        theirs = RFE(machine, n_features_to_select=len(places)).fit(values, labels)
        np.testing.assert_array_equal(places, np.flatnonzero(theirs.support_))
    assert elimination.round_sizes(30, 0.1)[:4] == [30, 27, 25, 23]
    accuracy = np.array([0.8, 0.9, 0.9, 0.7])
    assert elimination.best_size([8, 4, 2, 1], accuracy, None) == 2
    assert elimination.best_size([8, 4, 2, 1], accuracy, 1) == 1


def test_correlated_columns_by_hand():
    """b is a, c is nearly a; d is on its own, and so is a constant."""
    a = np.arange(10.0)
    c = a[[1, 0, 2, 3, 4, 5, 6, 7, 9, 8]]
    d = np.array([5, 1, 8, 3, 9, 0, 2, 7, 4, 6.0])
    values = np.stack([a, np.exp(a), c, d, np.ones(10)], 1)
    labels, groups = np.tile([0, 1], 5), np.arange(10).astype(str)
    # Ranks of a and c differ by 1 in four rows: 1 - 6 * 4 / 990.
    assert _kept(Uncorrelated(1 - 6 * 4 / 990 + 1e-9), values, labels, groups) == {0, 2, 3, 4}
    assert len(_kept(Uncorrelated(0.9), values, labels, groups)) == 3
    # The first of three goes, which is close to both, where the later of a pair would not do.
    first, second = np.random.default_rng(0).normal(size=(2, 200))
    line = np.stack([first + second, first, second], 1)
    assert _kept(Uncorrelated(0.6), line, labels, groups) == {1, 2}


def test_inner_folds_never_split_a_patient(monkeypatch):
    values, labels, groups = _planted(60)
    parts = inner_folds(labels, groups, 5, 0)
    assert sorted(np.concatenate([judge for _, judge in parts])) == list(range(60))
    for fit, judge in parts:
        assert not set(groups[fit]) & set(groups[judge])
        assert len(np.unique(labels[fit])) == 2
    sides = []

    def watched(labels, groups, folds, seed):
        sides.append(groups)
        return inner_folds(labels, groups, folds, seed)

    monkeypatch.setattr(penalised, "inner_folds", watched)
    monkeypatch.setattr(elimination, "inner_folds", watched)
    select(Chosen((Lasso(3), SVMRFE(3))), values, _columns(values), labels, groups, 0)
    assert len(sides) == 2 and all((used == groups).all() for used in sides)


def test_rows_of_one_patient_repeated_do_not_look_like_evidence():
    """Noise that marks each patient predicts the label of their other rows, were they split."""
    rng = np.random.default_rng(3)
    values = np.repeat(rng.normal(size=(24, 30)), 5, axis=0)
    labels, groups = np.repeat(np.tile([0, 1], 12), 5), np.repeat(np.arange(24), 5).astype(str)
    kept = _kept(Lasso(folds=6, penalties=25), values, labels, groups)
    leaking = _kept(Lasso(folds=6, penalties=25), values, labels, np.arange(120).astype(str))
    assert len(kept) <= 3 and len(leaking) >= 15


def test_too_few_patients_and_missing_values_are_refused():
    values, labels, groups = _planted(20)
    with pytest.raises(UserError, match="class 1 has 1"):
        inner_folds(np.array([0, 0, 0, 1, 1]), np.array(list("abcdd")), 3, 0)
    values[3, 4] = np.nan
    with pytest.raises(UserError, match=r"Lasso cannot read missing values; 1 of .* \(c4\)"):
        _kept(Lasso(), values, labels, groups)


def test_selection_before_splitting_sees_its_own_optimism():
    """Pure noise: chosen on all rows its columns predict, chosen inside the folds they do not."""
    inside, outside = [], []
    step = SVMRFE(folds=2, keep=12, drop=0.5)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        values, labels = rng.normal(size=(80, 200)), rng.permutation(np.repeat([0, 1], 40))
        groups = np.arange(80).astype(str)
        leaked = elimination._rounds(step, values, labels, [200, 100, 50, 25, 12])[-1][0]
        for chosen, answers in ((leaked, outside), (None, inside)):
            scores = np.zeros(80)
            for fit, judge in inner_folds(labels, groups, 5, seed):
                places = chosen
                if places is None:
                    places = sorted(_kept(step, values[fit], labels[fit], groups[fit]))
                model = LogisticRegression().fit(values[fit][:, places], labels[fit])
                scores[judge] = model.decision_function(values[judge][:, places])
            answers.append(roc_auc_score(labels, scores))
    assert np.mean(outside) > 0.8
    assert 0.35 < np.mean(inside) < 0.62
