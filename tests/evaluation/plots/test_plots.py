import numpy as np
import pandas as pd
import pytest

from msk_jax.evaluation.plots import plots
from msk_jax.evaluation.settings import EvaluationSettings
from tests.two_classes import judge_two


@pytest.fixture(scope="module")
def levels():
    rng = np.random.default_rng(0)
    labels = np.arange(20) % 2
    table = pd.DataFrame(
        {
            "patient_id": [f"p{i}" for i in range(20)],
            "unit_id": [f"p{i}" for i in range(20)],
            "level": "patient",
            "fold": np.arange(20) // 2 % 2,
            "label": labels,
            "prob": np.clip(rng.normal(0.35 + 0.3 * labels, 0.2), 0, 1),
        }
    )
    validation = table.assign(fold=1 - table["fold"])
    metrics = judge_two(table, validation, EvaluationSettings(bootstrap_samples=50))
    return {"patient": metrics["levels"]["patient"]}


def test_roc_draws_the_curve_the_band_and_the_operating_point(levels):
    axis = plots.roc_figure(levels).axes[0]
    level = levels["patient"]
    _, curve, point = axis.lines
    np.testing.assert_allclose(curve.get_ydata(), level["roc"]["sensitivity"])
    assert point.get_xydata()[0] == pytest.approx(
        [1 - level["specificity"]["value"], level["sensitivity"]["value"]]
    )
    assert len(axis.collections) == 1
    assert f"AUC {level['auc']['value']:.3f}" in axis.texts[0].get_text()


def test_roc_without_a_curve_says_so(levels):
    empty = {**levels["patient"], "roc": None}
    assert "both classes" in plots.roc_figure({"patient": empty}).axes[0].texts[0].get_text()


def test_confusion_puts_true_classes_in_rows(levels):
    axis = plots.confusion_figure(
        {"patient": {"confusion": {"tp": 7, "fp": 2, "tn": 8, "fn": 3}}}, ["no", "yes"]
    ).axes[0]
    texts = {
        (column, round(row)): text.get_text()
        for text in axis.texts
        for column, row in [text.get_position()]
        if not text.get_text().endswith("%")
    }
    assert texts == {(0, 0): "8", (1, 0): "2", (0, 1): "3", (1, 1): "7"}
    assert axis.get_ylabel() == "True"


def test_forest_shows_the_interval_that_counts_patients():
    figures = {"value": 0.9, "low": 0.85, "high": 0.95, "clustered": {"low": 0.7, "high": 0.97}}
    none = {"value": None, "low": None, "high": None, "clustered": None}
    figure = plots.forest_figure(
        {"slice": {"sensitivity": figures, "specificity": none}},
        [{"name": "sensitivity", "value": 0.913}],
    )
    sensitivity, specificity = figure.axes
    np.testing.assert_allclose(sensitivity.lines[0].get_xdata(), [0.7, 0.97])
    assert sensitivity.lines[2].get_xdata()[0] == 0.913
    assert "91.3" in sensitivity.texts[0].get_text()
    assert specificity.texts[0].get_text() == "no answer"


def test_training_curves_by_split():
    table = pd.DataFrame(
        {
            "step": [1, 1, 2, 2],
            "epoch": [1, 1, 2, 2],
            "split": ["train", "validation"] * 2,
            "loss": [0.7, 0.8, 0.5, 0.6],
            "auc": [np.nan, 0.6, np.nan, 0.9],
        }
    )
    axes = plots.training_figure({0: table, 1: table}).axes
    for axis, expected in zip(axes, ([0.7, 0.5], [0.8, 0.6], [0.6, 0.9]), strict=True):
        assert len(axis.lines) == 2
        np.testing.assert_allclose(axis.lines[0].get_ydata(), expected)
    assert axes[0].lines[0].get_linestyle() != axes[0].lines[1].get_linestyle()


def test_ablation_shows_seeds_mean_and_spread():
    table = pd.DataFrame(
        {
            "variant": ["whole", "whole", "less"],
            "seed": [0, 1, 0],
            "joint": [0.8, 0.9, 0.7],
        }
    )
    axis = plots.ablation_figure(table, ["joint"]).axes[0]
    seeds, bar, mean = axis.lines[:3]
    np.testing.assert_allclose(seeds.get_xdata(), [0.8, 0.9])
    spread = 0.1 / np.sqrt(2)  # of two values a and b: |a - b| / sqrt 2
    np.testing.assert_allclose(bar.get_xdata(), [0.85 - spread, 0.85 + spread])
    assert mean.get_xdata() == pytest.approx([0.85])
    assert [label.get_text() for label in axis.get_yticklabels()] == ["whole", "less"]


def test_forty_models_look_different():
    styles = {plots.line_style(k) for k in range(42)}
    assert len(styles) == 42 and len({plots.marker_style(k) for k in range(56)}) == 56
