import numpy as np
import pytest

from msk_jax.evaluation.studies.fairness import fairness_figures


def _cohort():
    """Two groups: TPR 3/4 and 1/2, FPR 1/4 and 3/4; called positive 4 of 8 and 5 of 8."""
    labels = np.tile(np.repeat([1, 0], 4), 2)
    called = np.array([1, 1, 1, 0, 1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0])
    return labels, called, np.repeat(["a", "b"], 8)


def test_fairness_by_hand():
    figures = fairness_figures(*_cohort(), samples=200)
    assert figures["equal_opportunity_difference"].value == pytest.approx(1 / 4)
    assert figures["equalised_odds_difference"].value == pytest.approx(1 / 2)
    assert figures["demographic_parity_ratio"].value == pytest.approx(4 / 5)
    for figure in figures.values():
        assert 0 <= figure.low < figure.high <= 1


def test_a_third_group_counts_by_the_extremes():
    labels, called, groups = _cohort()
    perfect = np.repeat([1, 0], 4)
    figures = fairness_figures(
        np.r_[labels, perfect], np.r_[called, perfect], np.r_[groups, ["c"] * 8], samples=20
    )
    assert figures["equal_opportunity_difference"].value == pytest.approx(1 / 2)
    assert figures["equalised_odds_difference"].value == pytest.approx(3 / 4)


def test_no_answer_without_groups_or_classes():
    labels, called, groups = _cohort()
    for wrong in (np.full(16, "a"), np.where(np.arange(16) < 3, "a", "b")):
        figures = fairness_figures(labels, called, wrong, samples=20)
        assert all(f.value is None and f.why for f in figures.values())
    with pytest.raises(ValueError, match="0 or 1"):
        fairness_figures(labels, called / 2, groups)
