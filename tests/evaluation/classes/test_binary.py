import numpy as np
import pytest
from sklearn import metrics

from msk_jax.evaluation.classes.binary import (
    Confusion,
    binary_figures,
    confusion,
    threshold_at_sensitivity,
    youden_threshold,
)

# 6 positive (4 found), 4 negative (3 right).
LABELS = np.array([1, 1, 1, 1, 1, 1, 0, 0, 0, 0])
CALLED = np.array([1, 1, 1, 1, 0, 0, 1, 0, 0, 0], bool)


def test_confusion_by_hand():
    assert confusion(LABELS, CALLED) == Confusion(tp=4, fp=1, tn=3, fn=2)


def test_figures_by_hand():
    figures = {name: figure.value for name, figure in binary_figures(LABELS, CALLED).items()}
    expected = {
        "sensitivity": 4 / 6,
        "specificity": 3 / 4,
        "ppv": 4 / 5,
        "npv": 3 / 5,
        "accuracy": 7 / 10,
        "balanced_accuracy": (4 / 6 + 3 / 4) / 2,
        "f1": 8 / 11,
        "mcc": (4 * 3 - 1 * 2) / np.sqrt(5 * 6 * 4 * 5),
    }
    assert figures == pytest.approx(expected)


def test_figures_beside_scikit_learn():
    rng = np.random.default_rng(2)
    labels, called = rng.integers(0, 2, 200), rng.random(200) < 0.4
    figures = binary_figures(labels, called, samples=50)
    assert figures["f1"].value == pytest.approx(metrics.f1_score(labels, called))
    assert figures["mcc"].value == pytest.approx(metrics.matthews_corrcoef(labels, called))
    balanced = metrics.balanced_accuracy_score(labels, called)
    assert figures["balanced_accuracy"].value == pytest.approx(balanced)
    assert all(figure.low < figure.value < figure.high for figure in figures.values())


def test_clusters_widen_every_interval():
    labels, called = np.repeat(LABELS, 12), np.repeat(CALLED, 12)
    naive = binary_figures(labels, called)
    clustered = binary_figures(labels, called, np.repeat(np.arange(10), 12))
    for name, figure in naive.items():
        assert clustered[name].value == figure.value
        assert clustered[name].high - clustered[name].low > 1.5 * (figure.high - figure.low), name


def test_empty_denominators_have_a_reason():
    figures = binary_figures(np.ones(4), np.ones(4, bool))
    for name in ("specificity", "npv", "balanced_accuracy", "mcc"):
        assert figures[name].value is None and figures[name].why, name
    assert figures["sensitivity"].value == 1.0
    nobody = binary_figures(np.zeros(0), np.zeros(0, bool))
    assert all(figure.value is None and figure.why for figure in nobody.values())


@pytest.mark.parametrize("called", [[0.2, 0.7], [np.nan, 1.0], [1]])
def test_probabilities_are_no_calls(called):
    with pytest.raises(ValueError, match="calls"):
        binary_figures([0, 1], called)


def test_youden_lies_half_way_between_scores():
    # Calls from 0.4 up: sensitivity 3/3, specificity 2/3, the best; half way from 0.2 is 0.3.
    threshold = youden_threshold([0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.4, 0.5, 0.6, 0.9])
    assert threshold == pytest.approx(0.3)


def test_youden_of_equals_takes_the_more_sensitive():
    # From 0.2 up J = 1 - 1/2; from 0.8 up J = 1/2: equal; the lower one wins.
    assert youden_threshold([0, 1, 0, 1], [0.1, 0.2, 0.6, 0.8]) == pytest.approx(0.15)


def test_a_useless_score_calls_everyone_positive():
    threshold = youden_threshold([1, 1, 0, 0], [0.2, 0.3, 0.6, 0.8])
    assert threshold == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("sensitivity", "expected"),
    # Positives at 0.4, 0.6, 0.9; the scores below them are 0.2, 0.5, 0.6.
    [(1.0, 0.3), (0.7, 0.3), (2 / 3, 0.55), (0.5, 0.55), (1 / 3, 0.75), (0.1, 0.75)],
)
def test_threshold_at_sensitivity_is_the_largest(sensitivity, expected):
    labels, probs = [0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.4, 0.5, 0.6, 0.9]
    assert threshold_at_sensitivity(labels, probs, sensitivity) == pytest.approx(expected)


def test_neighbouring_floats_stay_apart():
    low = 0.5
    high = np.nextafter(low, 1.0)
    threshold = youden_threshold([0, 1], [low, high])
    assert low < threshold <= high


def test_no_threshold_without_both_classes_or_from_no_probability():
    with pytest.raises(ValueError, match="both classes"):
        youden_threshold([1, 1], [0.2, 0.3])
    with pytest.raises(ValueError, match=r"0\.\.1"):
        youden_threshold([0, 1], [0.2, 1.3])
    with pytest.raises(ValueError, match="sensitivity of 0"):
        threshold_at_sensitivity([0, 1], [0.2, 0.3], 0.0)
