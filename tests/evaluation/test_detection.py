from types import SimpleNamespace

import numpy as np
import pytest

from msk_jax.evaluation.detection import (
    average_precision,
    froc,
    lroc_area,
    match_boxes,
    match_points,
    mean_average_precision,
    mean_over_classes,
)

TRUE = [np.array([[0, 0, 10, 10], [20, 20, 30, 30]]), np.array([[5, 5, 15, 15]]), np.zeros((0, 4))]
FOUND = [
    np.array([[0, 0, 10, 10], [1, 1, 10, 10], [22, 20, 30, 30]]),
    np.array([[50, 50, 60, 60]]),
    np.array([[0, 0, 5, 5]]),
]
SCORES = [np.array([0.9, 0.8, 0.6]), np.array([0.7]), np.array([0.3])]


def test_a_finding_is_hit_once():
    matched = match_boxes(FOUND, SCORES, TRUE)
    assert matched.hits.tolist() == [True, False, True, False, False]
    assert matched.image.tolist() == [0, 0, 0, 1, 2]
    assert matched.findings.tolist() == [2, 1, 0]


def test_average_precision_by_hand():
    # Hits at ranks 1 and 4 of three findings: precision 1 up to recall 1/3, 1/2 up to 2/3.
    expected = (34 * 1.0 + 33 * 0.5) / 101
    matched = match_boxes(FOUND, SCORES, TRUE)
    found = average_precision(matched)
    assert found.value == pytest.approx(expected) and found.low < found.value < found.high
    # The second hit overlaps by 0.8 and is one up to that threshold.
    strict = 34 / 101
    values = [expected] * 7 + [strict] * 3
    found = mean_average_precision(FOUND, SCORES, TRUE)
    assert found.value == pytest.approx(np.mean(values)) and found.low < found.high


def test_a_sample_of_images_is_judged_as_those_images(monkeypatch):
    """An image that is drawn twice has its detections and findings twice."""
    statistics = []

    def take(_, statistic, **options):
        statistics.append(statistic)
        return SimpleNamespace(low=[0.0], high=[1.0])

    monkeypatch.setattr("msk_jax.evaluation.detection.cluster_bootstrap", take)
    mean_average_precision(FOUND, SCORES, TRUE)
    for drawn in ((0, 1, 1), (0, 0, 2), (1, 1, 2)):
        weights = np.bincount(drawn, minlength=3)[None].astype(float)
        (weighed,) = statistics[0](weights)
        images = ([part[k] for k in drawn] for part in (FOUND, SCORES, TRUE))
        assert weighed == pytest.approx(mean_average_precision(*images).value)


def test_average_precision_beside_scikit_learn():
    from sklearn.metrics import precision_recall_curve

    rng = np.random.default_rng(0)
    hits, scores = rng.random(400) < 0.4, rng.random(400)
    truths = [np.array([[0, 0, 1, 1]]) if hit else np.zeros((0, 4)) for hit in hits]
    found = [np.array([[0, 0, 1, 1]])] * 400
    ours = average_precision(match_boxes(found, scores[:, None], truths), samples=5).value
    precision, recall, _ = precision_recall_curve(hits, scores)
    # Its last point, a precision of 1 at recall 0, stands for no detection.
    kept = [(precision[:-1])[recall[:-1] >= r].max() for r in np.linspace(0, 1, 101)]
    assert ours == pytest.approx(np.mean(kept), abs=1e-12)


def test_froc_by_hand():
    truths = [np.array([[0.0, 0, 0]]), np.array([[0.0, 0, 0], [50, 0, 0]]), np.zeros((0, 3))]
    found = [np.array([[1.0, 0, 0]]), np.array([[49.0, 0, 0], [9, 9, 9]]), np.array([[3.0, 3, 3]])]
    scores = [[0.9], [0.5, 0.7], [0.6]]
    result = froc(match_points(found, scores, truths, 2.0), samples=200)
    np.testing.assert_allclose(result.sensitivity, [0, 1 / 3, 1 / 3, 1 / 3, 2 / 3])
    np.testing.assert_allclose(result.false_positives, [0, 0, 1 / 3, 2 / 3, 2 / 3])
    # At 1/8, 1/4 and 1/2 false positives an image one of three is found, above two.
    assert result.score.value == pytest.approx((3 * 1 / 3 + 4 * 2 / 3) / 7)
    assert result.score.low <= result.score.value <= result.score.high


def test_nothing_found_and_nothing_to_find():
    none = [np.zeros((0, 4))] * 2
    assert average_precision(match_boxes(none, [[], []], none)).value is None
    missed = match_boxes(none, [[], []], [TRUE[0], TRUE[1]])
    assert (
        average_precision(missed, samples=5).value == 0.0
        and froc(missed, samples=5).score.value == 0.0
    )
    assert froc(match_boxes(none, [[], []], none)).score.value is None
    with pytest.raises(ValueError, match="each needs a number"):
        match_boxes(FOUND, [[0.9], [0.7], [0.3]], TRUE)
    with pytest.raises(ValueError, match="low corner"):
        match_boxes([np.array([[5, 5, 0, 0]])], [[0.5]], [TRUE[0]])
    with pytest.raises(ValueError, match="2 images"):
        match_boxes(FOUND[:2], SCORES[:2], TRUE)


def test_mean_over_classes_leaves_out_what_nobody_has():
    one = match_boxes(FOUND, SCORES, TRUE)
    perfect = match_boxes(TRUE, [[0.9, 0.8], [0.7], []], TRUE)
    absent = match_boxes(FOUND, SCORES, [np.zeros((0, 4))] * 3)
    result = mean_over_classes({"a": [one], "b": [perfect], "c": [absent]}, samples=100)
    values = average_precision(one, samples=5).value, 1.0
    assert result.mean.value == pytest.approx(np.mean(values))
    assert result.mean.low < result.mean.value < result.mean.high
    assert result.classes["a"].value == pytest.approx(values[0])
    assert result.classes["b"].value == 1.0 and result.classes["b"].low is None
    assert result.classes["c"].value is None
    with pytest.raises(ValueError, match="same images"):
        mean_over_classes({"a": [one], "b": [match_boxes([], [], [])]})


def test_localisation_area_by_hand():
    # Of six pairs: 0.9 beats both, 0.5 lies elsewhere, 0.4 is level with one.
    labels, scores = [1, 1, 1, 0, 0], [0.9, 0.5, 0.4, 0.6, 0.4]
    located = [1, 0, 1, 0, 1]
    result = lroc_area(labels, scores, located, samples=200)
    assert result.value == pytest.approx((2 + 0 + 0.5) / 6)
    assert 0 <= result.low < result.value < result.high <= 1
    # Where every mark is right it is the area under the ROC curve.
    everywhere = lroc_area(labels, scores, np.ones(5), samples=20)
    assert everywhere.value == pytest.approx((2 + 1 + 0.5) / 6)
    assert lroc_area([1, 1], [0.1, 0.2], [1, 1]).value is None
