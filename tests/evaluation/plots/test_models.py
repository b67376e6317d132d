"""What the pictures of models, groups and readers show."""

from itertools import pairwise

import numpy as np
import pytest

from msk_jax.evaluation.classes.decision_curve import decision_curve
from msk_jax.evaluation.classes.points import (
    calibration_points,
    mean_roc_points,
    precision_recall_points,
    roc_points,
)
from msk_jax.evaluation.core.figure import Figure, to_plain
from msk_jax.evaluation.mrmc.ratings import Ratings
from msk_jax.evaluation.mrmc.settings import MrmcSettings
from msk_jax.evaluation.mrmc.simulation import RoeMetz
from msk_jax.evaluation.mrmc.study import analyse
from msk_jax.evaluation.plots import decisions as decision_plots
from msk_jax.evaluation.plots import groups as group_plots
from msk_jax.evaluation.plots import models as model_plots
from msk_jax.evaluation.plots import readers as reader_plots
from msk_jax.evaluation.plots.outcomes import over_time_figure
from msk_jax.evaluation.studies.gate import Limits, judge

RNG = np.random.default_rng(0)
Y = RNG.integers(0, 2, 60)
P = 1 / (1 + np.exp(-RNG.normal(2 * Y - 1, 1.3)))
HALF = {"value": 0.5, "low": 0.4, "high": 0.6}


def _legend(axis):
    return [text.get_text() for text in axis.get_legend().get_texts()]


def test_roc_curves_carry_their_areas_and_never_look_alike():
    curves = {f"m{k}": {**roc_points(Y, P), "auc": HALF} for k in range(9)}
    axis = model_plots.roc_curves_figure(curves).axes[0]
    assert _legend(axis)[0] == "m0: 0.500 (0.400 to 0.600)"
    np.testing.assert_allclose(axis.lines[1].get_ydata(), curves["m0"]["sensitivity"])
    drawn = {(line.get_color(), str(line._dash_pattern)) for line in axis.lines[1:]}
    assert len(drawn) == 9


def test_precision_recall_shows_the_prevalence():
    points = precision_recall_points(Y, P)
    axis = model_plots.precision_recall_figure({"ours": points}).axes[0]
    assert axis.lines[0].get_ydata()[0] == pytest.approx(Y.mean())
    assert _legend(axis)[1] == f"ours: {points['average_precision']:.3f}"
    assert precision_recall_points(np.zeros(3), [0.1, 0.2, 0.3]) is None


def test_calibration_has_a_panel_a_part():
    part = {**calibration_points(Y, P, None, 0.95), "slope": HALF}
    alone = {
        **calibration_points(Y, P, np.zeros(60), 0.95),
        "slope": to_plain(Figure(None, None, None, "x", "why")),
    }
    axes = model_plots.calibration_figure({"before": part, "after": alone}).axes
    assert [axis.get_title(loc="left") for axis in axes] == ["before", "after"]
    np.testing.assert_allclose(axes[0].lines[1].get_ydata(), part["curve"]["observed"])
    assert len(axes[0].collections) == 1 and not axes[1].collections
    assert axes[0].texts[0].get_text() == "slope 0.50 (0.40 to 0.60)"
    assert axes[1].texts[0].get_text() == "no slope"
    assert len(model_plots.calibration_figure(dict.fromkeys("abcd", part)).axes) == 6


def test_decision_curves_have_a_band_for_each_model():
    curve = to_plain(decision_curve(Y, P, other=P**2, samples=20))
    axis = decision_plots.decision_figure(curve, ("one", "two")).axes[0]
    assert len(axis.collections) == 2 and _legend(axis)[2:] == ["one", "two"]
    np.testing.assert_allclose(axis.lines[3].get_ydata(), curve["second"])
    difference = np.subtract(curve["model"], curve["second"])
    axis = decision_plots.benefit_difference_figure(curve, ("one", "two")).axes[0]
    np.testing.assert_allclose(axis.lines[1].get_ydata(), difference, atol=1e-12)
    axis = decision_plots.avoided_figure(curve, "one").axes[0]
    np.testing.assert_allclose(axis.lines[1].get_ydata(), curve["avoided"])
    assert len(axis.collections) == 1
    alone = to_plain(decision_curve(Y, P, np.zeros(60), samples=20))
    assert not decision_plots.decision_figure(alone, ("one",)).axes[0].collections


def test_groups_show_figures_and_gaps():
    none = {"value": None, "low": None, "high": None}
    figures = dict.fromkeys(group_plots.OF_TWO_CLASSES, HALF) | {"slope": none}
    rows = [{"group": "A", "n": {"cases": 7}, "figures": figures, "gaps": figures}]
    axes = group_plots.subgroup_figure(rows, "site").axes
    np.testing.assert_allclose(axes[0].lines[0].get_xdata(), [0.4, 0.6])
    assert axes[3].texts[0].get_text() == "no answer"
    assert axes[0].get_yticklabels()[0].get_text() == "A (n 7)"
    axes = group_plots.gap_figure(rows, "site").axes
    assert axes[0].get_xlabel() == "group minus rest" and axes[0].lines[-1].get_xdata()[0] == 0


def test_the_gate_shows_limits_and_verdict():
    verdicts = [
        judge("slope", 1.1, 0.9, 1.3, 50, Limits(0.8, 1.2)),
        judge("specificity", 0.95, 0.9, 0.98, 30, Limits(low=0.85, strict=True), counted="x"),
    ]
    axes = group_plots.gate_figure([to_plain(v) for v in verdicts]).axes
    titles = [axis.get_title(loc="left") for axis in axes]
    assert titles == ["Calibration slope: open", "Specificity: pass"]
    assert [line.get_xdata()[0] for line in axes[0].lines[:2]] == [0.8, 1.2]
    assert axes[1].get_xlabel() == "30 x"


@pytest.fixture(scope="module")
def readers():
    truth, ratings = RoeMetz(effect=0.5).draw(3, 12, 12, seed=1)
    names = ("aided", "unaided"), ("r", "s", "t"), tuple(map(str, range(24)))
    return analyse(Ratings(truth, ratings, *names, {}), MrmcSettings())


def test_readers_and_their_curves(readers):
    axis = reader_plots.reader_figure(readers["overall"]).axes[0]
    first = readers["overall"]["accuracy"][0][0]
    assert any(line.get_xdata()[0] == first for line in axis.lines)
    axes = reader_plots.reader_curves_figure(readers["roc"]).axes
    assert [axis.get_title(loc="left") for axis in axes] == ["aided", "unaided"]
    # The diagonal, three readers, their mean.
    assert len(axes[0].lines) == 5
    shown = readers["roc"]["aided"]["readers"]["s"]["sensitivity"]
    np.testing.assert_allclose(axes[0].lines[2].get_ydata(), shown)


def test_the_area_of_the_mean_curve_is_the_mean_area(readers):
    for name, accuracy in zip(("aided", "unaided"), readers["overall"]["accuracy"], strict=True):
        mean = readers["roc"][name]["mean"]
        area = np.trapezoid(mean["sensitivity"], mean["false_positive_rate"])
        # Off by at most half a step of the grid where the curves rise.
        assert area == pytest.approx(np.mean(accuracy), abs=0.006)
    step = mean_roc_points([{"false_positive_rate": [0, 0, 1], "sensitivity": [0, 1, 1]}])
    assert step["sensitivity"] == [0.0, *[1.0] * 101]


def test_power_grows_with_cases_and_readers(readers):
    curves = readers["power_curves"]
    for curve in curves:
        assert all(a <= b + 1e-9 for a, b in pairwise(curve["power"]))
    assert all(a.get("power")[-1] <= b["power"][-1] for a, b in pairwise(curves))
    axis = reader_plots.power_figure(curves, 0.05).axes[0]
    assert _legend(axis) == [f"{c['readers']} readers" for c in curves]
    np.testing.assert_allclose(axis.lines[1].get_ydata(), curves[0]["power"])


def test_figures_over_time_leave_holes():
    missing = Figure(None, None, None, "x", "why")
    found = [Figure(0.7, 0.6, 0.8, "x"), missing, Figure(0.6, None, None, "x")]
    axis = over_time_figure([6, 12, 24], {"ours": found}, "AUC", "months").axes[0]
    np.testing.assert_array_equal(axis.lines[0].get_ydata(), [0.7, np.nan, 0.6])
    assert axis.get_xlabel() == "Time (months)" and len(axis.collections) == 1
