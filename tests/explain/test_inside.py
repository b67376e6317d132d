"""Heat maps against masks, by hand."""

import numpy as np
import pytest
from scipy import stats

from msk_jax.evaluation.core.figure import mean_figure
from msk_jax.explain.inside import inside
from msk_jax.study import signs


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


def test_maps_are_cut_as_the_network_sees_the_picture(monkeypatch):
    """A map that is the mask itself has all its energy there, whatever the network crops."""
    side, kept = 12, 8
    mask = np.zeros((side, side), bool)
    mask[3:5, 6:9] = True
    volume = mask[..., None].astype(np.int16)

    def central(stage, variables, volumes, target):
        cut = (side - kept) // 2
        return volumes[:, cut : cut + kept, cut : cut + kept, 0].astype(float)

    monkeypatch.setattr(signs, "explain", central)
    outside = np.zeros_like(mask)
    outside[0, 0] = True  # the network does not see it: no case
    cases = [signs.Case(volume, k % 2, mask, (1.0, 1.0)) for k in range(19)]
    cases += [signs.Case(volume, 0, outside, (1.0, 1.0))]
    found = signs.judge_cases(None, {}, cases)
    assert len(found) == 19
    assert {(one.energy, one.area, one.hit) for one in found} == {(1.0, 6 / 64, True)}


def test_shuffled_weights_are_the_same_numbers_elsewhere():
    params = {"kernel": np.arange(12.0).reshape(3, 4), "bias": np.zeros(2)}
    found = signs.shuffled_weights({"params": params, "batch_stats": {}})["params"]["kernel"]
    assert found.shape == (3, 4) and sorted(found.ravel()) == list(range(12))
    assert (found != params["kernel"]).any()
