import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn import metrics

from msk_jax.evaluation.classes.calibration import (
    brier_parts,
    calibration_bins,
    calibration_curve,
    calibration_figures,
    hosmer_lemeshow,
)
from msk_jax.evaluation.classes.decision_curve import decision_curve
from msk_jax.evaluation.classes.recalibration import recalibrate
from msk_jax.evaluation.classes.reclassification import reclassification
from msk_jax.evaluation.core.resampling import cluster_bootstrap
from tests.evaluation.classes.test_roc import A, B, Y


@pytest.fixture(scope="module")
def cases():
    """Labels, and probabilities that are too extreme by half."""
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1.2, 500)
    return (rng.random(500) < expit(truth)).astype(int), expit(1.5 * truth + 0.3)


def test_lines_as_r_fits_them():
    # R 4.2.2: glm(y ~ qlogis(p), binomial) and glm(y ~ offset(qlogis(p)), binomial).
    result = calibration_figures(Y, A, interval="wald", samples=50)
    z = 1.959963984540054
    for name, value, error in (
        ("intercept", 0.0683727120422, 0.717977385915),
        ("slope", 0.8902676843233, 0.668394511243),
        ("in_the_large", 0.0804295711742, 0.731854068436),
    ):
        assert result[name].value == pytest.approx(value, abs=1e-8)
        # R stops where the deviance is still, which leaves 1e-5 in the standard errors.
        assert result[name].high == pytest.approx(value + z * error, abs=5e-5)


def test_score_bounds_beside_statsmodels(cases, need):
    need("statsmodels")
    import statsmodels.api as sm

    labels, probs = cases[0][:60], cases[1][:60]
    x, ones = logit(probs), np.ones(60)
    result = calibration_figures(labels, probs, samples=2)
    family = sm.families.Binomial()
    for name, tested, others in (("slope", x, ones), ("intercept", ones, x)):
        figure = result[name]
        assert figure.low < figure.value < figure.high and figure.method == "score"
        for bound in (figure.low, figure.high):
            model = sm.GLM(labels, others, family=family, offset=bound * tested)
            fit = model.fit(tol=1e-14)
            # The statistic of a value that is just not rejected; fitted to 1e-8.
            p = model.score_test(fit.params, exog_extra=tested[:, None])[1]
            assert p == pytest.approx(0.05, abs=1e-7)
    # One coefficient alone: Rao's statistic is that of the sum of the cases.
    large = result["in_the_large"]
    for bound in (large.low, large.high):
        p = expit(x + bound)
        statistic = (labels - p).sum() / np.sqrt(np.sum(p * (1 - p)))
        assert abs(statistic) == pytest.approx(1.959963984540054, abs=1e-8)


def test_lines_beside_statsmodels_with_clusters(cases, need):
    need("statsmodels")
    import statsmodels.api as sm

    labels, probs = cases
    patients = np.arange(500) // 2
    ours = calibration_figures(labels, probs, patients, samples=20)
    model = sm.GLM(labels, sm.add_constant(logit(probs)), family=sm.families.Binomial())
    options = {"groups": patients, "use_correction": False}
    fit = model.fit(cov_type="cluster", cov_kwds=options)
    factor = np.sqrt(250 / 249)  # patients / (patients - 1), which ours has
    for i, name in enumerate(("intercept", "slope")):
        assert ours[name].value == pytest.approx(fit.params[i], abs=1e-8)
        half = 1.959963984540054 * fit.bse[i] * factor
        assert ours[name].high - ours[name].value == pytest.approx(half, rel=1e-6)


def test_scores_beside_scikit_learn(cases):
    labels, probs = cases
    result = calibration_figures(labels, probs, samples=100)
    assert result["brier"].value == pytest.approx(metrics.brier_score_loss(labels, probs))
    assert result["log_loss"].value == pytest.approx(metrics.log_loss(labels, probs))
    share = labels.mean()
    scaled = 1 - result["brier"].value / (share * (1 - share))
    assert result["brier_scaled"].value == pytest.approx(scaled)
    chunks = np.array_split(np.argsort(probs), 5)
    ece = sum(abs((labels - probs)[c].sum()) for c in chunks) / 500
    assert calibration_figures(labels, probs, num_bins=5, samples=2)["ece"].value == pytest.approx(
        ece
    )


def test_two_cases_have_scores_without_warnings():
    found = calibration_figures([0, 1], [0.4, 0.7], samples=50)
    assert found["brier"].value == pytest.approx((0.16 + 0.09) / 2)
    assert found["brier"].low < found["brier"].value < found["brier"].high


def test_expected_error_beside_that_of_chance(cases):
    labels, probs = cases
    one = calibration_figures(labels, probs, num_bins=1, samples=4000)
    # In one group it is the distance of two means: half-normal under a perfect model.
    error = np.sqrt(np.sum(probs * (1 - probs))) / 500
    assert one["ece_by_chance"].value == pytest.approx(np.sqrt(2 / np.pi) * error, rel=0.05)
    assert one["ece_by_chance"].high == pytest.approx(2.2414 * error, rel=0.05)
    # These are too extreme, which 15 groups show; a model that is right lies within chance.
    wrong = calibration_figures(labels, probs, samples=400)
    assert wrong["ece"].value > wrong["ece_by_chance"].high and wrong["ece"].low is None
    drawn = (np.random.default_rng(3).random(500) < probs).astype(int)
    right = calibration_figures(drawn, probs, samples=400)
    assert right["ece_by_chance"].low < right["ece"].value < right["ece_by_chance"].high


def test_brier_parts_add_up():
    labels = np.array([0, 1, 1, 0, 1, 1])
    probs = np.array([0.2, 0.2, 0.6, 0.6, 0.6, 0.9])
    parts = brier_parts(labels, probs)
    assert parts.score == pytest.approx(parts.reliability - parts.resolution + parts.uncertainty)
    hand = (2 * 0.3**2 + 3 * (2 / 3 - 0.6) ** 2 + 0.1**2) / 6
    assert parts.reliability == pytest.approx(hand)
    assert parts.uncertainty == pytest.approx(2 / 9)


def test_hosmer_lemeshow_by_hand(cases):
    labels, probs = cases
    bins = calibration_bins(labels, probs, 10)
    assert bins.n.tolist() == [50] * 10
    expected = bins.n * bins.predicted
    classes = (bins.n * bins.observed - expected) ** 2 * (1 / expected + 1 / (bins.n - expected))
    result = hosmer_lemeshow(labels, probs)
    assert result.chi2 == pytest.approx(classes.sum()) and result.df == 8
    with pytest.raises(ValueError, match="three groups"):
        hosmer_lemeshow([0, 1], [0.5, 0.5])


def test_equal_probabilities_stay_together():
    assert calibration_bins([0, 1, 0, 1], [0.3, 0.3, 0.3, 0.8], 4).n.tolist() == [3, 1]


def test_curve_beside_statsmodels(cases, need):
    need("statsmodels")
    import statsmodels.api as sm

    labels, probs = cases
    curve = calibration_curve(labels, probs, points=21)
    x, grid = logit(probs), logit(curve.predicted)
    knots = np.percentile(x, (5, 35, 65, 95))
    columns = np.c_[np.ones(500), x, *(_harrell(x, knots, j) for j in (0, 1))]
    fit = sm.GLM(labels, columns, family=sm.families.Binomial()).fit()
    there = np.c_[np.ones(21), grid, *(_harrell(grid, knots, j) for j in (0, 1))]
    theirs = fit.get_prediction(there).summary_frame()
    np.testing.assert_allclose(curve.observed, theirs["mean"], atol=1e-8)
    np.testing.assert_allclose(curve.low, theirs["mean_ci_lower"], atol=1e-6)


def _harrell(x, knots, j):
    a, y, z = knots[j], knots[-2], knots[-1]
    value = np.where(x > a, x - a, 0) ** 3
    value = value - np.where(x > y, x - y, 0) ** 3 * (z - a) / (z - y)
    return value + np.where(x > z, x - z, 0) ** 3 * (y - a) / (z - y)


def test_curve_counts_patients():
    # Every case twice: as one patient's the bounds are those of the cases once, but for the
    # estimated spread of the sandwich; as patients of their own they are sqrt(2) narrower.
    rng = np.random.default_rng(3)
    probs = rng.uniform(0.05, 0.95, 2000)
    labels = rng.random(2000) < probs
    once = calibration_curve(labels, probs)
    twice = np.tile(labels, 2), np.tile(probs, 2)
    clustered = calibration_curve(*twice, np.tile(np.arange(2000), 2))
    naive = calibration_curve(*twice)
    np.testing.assert_allclose(clustered.observed, once.observed, atol=1e-8)
    widths = [np.mean(curve.high - curve.low) for curve in (once, clustered, naive)]
    assert widths[1] / widths[0] == pytest.approx(1.0, abs=0.05)
    assert widths[2] / widths[0] == pytest.approx(np.sqrt(0.5), abs=0.01)


def test_recalibration_mends_what_it_is_for(cases):
    labels, probs = cases
    platt = recalibrate(labels, probs)
    after = calibration_figures(labels, platt(probs), samples=2)
    assert after["slope"].value == pytest.approx(1.0, abs=1e-8)
    assert after["intercept"].value == pytest.approx(0.0, abs=1e-8)
    temperature = recalibrate(labels, probs, "temperature")
    grid = np.linspace(0.2, 5, 4801)
    losses = [metrics.log_loss(labels, expit(logit(probs) / t)) for t in grid[::20]]
    assert temperature.x[0] == pytest.approx(grid[::20][np.argmin(losses)], abs=0.02)
    isotonic = recalibrate(labels, probs, "isotonic")(probs)
    assert (np.diff(isotonic[np.argsort(probs)]) >= 0).all()
    assert isotonic.mean() == pytest.approx(labels.mean())
    with pytest.raises(ValueError, match="both classes"):
        recalibrate([1, 1], [0.2, 0.3])
    with pytest.raises(ValueError, match="no temperature"):
        recalibrate(labels, 1 - probs, "temperature")


def test_calibration_without_an_answer():
    assert calibration_figures([1, 1], [0.2, 0.3], samples=2)["slope"].value is None
    assert calibration_figures([0, 1], [0.5, 0.5], samples=2)["slope"].why
    assert calibration_figures([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], samples=2)["slope"].why
    assert calibration_curve([0, 1], [0.5, 0.5]) is None
    with pytest.raises(ValueError, match=r"0\.\.1"):
        calibration_figures([0, 1], [0.5, np.nan])


def test_net_benefit_anchor():
    result = decision_curve(Y, A, thresholds=[0.3], samples=50)
    assert result.model[0] == pytest.approx(0.371429, abs=1e-6)
    assert result.treat_all[0] == pytest.approx(0.285714, abs=1e-6)
    assert result.standardised[0] == pytest.approx(0.742857, abs=1e-6)
    # Of the 5 negatives 2 are spared, and no positive is missed.
    assert result.avoided[0] == pytest.approx(0.2)


def test_decision_curve_beside_dcurves(cases, need):
    need("dcurves")
    import pandas as pd
    from dcurves import dca

    labels, probs = cases
    grid = np.array([0.05, 0.2, 0.4, 0.75])
    ours = decision_curve(labels, probs, thresholds=grid, samples=200)
    table = pd.DataFrame({"y": labels, "p": probs})
    theirs = dca(table, "y", ["p"], thresholds=grid)
    for model, values in (("p", ours.model), ("all", ours.treat_all)):
        rows = theirs[theirs["model"] == model].sort_values("threshold")
        np.testing.assert_allclose(values, rows["net_benefit"], atol=1e-12)
    rows = theirs[theirs["model"] == "p"].sort_values("threshold")
    np.testing.assert_allclose(ours.avoided, rows["net_intervention_avoided"], atol=1e-12)
    assert ((ours.low < ours.model) & (ours.model < ours.high)).all()


def test_difference_of_two_curves():
    both = decision_curve(Y, A, other=B, thresholds=[0.3, 0.5], samples=100)
    alone = decision_curve(Y, B, thresholds=[0.3, 0.5], samples=2)
    np.testing.assert_allclose(both.difference, both.model - alone.model)
    assert (both.difference_low <= both.difference).all()
    with pytest.raises(ValueError, match="ends excluded"):
        decision_curve(Y, A, thresholds=[0.0])


def test_reclassification_by_hand():
    # Events 4-7 and 9 move from A to B: down, down, down, up, up; the others up, down, up, down,
    # down. A cut at 0.5 moves event 6 nowhere, 9 up, and the others 2 up and 3 nowhere.
    result = reclassification(Y, A, B, samples=200)
    assert result["nri_events"].value == pytest.approx(-1 / 5)
    assert result["nri_nonevents"].value == pytest.approx(1 / 5)
    assert result["idi"].value == pytest.approx((B - A)[Y == 1].mean() - (B - A)[Y == 0].mean())
    cut = reclassification(Y, A, B, [0.5], samples=200)
    assert cut["nri_events"].value == pytest.approx(1 / 5)
    assert cut["nri_nonevents"].value == pytest.approx(-1 / 5)
    assert cut["nri"].low <= cut["nri"].value <= cut["nri"].high
    with pytest.raises(ValueError, match="must rise"):
        reclassification(Y, A, B, [0.5, 0.4])


def test_interventions_avoided_by_counting_again():
    rng = np.random.default_rng(3)
    labels, probs = rng.integers(0, 2, 40), rng.random(40)
    patients = np.arange(40) // 2
    curve = decision_curve(labels, probs, patients, thresholds=[0.2, 0.5], samples=200)

    def avoided(weights):
        columns = []
        for t in (0.2, 0.5):
            spared = probs < t
            # True negatives that are spared, less the positives missed at the threshold's odds.
            gain = spared * (1 - labels) - spared * labels * (1 - t) / t
            columns.append(weights @ gain / weights.sum(axis=1))
        return np.stack(columns, axis=1)

    np.testing.assert_allclose(curve.avoided, avoided(np.ones((1, 40)))[0], atol=1e-12)
    bounds = cluster_bootstrap(patients, avoided, samples=200)
    np.testing.assert_allclose(curve.avoided_low, bounds.low, atol=1e-12)
    np.testing.assert_allclose(curve.avoided_high, bounds.high, atol=1e-12)
