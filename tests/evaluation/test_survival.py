from types import SimpleNamespace

import numpy as np
import pytest

from msk_jax.evaluation.survival import (
    brier_at,
    censoring_survival,
    harrell_c,
    integrated_brier,
    kaplan_meier,
    log_rank,
    time_auc,
    uno_c,
)


@pytest.fixture(scope="module")
def cases():
    """Times in whole months, so with ties, events, risks and survival at two horizons."""
    rng = np.random.default_rng(0)
    risks = rng.normal(size=150)
    truth, lost = rng.exponential(30 * np.exp(-risks)), rng.uniform(5, 60, 150)
    times = np.ceil(np.minimum(truth, lost))
    survival = np.exp(-np.array([[12.0, 24.0, 36.0]]) / (30 * np.exp(-risks))[:, None])
    return times, truth <= lost, risks, survival


def test_freireich_survival_as_published(need):
    need("lifelines")
    # Freireich et al., Blood 1963;21:699, 6-mercaptopurine; the curve as in many textbooks.
    times = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
    events = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
    result = kaplan_meier(times, events, risk_times=[0, 10, 20, 30])
    at = dict(zip(result.times, result.survival, strict=True))
    published = {6: 0.8571, 7: 0.8067, 10: 0.7529, 13: 0.6902, 16: 0.6275, 22: 0.5378, 23: 0.4482}
    assert {t: round(float(at[t]), 4) for t in published} == published
    assert result.at_risk.tolist() == [21, 15, 8, 4]
    assert (result.low <= result.survival).all() and (result.survival <= result.high).all()


def test_log_rank_of_freireich_as_published(need):
    need("lifelines")
    drug = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
    seen = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
    placebo = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
    result = log_rank(drug, seen, placebo, np.ones(21))
    # D. G. Kleinbaum and M. Klein, Survival Analysis (2012), 2: 16.79.
    assert result.statistic == pytest.approx(16.79, abs=0.005) and result.p < 1e-4
    nothing = log_rank([1, 2], [0, 0], [3, 4], [0, 0])
    assert nothing.p is None and nothing.why


def test_everything_beside_scikit_survival(cases, need):
    need("sksurv", "lifelines")
    from sksurv import metrics
    from sksurv.util import Surv

    times, events, risks, survival = cases
    outcome = Surv.from_arrays(events, times)
    ours = harrell_c(times, events, risks, samples=20)
    theirs = metrics.concordance_index_censored(events, times, risks)[0]
    assert ours.value == pytest.approx(theirs, abs=1e-12)
    assert ours.low < ours.value < ours.high
    theirs = metrics.concordance_index_ipcw(outcome, outcome, risks, tau=36)[0]
    assert uno_c(times, events, risks, 36, samples=5).value == pytest.approx(theirs, abs=1e-12)
    for horizon in (12.0, 24.0):
        theirs = metrics.cumulative_dynamic_auc(outcome, outcome, risks, [horizon])[0][0]
        ours = time_auc(times, events, risks, horizon, samples=5)
        assert ours.value == pytest.approx(theirs, abs=1e-12)
    horizons = np.array([12.0, 24.0, 36.0])
    theirs = metrics.brier_score(outcome, outcome, survival, horizons)[1]
    ours = [
        brier_at(times, events, s, h, samples=5).value
        for s, h in zip(survival.T, horizons, strict=True)
    ]
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
    theirs = metrics.integrated_brier_score(outcome, outcome, survival, horizons)
    ours = integrated_brier(times, events, survival, horizons, samples=5)
    assert ours.value == pytest.approx(theirs, abs=1e-12)


def test_without_censoring_the_figures_are_the_plain_ones(cases):
    from sklearn.metrics import roc_auc_score

    times, _, risks, survival = cases
    everyone = np.ones(len(times), bool)
    assert (censoring_survival(times, everyone, times) == 1).all()
    expected = roc_auc_score(times <= 24, risks)
    found = time_auc(times, everyone, risks, 24)
    assert found.value == pytest.approx(expected) and found.low < expected < found.high
    expected = np.mean(((times > 24) - survival[:, 1]) ** 2)
    found = brier_at(times, everyone, survival[:, 1], 24)
    assert found.value == pytest.approx(expected) and found.low < expected < found.high


def test_a_sample_is_judged_as_the_cases_it_repeats(cases, monkeypatch):
    """The bootstrap's weights against the same cases written out: censoring is estimated anew."""
    times, events, risks, survival = cases
    row = np.random.default_rng(1).multinomial(len(times), np.full(len(times), 1 / len(times)))
    drawn = np.repeat(np.arange(len(times)), row)
    statistics = []

    def take(_, statistic, **options):
        statistics.append(statistic)
        return SimpleNamespace(low=[0.0], high=[1.0])

    monkeypatch.setattr("msk_jax.evaluation.survival.cluster_bootstrap", take)
    for judge in (
        lambda t, e, r, s: time_auc(t, e, r, 24.0),
        lambda t, e, r, s: brier_at(t, e, s[:, 1], 24.0),
        lambda t, e, r, s: integrated_brier(t, e, s, np.array([12.0, 24.0, 36.0])),
    ):
        judge(times, events, risks, survival)
        (weighed,) = statistics[-1](row[None].astype(float))
        written = judge(times[drawn], events[drawn], risks[drawn], survival[drawn])
        assert weighed == pytest.approx(written.value, abs=1e-12)


def test_what_has_no_answer():
    found = time_auc([5, 6, 7], [0, 0, 1], [1, 2, 3], 5.5)
    assert found.value is None and "no event before" in found.why
    assert uno_c([5, 6, 7], [0, 0, 1], [1, 2, 3], 5.5, samples=2).value is None
    with pytest.raises(ValueError, match="Nobody is observed"):
        time_auc([5, 6], [1, 1], [1, 2], 9)
    with pytest.raises(ValueError, match="finite and at least 0"):
        censored = [1, 0]
        brier_at([-1, 2], censored, [0.5, 0.5], 1)
    with pytest.raises(ValueError, match="0 to 1"):
        brier_at([1, 2], [1, 0], [0.5, 1.5], 1)


def test_events_where_nobody_is_left_do_not_silence_uno():
    # At the last time one has the event and one is censored, so the chance of not being censored
    # falls to 0 there; that event lies beyond the horizon. By hand: of the pairs of the events at
    # 1 and 2 (4 + 3, no censoring before) those with the later cases are all in order but (1, 2).
    times, events = [1, 2, 3, 4, 4], [1, 1, 0, 1, 0]
    result = uno_c(times, events, [4, 5, 3, 2, 1], 3.5, samples=50)
    assert result.value == pytest.approx(6 / 7) and result.low is not None
