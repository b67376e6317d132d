import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from msk_jax.evaluation.core.figure import Figure
from msk_jax.evaluation.core.proportions import proportion
from msk_jax.evaluation.studies.gate import LIMITS, Limits, judge, judge_segmentation, together
from msk_jax.evaluation.studies.subgroups import age_band, gap, groups_of


def test_the_limits_of_the_source():
    early, staging, lesion = (LIMITS[name] for name in ("early", "staging", "segmentation"))
    assert early["sensitivity"].holds(0.95) and not early["sensitivity"].holds(0.949)
    assert early["specificity"].holds(0.80) and not early["specificity"].holds(0.799)
    # "over 85 %", "under 2 mm", "under 10 %": the limit itself fails.
    assert staging["specificity"].holds(0.851) and not staging["specificity"].holds(0.85)
    assert staging["slope"].holds(0.8) and staging["slope"].holds(1.2)
    assert not staging["slope"].holds(0.79) and not staging["slope"].holds(1.21)
    assert lesion["hd95_mm"].holds(1.99) and not lesion["hd95_mm"].holds(2.0)
    volume = lesion["absolute_volume_error"]
    assert volume.holds(0.099) and not volume.holds(0.10)
    assert lesion["dice"].holds(0.85) and not lesion["dice"].holds(0.849)


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
    result = judge("sensitivity", value, low, high, 100, Limits(low=0.95))
    assert (result.verdict, result.point_passes) == (verdict, inside)
    assert (result.n_to_settle is None) == (verdict != "open")


def test_the_sample_that_settles_a_share_is_the_smallest():
    seen = proportion(86, 100)
    result = judge("s", seen.value, seen.low, seen.high, 100, Limits(low=0.8), proportion=True)
    assert result.verdict == "open"
    # 0.86 n is not whole for every n; the Wilson bound of scipy at the nearest counts brackets it.
    n = result.n_to_settle
    after = binomtest(round(0.86 * (n + 25)), n + 25).proportion_ci(method="wilson")
    before = binomtest(round(0.86 * (n - 25)), n - 25).proportion_ci(method="wilson")
    assert before.low < 0.8 < after.low


def test_a_slope_shrinks_with_the_root_of_the_sample():
    # 0.1 from the upper limit with a half width of 0.2: four times the cases.
    result = judge("slope", 1.1, 0.9, 1.3, 100, Limits(0.8, 1.2))
    assert result.n_to_settle == 400
    assert judge("slope", 1.2, 1.0, 1.4, 100, Limits(0.8, 1.2)).n_to_settle is None
    nothing = judge("slope", None, None, None, 0, Limits(0.8, 1.2))
    assert nothing.verdict == "open" and nothing.point_passes is None


def test_the_rule_may_be_the_point():
    open_one = judge("sensitivity", 0.97, 0.90, 0.98, 100, Limits(low=0.95))
    by_point = judge("sensitivity", 0.97, 0.90, 0.98, 100, Limits(low=0.95), rule="point")
    assert (open_one.verdict, by_point.verdict) == ("open", "pass")
    failed = judge("sensitivity", 0.94, 0.90, 0.98, 100, Limits(low=0.95), rule="point")
    assert failed.verdict == "fail"
    assert together([by_point, open_one]) == "open" and together([by_point, failed]) == "fail"
    # An interval that ends on a strict limit holds no value that passes.
    assert judge("hd95_mm", 2.5, 2.0, 3.0, 9, Limits(high=2.0, strict=True)).verdict == "fail"
    assert judge("slope", 1.5, 1.2, 1.8, 9, Limits(0.8, 1.2)).verdict == "open"


def _boxes(moves):
    """Cubes of 10 voxels, and the same with their upper end moved along the first axis."""
    references = [np.zeros((30, 14, 14), bool) for _ in moves]
    masks = [r.copy() for r in references]
    for mask, reference, move in zip(masks, references, moves, strict=True):
        reference[4:14, 2:12, 2:12] = True
        mask[4 : 14 + move, 2:12, 2:12] = True
    return masks, references


def test_segmentations_before_the_gate():
    spacings = [(1.0, 1.0, 1.0)] * 8
    good = judge_segmentation(*_boxes([0] * 7 + [1]), spacings)
    # Dice 2 * 1000 / (1000 + 1100) of the last.
    assert good.figures["dice"].value == pytest.approx((7 + 2000 / 2100) / 8)
    assert good.figures["iou"].value == pytest.approx((7 + 1000 / 1100) / 8)
    verdicts = {v.name: v for v in good.verdicts}
    assert verdicts["hd95_mm"].value == pytest.approx(1 / 8)
    assert good.verdict == "pass"
    # Volumes 50 % too small and too large: the signed error is 0, the gate sees 50 %.
    balanced = judge_segmentation(*_boxes([-5, 5] * 4), spacings)
    assert balanced.figures["volume_error"].value == pytest.approx(0.0)
    of_volume = next(v for v in balanced.verdicts if v.name == "absolute_volume_error")
    assert of_volume.value == pytest.approx(0.5) and balanced.verdict == "fail"


def test_a_lesion_that_was_not_found_cannot_pass():
    masks, references = _boxes([0, 0, 0])
    masks[1] = np.zeros_like(masks[1])
    result = judge_segmentation(masks, references, [(1, 1, 1)] * 3)
    verdicts = {v.name: v for v in result.verdicts}
    assert verdicts["hd95_mm"].verdict == "open" and "1 case(s)" in verdicts["hd95_mm"].why
    assert result.figures["dice"].value == pytest.approx(2 / 3)
    # Where nothing is to be found and nothing is, there is no distance to count.
    references[1] = masks[1]
    assert judge_segmentation(masks, references, [(1, 1, 1)] * 3).figures["hd95_mm"].value == 0.0
    with pytest.raises(ValueError, match="3 masks"):
        judge_segmentation(masks, references, [(1, 1, 1)])


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
