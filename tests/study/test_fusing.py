"""Boxes of several networks made one, by cases that are worked out by hand."""

import numpy as np
import pytest

from msk_jax.study.fusing import fuse


def detections(*rows):
    """Of rows x0, y0, x1, y1, score, class."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return table[:, :4], table[:, 4], table[:, 5].astype(np.int64)


NONE = detections()


def test_one_network_is_left_as_it_is():
    """Also where its boxes overlap: what it tells apart it has told apart."""
    alone = detections((0, 0, 10, 10, 0.9, 1), (0, 0, 10, 9, 0.6, 1), (5, 5, 7, 9, 0.3, 0))
    for given, fused in zip(alone, fuse([alone]), strict=True):
        np.testing.assert_array_equal(fused, given)


def test_two_networks_that_agree():
    """Edges (0.9 * 10 + 0.3 * 14) / 1.2 = 11, the score (0.9 + 0.3) / 2 = 0.6; overlap 10 / 14."""
    boxes, scores, classes = fuse(
        [detections((0, 0, 10, 10, 0.9, 2)), detections((0, 0, 14, 10, 0.3, 2))]
    )
    np.testing.assert_allclose(boxes, [[0, 0, 11, 10]], rtol=1e-6)
    np.testing.assert_allclose(scores, [0.6], rtol=1e-6)
    assert classes.tolist() == [2]


def test_what_one_of_two_misses_has_half_the_score():
    boxes, scores, _ = fuse([detections((1, 2, 3, 4, 0.8, 0)), NONE])
    np.testing.assert_array_equal(boxes, [[1, 2, 3, 4]])
    np.testing.assert_allclose(scores, [0.4], rtol=1e-6)


def test_classes_are_never_mixed():
    boxes, scores, classes = fuse(
        [detections((0, 0, 10, 10, 0.9, 0)), detections((0, 0, 10, 10, 0.8, 1))]
    )
    assert boxes.tolist() == [[0, 0, 10, 10]] * 2 and classes.tolist() == [0, 1]
    np.testing.assert_allclose(scores, [0.45, 0.4], rtol=1e-6)


@pytest.mark.parametrize(("overlap", "count"), [(0.5, 1), (0.51, 2)])
def test_an_overlap_of_exactly_what_is_asked_for_is_enough(overlap, count):
    """10 x 10 within 10 x 20."""
    members = [detections((0, 0, 10, 10, 0.9, 0)), detections((0, 0, 10, 20, 0.8, 0))]
    assert len(fuse(members, overlap)[0]) == count


def test_of_each_network_the_nearest_box_joins_and_the_other_stays():
    """Shares of the first box: 9/10 by the less sure one and 8/10 by the surer one."""
    boxes, scores, _ = fuse(
        [
            detections((0, 0, 10, 10, 0.9, 0)),
            detections((0, 0, 10, 8, 0.7, 0), (0, 0, 10, 9, 0.1, 0)),
        ]
    )
    np.testing.assert_allclose(boxes, [[0, 0, 10, 9.9], [0, 0, 10, 8]], rtol=1e-6)
    np.testing.assert_allclose(scores, [0.5, 0.35], rtol=1e-6)


def test_the_order_of_networks_says_nothing_and_the_best_comes_first():
    """The cluster of three scores sums to 1.5, of three networks 0.5; the lone box has 0.8 / 3."""
    members = [
        detections((0, 0, 10, 10, 0.4, 1)),
        detections((0, 0, 10, 10, 0.5, 1), (50, 50, 60, 60, 0.8, 0)),
        detections((0, 0, 10, 10, 0.6, 1)),
    ]
    for some in (members, members[::-1]):
        boxes, scores, classes = fuse(some)
        assert boxes[:, 0].tolist() == [0, 50] and classes.tolist() == [1, 0]
        np.testing.assert_allclose(scores, [0.5, 0.8 / 3], rtol=1e-6)


def test_nothing_anywhere_and_nobody():
    boxes, scores, classes = fuse([NONE, NONE])
    assert boxes.shape == (0, 4) and len(scores) == len(classes) == 0
    with pytest.raises(ValueError, match="no network"):
        fuse([])
    with pytest.raises(ValueError, match="overlap of 0"):
        fuse([NONE], 0)


def test_scores_of_0_weigh_alike():
    members = [detections((0, 0, 10, 10, 0, 0)), detections((0, 0, 10, 12, 0, 0))]
    assert fuse(members)[0].tolist() == [[0, 0, 10, 11]]
