"""Heat maps against masks, by hand."""

import numpy as np
import pytest
from scipy import stats

from msk_jax.evaluation.figure import mean_figure
from msk_jax.explain.inside import inside


def test_share_area_and_pointing_by_hand():
    heat = np.zeros((4, 5))
    heat[1, 1], heat[1, 2], heat[3, 4] = 3, 4, 1
    mask = np.zeros((4, 5), bool)
    mask[1, :2] = True
    found = inside(heat, mask, (0.5, 3.0), tolerance_mm=0.5)
    assert found.energy == pytest.approx(3 / 8) and found.area == pytest.approx(2 / 20)
    # The highest point is one column, 0.5 mm, beside the mask.
    assert found.hit and not inside(heat, mask, (0.6, 0.5), tolerance_mm=0.5).hit
    heat[2, 1] = 9  # one row below: 3 mm
    assert not inside(heat, mask, (0.5, 3.0)).hit and inside(heat, mask, (3.0, 0.5)).hit


def test_an_empty_map_points_nowhere_and_an_empty_mask_is_refused():
    mask = np.eye(3, dtype=bool)
    found = inside(np.zeros((3, 3)), mask, (1, 1))
    assert found.energy is None and not found.hit and found.area == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="mask is empty"):
        inside(np.ones((3, 3)), ~np.ones((3, 3), bool), (1, 1))
    with pytest.raises(ValueError, match="shape"):
        inside(np.ones((3, 4)), mask, (1, 1))


def test_mean_beside_scipy():
    values = np.random.default_rng(0).normal(0.3, 0.2, 17)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    found = mean_figure(values, 0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.value == pytest.approx(values.mean())
    assert mean_figure(values[:1]).low is None and mean_figure(values[:0]).value is None
