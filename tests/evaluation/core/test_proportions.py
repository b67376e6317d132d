import numpy as np
import pytest

from msk_jax.evaluation.core.proportions import clustered_proportion, proportion
from msk_jax.evaluation.core.resampling import cluster_bootstrap


def test_wilson_from_its_formula():
    # p = 0.9, n = 10, z = 1.959964: centre (0.9 + 0.192073) / 1.384146, half-width
    # 1.959964 sqrt(0.009 + 0.0096037) / 1.384146.
    result = proportion(9, 10)
    assert result.value == 0.9
    np.testing.assert_allclose([result.low, result.high], [0.595850, 0.982124], atol=1e-5)


def test_exact_interval_of_all_successes_is_a_power():
    result = proportion(20, 20, "exact")
    assert result.low == pytest.approx(0.025 ** (1 / 20))
    assert result.high == 1.0


def test_no_case_has_a_reason_and_no_value():
    result = proportion(0, 0)
    assert (result.value, result.low, result.high) == (None, None, None)
    assert result.why


def test_impossible_counts_are_refused():
    with pytest.raises(ValueError, match="11 successes of 10"):
        proportion(11, 10)


def test_repeats_within_a_patient_add_nothing():
    # Ten patients whose nine slices say the same: as many cases as patients. The design effect is
    # 9 C/(C-1) = 10, so 90 slices count as 9 cases.
    hits = np.repeat([1, 1, 1, 1, 1, 1, 1, 0, 0, 0], 9)
    clustered = clustered_proportion(hits, np.repeat(np.arange(10), 9))
    naive = proportion(int(hits.sum()), len(hits))
    z2, p, n = 1.959963984540054**2, 0.7, 9
    half = np.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    assert (clustered.high - clustered.low) / 2 == pytest.approx(half)
    assert clustered.high - clustered.low > 2 * (naive.high - naive.low)


def test_one_unit_a_patient_is_never_narrower_than_wilson():
    # Perfectly balanced patients have a design effect below 1, which is not believed.
    hits = np.tile([1, 0], 10)
    clustered = clustered_proportion(hits, np.repeat(np.arange(10), 2))
    naive = proportion(10, 20)
    np.testing.assert_allclose([clustered.low, clustered.high], [naive.low, naive.high])


@pytest.mark.parametrize("hit", [0, 1])
def test_unanimous_units_count_patients(hit):
    clustered = clustered_proportion(np.full(60, hit), np.repeat(np.arange(12), 5))
    patients = proportion(12 * hit, 12)
    np.testing.assert_allclose(
        [clustered.low, clustered.high], [patients.low, patients.high], atol=1e-12
    )
    assert "12 patients" in clustered.why


def test_one_patient_has_no_interval():
    result = clustered_proportion(np.array([1, 0, 1]), np.zeros(3))
    assert result.value == pytest.approx(2 / 3)
    assert result.low is None and "one patient" in result.why


def _mean_of(values):
    return lambda weights: weights @ values / weights.sum(axis=1)


def test_bootstrap_keeps_patients_whole():
    # Each sample has a multiple of 3 units, all three of a patient together.
    seen = []

    def statistic(weights):
        seen.append(weights)
        return weights.sum(axis=1)

    interval = cluster_bootstrap(np.repeat(np.arange(5), 3), statistic, samples=50)
    weights = np.concatenate(seen).reshape(50, 5, 3)
    assert (weights == weights[:, :, :1]).all()
    assert (weights[:, :, 0].sum(axis=1) == 5).all()
    assert interval.low[0] == interval.high[0] == 15


def test_bootstrap_of_independent_cases_matches_theory():
    values = np.random.default_rng(1).normal(size=400)
    interval = cluster_bootstrap(np.arange(400), _mean_of(values), samples=4000)
    expected = values.mean() + np.array([-1.96, 1.96]) * values.std() / 20
    np.testing.assert_allclose([interval.low[0], interval.high[0]], expected, atol=0.01)


def test_bootstrap_same_seed_same_interval():
    values, clusters = np.arange(20.0), np.repeat(np.arange(5), 4)
    first, same, other = (
        cluster_bootstrap(clusters, _mean_of(values), samples=200, seed=seed) for seed in (1, 1, 2)
    )
    assert first.low == same.low and first.high == same.high
    assert (first.low, first.high) != (other.low, other.high)


def test_bootstrap_strata_keep_their_numbers():
    strata = np.array([0, 0, 1, 1, 1, 1])
    interval = cluster_bootstrap(
        np.arange(6), lambda weights: weights @ strata, samples=100, strata=strata
    )
    assert interval.low[0] == interval.high[0] == 4


def test_bootstrap_counts_what_was_usable():
    values = np.array([1.0, np.nan])
    interval = cluster_bootstrap(
        np.arange(2),
        lambda weights: np.where(weights[:, 1] > 0, np.nan, values[0]),
        samples=1000,
    )
    assert 150 < interval.usable[0] < 350  # one in four samples draws the first case twice
    assert interval.low[0] == interval.high[0] == 1.0


def test_bootstrap_refuses_a_cluster_in_two_strata():
    with pytest.raises(ValueError, match="two strata"):
        cluster_bootstrap(np.zeros(2), _mean_of(np.ones(2)), strata=np.array([0, 1]))
