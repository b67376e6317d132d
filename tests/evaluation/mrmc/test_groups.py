import numpy as np
import pytest
from scipy.stats import norm, ttest_ind

from msk_jax.evaluation.classes.roc_comparison import roc_areas
from msk_jax.evaluation.mrmc.covariance import accuracies
from msk_jax.evaluation.mrmc.groups import difference_between_groups
from msk_jax.evaluation.mrmc.ratings import Ratings
from msk_jax.evaluation.mrmc.settings import MrmcSettings
from msk_jax.evaluation.mrmc.simulation import RoeMetz
from msk_jax.evaluation.mrmc.study import analyse


@pytest.fixture(scope="module")
def study():
    """Five readers, two modalities, 30 cases."""
    truth, ratings = RoeMetz(effect=0.3).draw(5, 14, 16, seed=2)
    return truth.astype(bool), ratings


def test_fixed_cases_are_students_test_of_the_gains(study):
    truth, ratings = study
    gains = np.subtract(*accuracies(truth, ratings.reshape(10, -1), "auc").reshape(2, 5))
    expected = ttest_ind(gains[:2], gains[2:])
    result = difference_between_groups(truth, ratings, [0, 1], [2, 3, 4], random="readers")
    assert (result.statistic, result.p) == pytest.approx((expected.statistic, expected.pvalue))
    bounds = expected.confidence_interval()
    assert (result.low, result.high) == pytest.approx((bounds.low, bounds.high))
    # Readers with cases of their own share no error.
    nested = np.full((2, 5, 150), np.nan)
    for j in range(5):
        nested[:, j, 30 * j : 30 * (j + 1)] = ratings[:, j]
    own = difference_between_groups(np.tile(truth, 5), nested, [0, 1], [2, 3, 4])
    assert own.p == pytest.approx(expected.pvalue)


def test_fixed_readers_have_the_variance_of_the_contrast(study):
    truth, ratings = study
    result = difference_between_groups(truth, ratings, [0], [1], random="cases", method="delong")
    areas = roc_areas(truth, ratings[:, :2].reshape(4, -1))
    contrast = np.array([1, -1, -1, 1])
    error = np.sqrt(contrast @ areas.covariance @ contrast)
    assert result.difference == pytest.approx(contrast @ areas.values)
    assert result.standard_error == pytest.approx(error)
    assert result.p == pytest.approx(2 * norm.sf(abs(contrast @ areas.values) / error))


def test_groups_without_a_difference_are_rejected_at_the_level():
    rejected = 0
    for seed in range(60):
        truth, ratings = RoeMetz(effect=0.5).draw(6, 15, 15, seed)
        result = difference_between_groups(truth, ratings, [0, 1, 2], [3, 4, 5], method="delong")
        rejected += result.p < 0.05
    # 5 % of 60 is 3; a binomial count of 10 or more has a probability below 0.001.
    assert rejected < 10


def test_a_gain_of_one_group_alone_is_found():
    truth, helped = RoeMetz(separation=0.5).draw(5, 40, 40, seed=2)
    helped[0, :3] += 3.0 * truth
    names = tuple("abcde"), tuple(map(str, range(80)))
    groups = dict(zip("abcde", ["junior"] * 3 + ["senior"] * 2, strict=True))
    whole = Ratings(truth, helped, ("aided", "unaided"), *names, groups)
    (row,) = analyse(whole, MrmcSettings())["between_groups"]
    assert (row["first_group"], row["second_group"]) == ("junior", "senior")
    assert row["difference"] > 0.1 and row["p"] < 0.01
    alone = difference_between_groups(truth, helped, [0], [1, 2])
    assert alone.p is None and alone.why
    same = difference_between_groups(truth, np.stack([helped[0]] * 2), [0, 1], [2, 3])
    assert same.p is None and same.difference == 0.0 and same.why
