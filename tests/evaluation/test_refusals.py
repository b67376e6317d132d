"""What must be refused, or answered with a reason, instead of with a number that means nothing."""

import json

import numpy as np
import pandas as pd
import pytest

from msk_jax.errors import UserError
from msk_jax.evaluation.agreement import cohen_kappa, icc, mcnemar
from msk_jax.evaluation.classes.auc_bootstrap import bootstrap_areas
from msk_jax.evaluation.classes.binary import threshold_at_specificity, youden_threshold
from msk_jax.evaluation.classes.calibration import (
    calibration_bins,
    calibration_curve,
    calibration_figures,
)
from msk_jax.evaluation.classes.decision_curve import decision_curve
from msk_jax.evaluation.classes.multiclass import multiclass_figures
from msk_jax.evaluation.classes.partial_auc import partial_auc
from msk_jax.evaluation.classes.recalibration import Recalibration, recalibrate
from msk_jax.evaluation.classes.roc import clustered_auc, delong, roc_band
from msk_jax.evaluation.classes.roc_comparison import roc_areas
from msk_jax.evaluation.core.figure import bootstrap_figure, mean_figure, to_plain
from msk_jax.evaluation.core.proportions import clustered_proportion, proportion
from msk_jax.evaluation.core.resampling import cluster_bootstrap
from msk_jax.evaluation.detection import froc, match_boxes, match_points
from msk_jax.evaluation.masks.surface import surface_distances
from msk_jax.evaluation.measurement import adjusted_r2, bland_altman, psnr
from msk_jax.evaluation.mrmc.analysis import Components, obuchowski_rockette
from msk_jax.evaluation.mrmc.ratings import Ratings, ratings_from_table
from msk_jax.evaluation.mrmc.settings import MrmcSettings
from msk_jax.evaluation.mrmc.sizing import power
from msk_jax.evaluation.mrmc.study import analyse
from msk_jax.evaluation.studies.gate import Limits, judge, judge_segmentation
from msk_jax.evaluation.studies.subgroups import groups_of
from msk_jax.evaluation.survival import KaplanMeier

Y = np.tile([0, 1], 10)
P = np.linspace(0.1, 0.9, 20) * 0.6 + 0.3 * Y
TRUTH = np.repeat([0, 1], 10)
# Three readers who rate alike: the readers have no spread.
ALIKE = np.tile(np.random.default_rng(0).integers(0, 5, (2, 1, 20)), (1, 3, 1))
RATED = np.random.default_rng(1).normal(size=(2, 3, 20))
VARIED = Components(0.001, 0.0002, 0.0008, 0.0003, 0.0003, 0.0002)
BOX = np.array([[0.0, 0.0, 2.0, 2.0]])
MASK = np.ones((3, 3), bool)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mcnemar([np.nan, 1, 0], [0, 0, 0]), "0 or 1"),
        (lambda: mcnemar([0.7, 1.0], [0, 1]), "0 or 1"),
        (lambda: mcnemar([], []), "needs a case"),
        (lambda: clustered_proportion([1, np.nan], [0, 1]), "0 or 1"),
        (lambda: proportion(0.7, 1.9), "cannot be"),
        (lambda: proportion(1, 2, "agresti"), "method is 'agresti'"),
        (lambda: icc(np.eye(3), "ICC(2,1)"), "kind is 'ICC"),
        (lambda: cohen_kappa([0, 1], [0, 1], "cubic"), "weights is 'cubic'"),
        (lambda: surface_distances(MASK, MASK, (1, 1), convention="monai"), "convention is"),
        (lambda: surface_distances(MASK, MASK, (1, 1), tolerance_mm=np.nan), "tolerance"),
        (lambda: obuchowski_rockette(TRUTH, RATED, method="gallas"), "method is 'gallas'"),
        (lambda: obuchowski_rockette(TRUTH, RATED, random="reader"), "random is 'reader'"),
        (lambda: obuchowski_rockette(TRUTH, RATED, measure="acc"), "measure is 'acc'"),
        (lambda: obuchowski_rockette(TRUTH, RATED, confidence=95), "confidence of 95"),
        (lambda: cluster_bootstrap(Y, lambda w: w.sum(1), interval="BCa"), "interval is 'BCa'"),
        (lambda: bootstrap_areas(Y, P, interval="BCa"), "interval is 'BCa'"),
        (lambda: partial_auc(Y, P, 0.5, focus="sens"), "focus is 'sens'"),
        (lambda: delong(Y, P, interval="logistic"), "interval is 'logistic'"),
        (lambda: recalibrate(Y, P, "temp"), "method is 'temp'"),
        (lambda: Recalibration("platt", (0.0, 1.0))([np.nan]), "0..1"),
        (lambda: delong(Y, P, 95), "confidence of 95"),
        (lambda: roc_areas(Y, [P, P**2 + 0.01 * Y]).compare(confidence=95), "confidence of 95"),
        (lambda: mean_figure([1, np.nan]), "finite"),
        (lambda: adjusted_r2(np.nan, 10, 1), "correlation of nan"),
        (lambda: adjusted_r2(1.2, 10, 1), "correlation of 1.2"),
        (lambda: power(VARIED, 50, readers=4, cases=50, difference=np.nan), "difference of nan"),
        (
            lambda: power(Components(0, 0, 0, 0, 0, 0), 50, readers=4, cases=50, difference=0.1),
            "no variance",
        ),
        (lambda: match_points([np.ones((3, 2))], [np.ones(3)], [np.ones((3, 3))], 1), "one width"),
        (lambda: match_points([np.ones(2)], [np.ones(1)], [BOX[:, :2]], 1), "tables"),
        (lambda: match_points([BOX[:, :2]], [[1.0]], [BOX[:, :2]], -1), "radius of -1"),
        (lambda: match_points([BOX[:, :2]], [[1.0]], [BOX[:, :2]], np.nan), "radius of nan"),
        (lambda: match_boxes([BOX * np.nan], [[1.0]], [BOX]), "finite"),
        (lambda: match_boxes([BOX], [[1.0]], [BOX], iou=0), "overlap of 0"),
        (lambda: match_boxes([BOX], [], [BOX]), "scores of 0 images"),
        (lambda: multiclass_figures([0, 1, 2], np.eye(3), names=["a", "b"]), "3 classes need"),
        (lambda: youden_threshold([0, 1, 2], [0.1, 0.2, 0.3]), "0 or 1"),
        (lambda: youden_threshold([0, 1, np.nan], [0.1, 0.2, 0.3]), "0 or 1"),
        (lambda: calibration_figures(Y, P, np.zeros(3)), "one for each of 20"),
        (lambda: decision_curve(Y, P, np.zeros(3)), "one for each of 20"),
        (lambda: clustered_auc(Y, P, np.zeros(3)), "one for each of 20"),
        (lambda: bootstrap_areas(Y, P, np.full(20, np.nan)), "A cluster is missing"),
        (lambda: roc_band(Y, P, np.zeros(20)), "two patients"),
        (lambda: judge("s", np.nan, 0.1, 0.2, 9, Limits(low=0.5)), "s is nan"),
        (lambda: judge("s", 0.5, 0.1, 0.2, 9, Limits(low=0.5), rule="mean"), "rule is 'mean'"),
    ],
)
def test_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_rounding_is_no_proof():
    for random in ("readers", "readers and cases", "cases"):
        result = obuchowski_rockette(TRUTH, ALIKE, random=random)
        if random == "readers":
            assert result.statistic is None and result.p is None and "certainty" in result.why
            assert all(m.low is None and m.why for m in result.modalities)
            assert result.differences[0][2].p is None
        else:
            assert 0 < result.p < 1 and result.modalities[0].low < result.modalities[0].high


@pytest.mark.parametrize(
    "settings",
    [
        MrmcSettings(),
        MrmcSettings(measure="sensitivity", threshold=99.0),
    ],
)
def test_readers_without_fault_prove_nothing(settings):
    perfect = np.tile(TRUTH.astype(float), (2, 3, 1))
    names = tuple(map(str, range(20)))
    study = analyse(Ratings(TRUTH, perfect, ("a", "b"), ("x", "y", "z"), names, {}), settings)
    assert study["overall"]["p"] is None and study["overall"]["why"]
    assert study["overall"]["modalities"][0]["low"] is None
    assert study["overall"]["differences"][0]["low"] is None
    assert study["next_study"] == [] and "no variance" in study["next_study_why"]
    json.dumps(study, allow_nan=False)


def test_one_reader_sizes_a_study_of_one():
    names = tuple(map(str, range(20)))
    study = Ratings(TRUTH, RATED[:, :1], ("a", "b"), ("x",), names, {})
    rows = analyse(study, MrmcSettings(random="cases"))["next_study"]
    assert [row["readers"] for row in rows] == [1]
    with pytest.raises(UserError, match="threshold is nan"):
        analyse(study, MrmcSettings("accuracy", np.nan, random="cases"))


def test_names_are_the_same_with_and_without_blanks():
    rows = [("r", f"c{k}", m, k % 2, k) for k in range(6) for m in ("u " if k else "u", "v")]
    table = pd.DataFrame(rows, columns=["reader", "case", "modality", "truth", "rating"])
    assert ratings_from_table(table, "t").modalities == ("u", "v")


def test_one_patient_has_no_intervals():
    one = np.zeros(20)
    figures = calibration_figures(Y, P, one, samples=10)
    # Not the range of what chance gives, which no patient has a part in.
    del figures["ece_by_chance"]
    for figure in figures.values():
        assert figure.value is not None and figure.low is None and figure.why
    # A variance over two patients of two coefficients is singular.
    assert calibration_figures(Y, P, np.arange(20) // 10, samples=10)["slope"].low is None
    curve = calibration_curve(Y, P, one)
    assert curve.low is None and np.isfinite(curve.observed).all()
    decisions = decision_curve(Y, P, one, other=P**2, samples=10)
    assert decisions.low is None and decisions.difference_high is None
    assert decisions.avoided_low is None and np.isfinite(decisions.model).all()
    assert decision_curve(np.zeros(5), P[:5], samples=10).standardised is None


def test_equal_resamples_differ_in_the_last_bits():
    figure = bootstrap_figure(0.01, 0.009999999999999997, 0.010000000000000004, "x")
    assert figure.low is None and figure.why


def test_no_image_has_no_detection():
    matched = match_boxes([], [], [])
    assert not len(matched.scores) and not len(matched.findings)
    empty = match_points([np.zeros((0, 3))], [[]], [np.ones((2, 3))], 1.0)
    assert empty.findings.tolist() == [2] and not len(empty.hits)


def test_measurements_are_no_groups():
    table = pd.DataFrame({"bmi": np.arange(30) / 7, "site": np.arange(30) % 3})
    assert groups_of(table, "site").nunique() == 3
    with pytest.raises(UserError, match="30 different values"):
        groups_of(table, "bmi")


@pytest.mark.parametrize(
    "result",
    [
        lambda: obuchowski_rockette(TRUTH, RATED),
        lambda: decision_curve(Y, P, other=P**2, samples=5),
        lambda: calibration_curve(Y, P),
        lambda: roc_areas(Y, [P, P**2]),
        lambda: roc_band(Y, P, np.arange(20), samples=5),
        lambda: froc(match_points([BOX[:, :2]], [[1.0]], [BOX[:, :2]], 1), samples=5),
        lambda: KaplanMeier(*np.ones((6, 3))),
        lambda: judge_segmentation([MASK], [MASK], [(1, 1)]),
        lambda: multiclass_figures(np.arange(9) % 3, np.eye(3)[np.arange(9) % 3], samples=5),
        lambda: {"psnr": psnr(MASK, MASK, 1.0), "bins": calibration_bins(Y, P)},
        lambda: bland_altman(P, P**2),
        lambda: recalibrate(Y, P),
    ],
)
def test_every_result_becomes_json(result):
    text = json.dumps(to_plain(result()), allow_nan=False)
    assert len(json.loads(text)) > 1


def test_threshold_at_a_specificity_by_hand():
    labels, probs = [0, 0, 0, 0, 1, 1], [0.1, 0.2, 0.5, 0.7, 0.4, 0.9]
    # Between 0.4 and 0.5 two of the four negatives are below, above 0.5 three are.
    assert threshold_at_specificity(labels, probs, 0.5) == pytest.approx(0.3)
    assert threshold_at_specificity(labels, probs, 0.75) == pytest.approx(0.6)
    assert threshold_at_specificity(labels, probs, 1.0) == pytest.approx(0.8)
    above = threshold_at_specificity([0, 1], [0.9, 0.2], 1.0)
    assert 0.9 < above < 0.9 + 1e-12
