import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from msk_jax.evaluation.classes.roc import clustered_auc, delong, roc_band, roc_curve
from msk_jax.evaluation.classes.roc_comparison import roc_areas

# Published worked example.
Y = np.array([0, 0, 0, 0, 1, 1, 1, 1, 0, 1])
A = np.array([0.1, 0.4, 0.35, 0.8, 0.65, 0.9, 0.45, 0.7, 0.2, 0.3])
B = np.array([0.2, 0.3, 0.6, 0.5, 0.55, 0.8, 0.4, 0.9, 0.1, 0.7])


@pytest.mark.parametrize(("scores", "area", "variance"), [(A, 0.76, 0.0312), (B, 0.88, 0.0128)])
def test_delong_anchor(scores, area, variance):
    result = delong(Y, scores)
    assert result.value == pytest.approx(area, abs=1e-12)
    assert result.variance == pytest.approx(variance, abs=1e-12)
    assert (result.positives, result.negatives) == (5, 5)


def test_delong_test_anchor():
    areas = roc_areas(Y, [A, B])
    result = areas.compare()
    assert areas.covariance[0, 1] == pytest.approx(0.0036, abs=1e-12)
    assert result.difference == pytest.approx(-0.12, abs=1e-12)
    assert result.standard_error == pytest.approx(0.19183326, abs=1e-8)
    assert result.statistic == pytest.approx(-0.62554324, abs=1e-8)
    # The example prints 0.53161453; erfc(z / sqrt 2) of its own z is 0.53161458.
    assert result.p == pytest.approx(0.53161453, abs=1e-7)
    assert result.p == pytest.approx(math.erfc(0.12 / math.sqrt(0.0368 * 2)), abs=1e-12)


def test_delong_against_its_definition_with_ties():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    scores = np.round(rng.normal(labels, 1.0), 1)
    positive, negative = scores[labels == 1], scores[labels == 0]
    kernel = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    variance = np.var(kernel.mean(1), ddof=1) / len(positive)
    variance += np.var(kernel.mean(0), ddof=1) / len(negative)
    result = delong(labels, scores)
    assert result.value == pytest.approx(roc_auc_score(labels, scores))
    assert result.value == pytest.approx(kernel.mean())
    assert result.variance == pytest.approx(variance)


def test_plain_and_logit_intervals_by_hand():
    plain = delong(Y, A, interval="plain")
    half = 1.959963984540054 * np.sqrt(0.0312)
    assert plain.low == pytest.approx(0.76 - half)
    assert plain.high == 1.0  # 1.106 is cut
    logit = delong(Y, A)
    assert logit.method == "DeLong, logit"
    spread = half / (0.76 * 0.24)
    expected = [1 / (1 + np.exp(-(np.log(0.76 / 0.24) + s * spread))) for s in (-1, 1)]
    np.testing.assert_allclose([logit.low, logit.high], expected)


def test_perfect_separation_has_the_exact_bound():
    result = delong([0] * 12 + [1] * 17, np.arange(29.0))
    assert (result.value, result.high, result.variance) == (1.0, 1.0, 0.0)
    assert result.low == pytest.approx(0.025 ** (1 / 12))
    mirrored = delong([1] * 12 + [0] * 17, np.arange(29.0))
    assert (mirrored.value, mirrored.low) == (0.0, 0.0)
    assert mirrored.high == pytest.approx(1 - 0.025 ** (1 / 12))


def test_what_has_no_answer_says_why():
    one_class = delong([1, 1, 1], [0.1, 0.2, 0.3])
    assert one_class.value is None and "both classes" in one_class.why
    too_few = delong([1, 0, 0], [0.2, 0.1, 0.3])
    assert too_few.value == 0.5 and too_few.low is None and "two cases" in too_few.why
    constant = delong([1, 1, 0, 0], [0.5] * 4)
    assert constant.value == 0.5 and constant.low is None and constant.why


def test_equal_and_opposite_scores_in_the_test():
    same = roc_areas(Y, [A, A]).compare()
    assert (same.statistic, same.p) == (0.0, 1.0)
    perfect = np.array([0.1, 0.2, 0.8, 0.9])
    opposite = roc_areas([0, 0, 1, 1], [perfect, -perfect]).compare()
    assert opposite.statistic is None and opposite.why


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [([0, 2], [0.1, 0.2], "0 or 1"), ([0, 1], [0.1, np.nan], "finite"), ([0], [1, 2], "equal")],
)
def test_bad_arrays_are_refused(labels, scores, message):
    with pytest.raises(ValueError, match=message):
        delong(labels, scores)


def _clustered(repeats, seed=0):
    """Patients with one effect each, repeated: labels, scores, patients."""
    rng = np.random.default_rng(seed)
    labels = np.arange(40) % 2
    scores = rng.normal(labels * 1.2, 1.0)
    return (np.repeat(x, repeats) for x in (labels, scores, np.arange(40)))


def test_clustered_interval_does_not_shrink_with_repeats():
    labels, scores, patients = _clustered(10)
    clustered = clustered_auc(labels, scores, patients)
    naive = delong(labels, scores)
    single = delong(*list(_clustered(1))[:2])
    assert clustered.value == pytest.approx(roc_auc_score(labels, scores))
    assert clustered.high - clustered.low > 2.5 * (naive.high - naive.low)
    # Copies of a patient tell nothing new; patients / (patients - 1) is what is left.
    assert clustered.high - clustered.low == pytest.approx(single.high - single.low, rel=0.02)
    alone = clustered_auc(*_clustered(1))
    assert (alone.low, alone.high) == pytest.approx((single.low, single.high), rel=1e-9)


def test_clustered_perfection_counts_patient_pairs():
    # Three patients, each with slices of both classes: one pair without a patient in common.
    labels = np.tile([0, 0, 1, 1], 3)
    result = clustered_auc(labels, labels + 0.1, np.repeat(np.arange(3), 4))
    assert result.value == 1.0
    assert result.low == pytest.approx(0.025)


def test_clustered_without_answer_says_why():
    assert clustered_auc([1, 1], [0.1, 0.2], ["a", "b"]).value is None
    single = clustered_auc([1, 0], [0.1, 0.2], ["a", "a"])
    assert single.low is None and "one patient" in single.why
    lonely = clustered_auc([1, 0, 0], [0.3, 0.2, 0.4], ["a", "b", "c"])
    assert lonely.value == 0.5 and lonely.low is None and "two patients" in lonely.why


def test_curve_by_hand():
    fpr, tpr, _ = roc_curve([0, 1, 0, 1], [0.1, 0.4, 0.5, 0.8])
    np.testing.assert_allclose(fpr, [0, 0, 0.5, 0.5, 1])
    np.testing.assert_allclose(tpr, [0, 0.5, 0.5, 1, 1])


def test_band_holds_the_curve_and_its_top_on_steps():
    labels, scores = np.array([0, 1, 0, 1] * 8), np.array([0.1, 0.4, 0.5, 0.8] * 8)
    band = roc_band(labels, scores, np.arange(32), specificity=np.array([0.0, 0.5, 0.75, 1.0]))
    np.testing.assert_allclose(band.sensitivity, [1.0, 1.0, 0.5, 0.5])
    assert (band.low <= band.sensitivity).all() and (band.sensitivity <= band.high).all()
    assert band.low[0] == 1.0 and band.low[3] < 0.4 < 0.6 < band.high[3]


def test_band_area_is_that_of_the_trapezoids():
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1], 50)
    scores = rng.normal(labels, 1)
    band = roc_band(labels, scores, np.arange(100), specificity=np.linspace(0, 1, 4001), samples=3)
    area = np.trapezoid(band.sensitivity, band.specificity)
    assert area == pytest.approx(roc_auc_score(labels, scores), abs=1e-3)
