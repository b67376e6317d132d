"""Every picture is drawn, whatever its values are: none, one, equal, equal but for rounding, NaN,
infinite, or too far apart for one axis."""

import warnings

import numpy as np
import pandas as pd
import pytest

from msk_jax.evaluation.core.figure import Figure as Result
from msk_jax.evaluation.core.ranges import bin_edges, span
from msk_jax.evaluation.detection import Froc
from msk_jax.evaluation.measurement import BlandAltman
from msk_jax.evaluation.plots import decisions as decision_plots
from msk_jax.evaluation.plots import features as feature_plot
from msk_jax.evaluation.plots import groups as group_plots
from msk_jax.evaluation.plots import models as model_plots
from msk_jax.evaluation.plots import outcomes as outcome_plots
from msk_jax.evaluation.plots import plots
from msk_jax.evaluation.plots import readers as reader_plots
from msk_jax.evaluation.survival import KaplanMeier
from msk_jax.explain.overlay import Plane, draw_overlay
from msk_jax.reports import inspection
from msk_jax.reports.images import svg

HALF = {"value": 0.5, "low": 0.4, "high": 0.6}
NEAR = np.nextafter(2.5, 3)
VALUES = {
    "none": [],
    "one": [0.25],
    "equal": [2.5, 2.5, 2.5],
    "zero": [0.0, 0.0],
    "equal but for rounding": [2.5, NEAR, np.nextafter(NEAR, 3), 2.5000000000000018],
    "large and equal but for rounding": [1e9, np.nextafter(1e9, 2e9)],
    "missing": [np.nan, np.nan],
    "partly missing": [np.nan, 0.5, 0.75],
    "infinite": [np.inf, 0.5, -np.inf],
    "far apart": [1e-300, 1.0, 1e300],
    "tiny": [1e-320, 3e-320],
}


def _plain(value):
    """A figure as JSON has it: what is not finite is null."""
    return None if value is None or not np.isfinite(value) else float(value)


def _figure(values) -> dict:
    value = _plain(values[0]) if values else None
    bounds = [_plain(v) for v in (min(values), max(values))] if values else [None, None]
    if None in (value, *bounds):
        bounds = [None, None]
    return {"value": value, "low": bounds[0], "high": bounds[1]}


def _level(values) -> dict:
    curve = {"false_positive_rate": values, "sensitivity": values, "band": None}
    auc = _figure(values)
    return {
        "roc": curve if auc["value"] is not None else None,
        "auc": HALF,
        "sensitivity": HALF,
        "specificity": HALF,
        "confusion": {"tp": len(values), "fp": 0, "tn": 0, "fn": 0},
    }


def _curve(values) -> dict:
    keys = ("thresholds", "model", "treat_all", "avoided", "second", "difference")
    return {
        **{key: list(values) for key in keys},
        **{
            f"{k}_{end}": None
            for k in ("avoided", "second", "difference")
            for end in ("low", "high")
        },
        "low": list(values),
        "high": list(values),
    }


def _roc(values) -> dict:
    return {"false_positive_rate": values, "sensitivity": values, "auc": HALF}


def _recall(values) -> dict:
    return {"recall": values, "precision": values, "average_precision": 0.5, "prevalence": 0.5}


def _calibration(values) -> dict:
    curve = {"predicted": values, "observed": values, "low": values, "high": values}
    bins = {"predicted": values, "observed": values}
    return {"curve": curve, "bins": bins, "slope": HALF}


def _groups(values) -> list[dict]:
    figures = dict.fromkeys(group_plots.OF_TWO_CLASSES, _figure(values))
    return [{"group": "A", "n": 3, "figures": figures, "gaps": figures}]


def _verdict(values) -> dict:
    limits = [_plain(values[0]) if values else None, None]
    return {
        "name": "slope",
        "verdict": "open",
        "limits": limits,
        "n": 3,
        "counted": "cases",
        **_figure(values),
    }


def _history(values) -> pd.DataFrame:
    steps = np.arange(len(values))
    rows = {"step": steps, "epoch": steps, "loss": values, "auc": values}
    return pd.concat([pd.DataFrame({**rows, "split": s}) for s in ("train", "validation")])


def _readers(values) -> dict:
    return {
        "reader_names": ["r"],
        "modality_names": ["a", "b"],
        "measure": "auc",
        "accuracy": [[_figure(values)["value"]], [0.5]],
        "modalities": [_figure(values), _figure(values)],
    }


def _study(values) -> dict:
    test = {
        "first": "a",
        "second": "b",
        "difference": _figure(values)["value"],
        "low": _figure(values)["low"],
        "high": _figure(values)["high"],
    }
    overall = {"measure": "auc", "differences": [test], "by_reader": [{**test, "reader": "r"}]}
    return {"overall": overall, "groups": {}}


def _result(values) -> Result:
    figure = _figure(values)
    return Result(figure["value"], figure["low"], figure["high"], "x")


def _survival(values) -> KaplanMeier:
    times = np.array(values, float)
    ones = np.ones(len(times))
    last = times[np.isfinite(times)].max(initial=0)
    return KaplanMeier(times, ones, ones, ones, np.linspace(0, last, 3), np.array([3, 2, 1]))


def _agreement(values):
    line = _result(values) if _figure(values)["value"] is not None else Result(0.0, 0.0, 0.0, "x")
    if line.low is None:
        line = Result(line.value, line.value, line.value, "x")
    result = BlandAltman(line, line, line, 1.0)
    return outcome_plots.agreement_figure(values, values, result, "mm")


def _overlay(values):
    pixels = np.array(values or [0.0], float)[None, :]
    plane = Plane(pixels, (0.0, 0.0), (1.0, 1.0))
    return draw_overlay(plane, [plane], (0.0, 100.0), "slice")


def _scans(values):
    return inspection._distributions(pd.DataFrame({"spacing": values}, dtype=float))


PICTURES = {
    "roc": lambda v: plots.roc_figure({"slice": _level(v)}),
    "confusion": lambda v: plots.confusion_figure({"slice": _level(v)}, ["no", "yes"]),
    "training": lambda v: plots.training_figure({0: _history(v), 1: _history(v)}),
    "forest": lambda v: plots.forest_figure({"slice": _level(v)}, []),
    "ablation": lambda v: plots.ablation_figure(
        pd.DataFrame({"variant": ["whole"] * len(v) or ["whole"], "joint": v or [None]}), ["joint"]
    ),
    "roc curves": lambda v: model_plots.roc_curves_figure({"m": _roc(v)}),
    "precision and recall": lambda v: model_plots.precision_recall_figure({"m": _recall(v)}),
    "calibration": lambda v: model_plots.calibration_figure({"m": _calibration(v)}),
    "decision": lambda v: decision_plots.decision_figure(_curve(v), ("a", "b")),
    "avoided": lambda v: decision_plots.avoided_figure(_curve(v), "a"),
    "difference": lambda v: decision_plots.benefit_difference_figure(_curve(v), ("a", "b")),
    "groups": lambda v: group_plots.subgroup_figure(_groups(v), "site"),
    "gaps": lambda v: group_plots.gap_figure(_groups(v), "site"),
    "gate": lambda v: group_plots.gate_figure([_verdict(v)]),
    "readers": lambda v: reader_plots.reader_figure(_readers(v)),
    "readers' curves": lambda v: reader_plots.reader_curves_figure(
        {"a": {"readers": {"r": _roc(v)}, "mean": _roc(v)}}
    ),
    "power": lambda v: reader_plots.power_figure(
        [{"readers": 3, "cases": np.minimum(v, 1e6), "power": v}], 0.05
    ),
    "modalities": lambda v: reader_plots.difference_figure(_study(v)),
    "survival": lambda v: outcome_plots.survival_figure({"all": _survival(v)}, "months"),
    "free response": lambda v: outcome_plots.froc_figure(
        {"m": Froc(np.array(v, float), np.array(v, float), _result(v))}
    ),
    "over time": lambda v: outcome_plots.over_time_figure(
        v, {"m": [_result([x]) for x in v]}, "AUC", "months"
    ),
    "segmentation": lambda v: outcome_plots.segmentation_figure(
        {"m": dict.fromkeys(("dice", "nsd", "hd95_mm", "assd_mm", "volume_error"), _result(v))}
    ),
    "agreement": _agreement,
    "feature map": lambda v: feature_plot.feature_map_figure(
        {"x": v, "y": v, "label": [0] * len(v), "set": ["test"] * len(v)}, ["no", "yes"]
    ),
    "overlay": _overlay,
    "scans": _scans,
    "values by class": lambda v: inspection._histogram(
        {0: [np.array(v, float)], 1: []}, ("a", "b")
    ),
    "contact sheet": lambda v: inspection._sheet(
        [("a", np.array(v or [0.0])[None, :])], (0.0, 1.0)
    ),
}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
@pytest.mark.parametrize("draw", PICTURES.values(), ids=PICTURES.keys())
def test_every_picture_is_drawn(draw, values):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # what matplotlib says of its own
        picture = draw(values)
        if not isinstance(picture, str):
            assert svg(picture).startswith("data:image/svg+xml")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], (0, 1)),
        ([None, np.nan, np.inf], (0, 1)),
        ([3.0, np.nan, 1.0], (1, 3)),
        ([2.5, 2.5000000000000018], (2, 3)),
        ([1e18, 1e18], (1e18 - 1e9, 1e18 + 1e9)),
        ([2.5, 2.501], (2.5, 2.501)),
        ([1e-7, 3e-7], (1e-7, 3e-7)),
    ],
)
def test_a_span_is_wide_enough_for_bins(values, expected):
    assert span(values) == pytest.approx(expected, rel=1e-15)
    edges = bin_edges(values, 20)
    assert len(edges) in (21, 22) and (np.diff(edges) > 0).all()


def test_equal_scans_stand_in_one_bin_and_what_is_not_finite_in_none(monkeypatch):
    figures = []
    monkeypatch.setattr(inspection, "_png", figures.append)
    inspection._distributions(pd.DataFrame({"spacing": [2.5, 2.5000000000000018, np.inf, np.nan]}))
    heights = [bar.get_height() for bar in figures[0].axes[0].patches]
    assert sorted(heights)[-2:] == [0, 2] and len(heights) == 21


def test_no_panel_is_an_empty_picture():
    figure, axes = plots.panels(0, 3.0, 2.0)
    assert axes == [] and tuple(figure.get_size_inches()) == (3.0, 2.0)
