import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from msk_jax.evaluation.figure import Figure
from msk_jax.evaluation.gate import LIMITS, judge
from msk_jax.evaluation.proportions import proportion
from msk_jax.evaluation.subgroups import age_band, gap, groups_of


def test_the_limits_of_the_source():
    assert LIMITS["early"] == {"sensitivity": (0.95, np.inf), "specificity": (0.8, np.inf)}
    assert LIMITS["staging"] == {"specificity": (0.85, np.inf), "slope": (0.8, 1.2)}
    assert LIMITS["segmentation"] == {"hd95_mm": (-np.inf, 2.0), "volume_error": (-0.1, 0.1)}


@pytest.mark.parametrize(
    ("low", "value", "high", "verdict", "inside"),
    [
        (0.96, 0.97, 0.98, "pass", True),
        (0.90, 0.97, 0.98, "open", True),
        (0.90, 0.94, 0.98, "open", False),
        (0.80, 0.85, 0.94, "fail", False),
    ],
)
def test_the_interval_decides(low, value, high, verdict, inside):
    result = judge("sensitivity", value, low, high, 100, (0.95, np.inf))
    assert (result.verdict, result.point_passes) == (verdict, inside)
    assert (result.n_to_settle is None) == (verdict != "open")


def test_the_sample_that_settles_a_share_is_the_smallest():
    seen = proportion(86, 100)
    result = judge("s", seen.value, seen.low, seen.high, 100, (0.8, np.inf), proportion=True)
    assert result.verdict == "open"
    # 0.86 n is not whole for every n; the Wilson bound of scipy at the nearest counts brackets it.
    n = result.n_to_settle
    after = binomtest(round(0.86 * (n + 25)), n + 25).proportion_ci(method="wilson")
    before = binomtest(round(0.86 * (n - 25)), n - 25).proportion_ci(method="wilson")
    assert before.low < 0.8 < after.low


def test_a_slope_shrinks_with_the_root_of_the_sample():
    # 0.1 from the upper limit with a half width of 0.2: four times the cases.
    result = judge("slope", 1.1, 0.9, 1.3, 100, (0.8, 1.2))
    assert result.n_to_settle == 400
    assert judge("slope", 1.2, 1.0, 1.4, 100, (0.8, 1.2)).n_to_settle is None
    nothing = judge("slope", None, None, None, 0, (0.8, 1.2))
    assert nothing.verdict == "open" and nothing.point_passes is None


def test_gap_as_newcombe_prints_it():
    # R. G. Newcombe, Stat Med 1998;17:873, table II (a): 56/70 - 48/80, method 10.
    result = gap(proportion(56, 70), proportion(48, 80))
    assert result.value == pytest.approx(0.2)
    assert (result.low, result.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_gap_without_an_answer():
    nothing = Figure(None, None, None, "x", "why")
    assert gap(nothing, proportion(1, 2)).value is None
    half = gap(Figure(0.5, None, None, "x"), proportion(1, 2))
    assert half.value == 0.0 and half.low is None and half.why


def test_ages_come_in_bands():
    ages = pd.Series(["39", "40", "59.5", "80", "", "old"])
    bands = ["0 to 39", "40 to 59", "40 to 59", "80 and over", "", ""]
    assert age_band(ages).tolist() == bands
    table = pd.DataFrame({"age": ages, "site": ["a", "", "b", "a", "a", "a"]})
    assert groups_of(table, "age").iloc[-1] == "unknown"
    assert groups_of(table, "site").tolist()[1] == "unknown"
