from itertools import product

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from msk_jax.evaluation.classes.auc_bootstrap import bootstrap_areas
from msk_jax.evaluation.classes.partial_auc import partial_auc
from msk_jax.evaluation.classes.roc import weighted_areas
from msk_jax.evaluation.classes.roc_comparison import (
    delong_unpaired_test,
    permutation_test,
    roc_areas,
)
from msk_jax.evaluation.core.resampling import cluster_bootstrap
from tests.evaluation.classes.test_roc import A, B, Y


@pytest.fixture(scope="module")
def joints():
    """Two scores with ties, two joints a patient, joints of both classes in one patient."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    scores = np.round(rng.normal(labels * np.array([[1.0], [0.8]]), 1), 1)
    return labels, scores, np.arange(400) // 2


def test_chi_square_of_two_areas_is_the_paired_test():
    areas = roc_areas(Y, [A, B])
    paired = areas.compare()
    assert areas.chi2 == pytest.approx(paired.statistic**2)
    assert areas.p == pytest.approx(paired.p, abs=1e-12)
    assert roc_areas(Y, [A, A]).chi2 is None


def test_unpaired_as_proc_computes_it():
    # R pROC 1.18.0: roc.test(..., method = "delong", paired = FALSE).
    result = delong_unpaired_test(Y, A, Y, B)
    assert result.statistic == pytest.approx(-0.572077553547, abs=1e-11)
    assert result.p == pytest.approx(0.575568122289, abs=1e-11)


@pytest.mark.parametrize(
    ("scores", "low", "high", "focus", "plain", "corrected"),
    [
        # R pROC 1.18.0: auc(..., partial.auc, partial.auc.focus, partial.auc.correct).
        (A, 0.5, 1.0, "specificity", 0.28, 0.706666666667),
        (B, 0.7, 0.9, "specificity", 0.14, 0.8125),
        (A, 0.5, 1.0, "sensitivity", 0.32, 0.76),
        (B, 0.7, 0.9, "sensitivity", 0.14, 0.8125),
    ],
)
def test_partial_area_as_proc_computes_it(scores, low, high, focus, plain, corrected):
    for kind, expected in ((False, plain), (True, corrected)):
        result = partial_auc(Y, scores, low, high, focus, corrected=kind, samples=20)
        assert result.value == pytest.approx(expected, abs=1e-12)


def test_partial_area_beside_scikit_learn(joints):
    labels, scores, patients = joints
    theirs = roc_auc_score(labels, scores[0], max_fpr=0.2)
    ours = partial_auc(labels, scores[0], 0.8, clusters=patients, corrected=True, samples=100)
    assert ours.value == pytest.approx(theirs, abs=1e-12)
    assert ours.low < theirs < ours.high
    whole = partial_auc(labels, scores[0], 0.0, samples=10)
    assert whole.value == pytest.approx(roc_auc_score(labels, scores[0]))
    assert partial_auc(np.ones(3), [1, 2, 3], 0.5).value is None
    with pytest.raises(ValueError, match="A part"):
        partial_auc(labels, scores[0], 0.9, 0.8)


def test_clustered_covariance_by_its_definition(joints):
    labels, scores, patients = (x[..., :60] for x in joints)
    labels = labels.astype(bool)
    x, y = scores[:, labels, None], scores[:, None, ~labels]
    kernel = (x > y) + 0.5 * (x == y)
    value, m, n = kernel.mean((1, 2)), labels.sum(), (~labels).sum()
    total = np.zeros((2, 2))
    names = np.unique(patients)
    both = [set(patients[labels]), set(patients[~labels])]
    for name in names:
        a = (kernel.mean(2) - value[:, None])[:, patients[labels] == name].sum(1)
        b = (kernel.mean(1) - value[:, None])[:, patients[~labels] == name].sum(1)
        total += len(both[0]) / (len(both[0]) - 1) * np.outer(a, a) / m**2
        total += len(both[1]) / (len(both[1]) - 1) * np.outer(b, b) / n**2
        cross = np.outer(a, b) + np.outer(b, a)
        total += len(names) / (len(names) - 1) * cross / (m * n)
    np.testing.assert_allclose(roc_areas(labels, scores, patients).covariance, total, atol=1e-15)


def test_clusters_of_one_are_delong_and_copies_add_nothing(joints):
    labels, scores, _ = joints
    plain = roc_areas(labels, scores).covariance
    single = roc_areas(labels, scores, np.arange(400)).covariance
    np.testing.assert_allclose(single, plain, rtol=1e-10)
    copies = roc_areas(
        np.repeat(labels, 5), np.repeat(scores, 5, axis=1), np.repeat(np.arange(400), 5)
    )
    np.testing.assert_allclose(copies.covariance, plain, rtol=1e-10)
    with pytest.raises(ValueError, match="two patients"):
        roc_areas([0, 0, 1, 1], [1, 2, 3, 4], [0, 1, 2, 2])


def test_permutation_counts_every_exchange():
    result = permutation_test(Y, A, B)
    ranks = [np.argsort(np.argsort(x)) for x in (A, B)]
    differences = []
    for swap in product([False, True], repeat=len(Y)):
        first, second = np.where(swap, ranks[1], ranks[0]), np.where(swap, ranks[0], ranks[1])
        signs = [np.sign(x[Y == 1, None] - x[Y == 0]) for x in (first, second)]
        differences.append((signs[0] - signs[1]).mean() / 2)
    assert result.difference == pytest.approx(-0.12, abs=1e-12)
    assert result.p == np.mean(np.abs(differences) >= 0.12 - 1e-9)
    assert result.standard_error == pytest.approx(np.std(differences), abs=1e-12)


def test_sampled_permutation_is_near_the_normal_test(joints):
    labels, scores, patients = joints
    result = permutation_test(labels, *scores, patients, samples=4000)
    # 0.00199 by Obuchowski's test; the permutation test conditions on other things.
    assert result.p == pytest.approx(roc_areas(labels, scores, patients).compare().p, abs=0.002)
    assert permutation_test(labels, scores[0], scores[0], samples=100).p == 1.0


def test_bootstrap_is_obuchowski_and_the_plain_bootstrap(joints):
    labels, scores, patients = joints
    result = bootstrap_areas(labels, scores, patients, samples=2500)
    areas = roc_areas(labels, scores, patients)
    for figure, normal in zip(result.areas, map(areas.figure, (0, 1)), strict=True):
        assert figure.value == pytest.approx(normal.value, abs=1e-14)
        # Percentiles of 2500 samples: two standard errors of a bound are 0.004.
        assert (figure.low, figure.high) == pytest.approx((normal.low, normal.high), abs=6e-3)
    plain = cluster_bootstrap(
        patients,
        lambda w: weighted_areas(labels, scores[0], w) - weighted_areas(labels, scores[1], w),
        strata=np.isin(patients, patients[labels == 1]),
    )
    bounds = result.difference.low, result.difference.high
    assert bounds == pytest.approx((plain.low[0], plain.high[0]), abs=6e-3)


def test_bca_bootstrap_beside_scipy():
    from scipy.stats import bootstrap

    sample = np.random.default_rng(1).exponential(1.0, 40)

    def weighted_mean(weights):
        return weights @ sample / weights.sum(1)

    ours = cluster_bootstrap(np.arange(40), weighted_mean, samples=20_000, interval="bca")
    theirs = bootstrap((sample,), np.mean, n_resamples=20_000, method="BCa", rng=0)
    bounds = theirs.confidence_interval
    # Different draws: the bounds of the two differ with a standard deviation of about 0.008.
    assert (ours.low[0], ours.high[0]) == pytest.approx((bounds.low, bounds.high), abs=0.025)
    plain = cluster_bootstrap(np.arange(40), weighted_mean, samples=20_000)
    assert ours.high[0] > plain.high[0] + 0.02  # skewed: the correction moves it


def test_bca_of_areas_is_the_generic_one(joints):
    labels, scores, patients = (x[..., :80] for x in joints)
    ours = bootstrap_areas(labels, scores[0], patients, samples=2500, interval="bca").areas[0]
    plain = cluster_bootstrap(
        patients,
        lambda w: weighted_areas(labels, scores[0], w),
        strata=np.isin(patients, patients[labels == 1]),
        samples=4000,
        interval="bca",
    )
    assert (ours.low, ours.high) == pytest.approx((plain.low[0], plain.high[0]), abs=0.012)


def test_one_class_has_no_areas():
    result = bootstrap_areas([1, 1, 1], [[1, 2, 3], [1, 2, 3]])
    assert result.difference.value is None and result.areas[0].why
