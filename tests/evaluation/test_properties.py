"""What must hold for any data: order, scale, labels turned round, ties, weights, one of a kind."""

import numpy as np
import pytest

pytest.importorskip("hypothesis", reason="hypothesis draws the examples and is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st

from msk_jax.evaluation.agreement import cohen_kappa, fleiss_kappa, icc, mcnemar
from msk_jax.evaluation.classes.auc_bootstrap import bootstrap_areas
from msk_jax.evaluation.classes.binary import (
    binary_figures,
    confusion,
    threshold_at_sensitivity,
    threshold_at_specificity,
    youden_threshold,
)
from msk_jax.evaluation.classes.calibration import brier_parts, calibration_figures
from msk_jax.evaluation.classes.decision_curve import decision_curve
from msk_jax.evaluation.classes.partial_auc import partial_auc
from msk_jax.evaluation.classes.recalibration import recalibrate
from msk_jax.evaluation.classes.reclassification import reclassification
from msk_jax.evaluation.classes.roc import clustered_auc, delong, weighted_areas
from msk_jax.evaluation.classes.roc_comparison import permutation_test, roc_areas
from msk_jax.evaluation.core.figure import Figure, mean_figure, to_plain
from msk_jax.evaluation.core.proportions import proportion
from msk_jax.evaluation.detection import lroc_area
from msk_jax.evaluation.masks.surface import overlap, surface_distances
from msk_jax.evaluation.measurement import bland_altman
from msk_jax.evaluation.mrmc.analysis import obuchowski_rockette
from msk_jax.evaluation.studies.fairness import fairness_figures
from msk_jax.evaluation.studies.subgroups import gap

quick = settings(max_examples=25, deadline=None, derandomize=True)
few = settings(max_examples=12, deadline=None, derandomize=True)

# Scores on a coarse grid, so that ties are common.
case = st.tuples(st.booleans(), st.integers(0, 8), st.integers(0, 8))
study = st.lists(case, min_size=6, max_size=40).filter(
    lambda rows: 2 <= sum(label for label, *_ in rows) <= len(rows) - 2
)


def _arrays(rows):
    labels, a, b = (np.array(column) for column in zip(*rows, strict=True))
    return labels.astype(int), a / 8, b / 8


@given(rows=study, order=st.randoms(use_true_random=False))
@quick
def test_order_of_cases_means_nothing(rows, order):
    mixed = list(rows)
    order.shuffle(mixed)
    for one, other in zip(_results(rows), _results(mixed), strict=True):
        assert one == pytest.approx(other, abs=1e-9, nan_ok=True)


def _results(rows):
    """Figures of every kind that do not draw at random, one after the other."""
    labels, a, b = _arrays(rows)
    areas = roc_areas(labels, [a, b])
    parts = brier_parts(labels, a)
    called, stages = a >= 0.5, (np.column_stack([a, b]) * 2.99).astype(int)
    return [
        *areas.values,
        *areas.covariance.ravel(),
        areas.compare().p or np.nan,
        parts.score,
        parts.reliability,
        parts.resolution,
        permutation_test(labels, a, b, samples=10).difference,
        *_values(binary_figures(labels, called, samples=2)),
        *_values(calibration_figures(labels, a, samples=2)),
        *_values(reclassification(labels, a, b, samples=2)),
        *decision_curve(labels, a, thresholds=[0.2, 0.6], samples=2).model,
        *_values({"fleiss": fleiss_kappa(stages, samples=2), "cohen": cohen_kappa(*stages.T)}),
        *_values({"partial": partial_auc(labels, a, 0.5, samples=2)}),
        youden_threshold(labels, a),
        threshold_at_sensitivity(labels, a, 0.9),
        threshold_at_specificity(labels, a, 0.9),
        mcnemar(called == labels, b < 0.5).p_exact,
        clustered_auc(labels, a, np.arange(len(labels))).value,
    ]


def _values(figures):
    return [np.nan if figure.value is None else figure.value for figure in figures.values()]


@given(rows=study)
@quick
def test_areas_see_only_ranks(rows):
    labels, a, b = _arrays(rows)
    plain, bent = roc_areas(labels, [a, b]), roc_areas(labels, [np.exp(3 * a), b**3 - 5])
    np.testing.assert_allclose(plain.values, bent.values, atol=1e-12)
    np.testing.assert_allclose(plain.covariance, bent.covariance, atol=1e-12)


@given(rows=study)
@quick
def test_what_sees_only_ranks_sees_no_monotone_transform(rows):
    labels, a, b = _arrays(rows)
    bent, other = np.exp(3 * a) / 30, b**3
    for plain, turned in (
        (delong(labels, a), delong(labels, bent)),
        (partial_auc(labels, a, 0.6, samples=5), partial_auc(labels, bent, 0.6, samples=5)),
        (lroc_area(labels, a, b > 0.4, samples=5), lroc_area(labels, bent, b > 0.4, samples=5)),
    ):
        for name in ("value", "low", "high"):
            ours, theirs = getattr(plain, name), getattr(turned, name)
            assert ours == (None if theirs is None else pytest.approx(theirs, abs=1e-9))
    tests = [permutation_test(labels, *pair, samples=50) for pair in ((a, b), (bent, other))]
    assert tests[0].p == tests[1].p
    # The cases that an operating point calls are the same ones.
    for choose in (youden_threshold, lambda y, p: threshold_at_specificity(y, p, 0.8)):
        called = [p >= choose(labels, p) for p in (a, a**2)]
        np.testing.assert_array_equal(*called)


@given(seed=st.integers(0, 1000))
@few
def test_the_bootstrap_of_areas_sees_only_ranks(seed):
    # Of one size, as each size is compiled.
    labels, scores = np.repeat([0, 1], 8), np.random.default_rng(seed).integers(0, 9, (2, 16)) / 8
    plain, bent = (
        bootstrap_areas(labels, rows, samples=20).difference
        for rows in (scores, np.stack([np.exp(3 * scores[0]), scores[1] ** 3]))
    )
    assert (plain.value, plain.low, plain.high) == (bent.value, bent.low, bent.high)


@given(rows=study)
@quick
def test_labels_turned_round_swap_the_two_kinds_of_error(rows):
    labels, a, _ = _arrays(rows)
    plain = binary_figures(labels, a >= 0.5, samples=2)
    turned = binary_figures(1 - labels, a < 0.5, samples=2)
    for one, other in (("sensitivity", "specificity"), ("ppv", "npv"), ("accuracy", "accuracy")):
        assert (plain[one].value, plain[one].low) == (turned[other].value, turned[other].low)
    for name in ("balanced_accuracy", "mcc"):
        expected = turned[name].value
        assert plain[name].value == (None if expected is None else pytest.approx(expected))
    ours, theirs = brier_parts(labels, a), brier_parts(1 - labels, 1 - a)
    assert (ours.score, ours.resolution) == pytest.approx((theirs.score, theirs.resolution))
    slopes = [
        calibration_figures(y, p, samples=2)["slope"].value
        for y, p in ((labels, a), (1 - labels, 1 - a))
    ]
    assert slopes[0] == (None if slopes[1] is None else pytest.approx(slopes[1], abs=1e-6))


@given(rows=study)
@quick
def test_labels_turned_round_mirror_the_area(rows):
    labels, a, _ = _arrays(rows)
    plain, turned = delong(labels, a), delong(1 - labels, a)
    assert plain.value == pytest.approx(1 - turned.value, abs=1e-12)
    assert plain.variance == pytest.approx(turned.variance, abs=1e-12)
    if plain.low is not None:
        assert (plain.low, plain.high) == pytest.approx((1 - turned.high, 1 - turned.low))
        assert 0 <= plain.low <= plain.value <= plain.high <= 1


@given(rows=study, counts=st.lists(st.integers(1, 3), min_size=40, max_size=40))
@quick
def test_weights_are_copies(rows, counts):
    labels, a, _ = _arrays(rows)
    weights = np.array(counts[: len(labels)])
    copied = delong(np.repeat(labels, weights), np.repeat(a, weights)).value
    assert weighted_areas(labels, a, weights[None].astype(float))[0] == pytest.approx(copied)


@given(rows=study, counts=st.lists(st.integers(1, 3), min_size=40, max_size=40))
@few
def test_cases_twice_leave_values_as_they_are(rows, counts):
    """Of what is a share of cases; a patient's copies count once in the interval."""
    labels, a, b = _arrays(rows)
    copied = [np.repeat(x, 2) for x in (labels, a, b)]
    patients = np.repeat(np.arange(len(labels)), 2)
    for of in (
        lambda y, p, q, c: binary_figures(y, p >= 0.5, c, samples=2),
        lambda y, p, q, c: calibration_figures(y, p, c, samples=2),
        lambda y, p, q, c: reclassification(y, p, q, None, c, samples=2),
        lambda y, p, q, c: {"auc": clustered_auc(y, p, np.arange(len(y)) if c is None else c)},
    ):
        once, twice = of(labels, a, b, None), of(*copied, patients)
        for name, figure in once.items():
            if name.startswith("ece"):
                continue  # Its groups of equal size may cut elsewhere.
            expected = None if figure.value is None else pytest.approx(figure.value, abs=1e-6)
            assert twice[name].value == expected
    weights = np.array(counts[: len(labels)])
    for share in (0.2, 0.6):
        curve = decision_curve(
            np.repeat(labels, weights), np.repeat(a, weights), thresholds=[share], samples=2
        )
        gain = np.where(labels, 1.0, -share / (1 - share)) * (a >= share)
        assert curve.model[0] == pytest.approx(np.average(gain, weights=weights))


@given(cases=st.integers(0, 5), label=st.integers(0, 1), seed=st.integers(0, 99))
@quick
def test_one_class_or_one_case_has_reasons_instead_of_figures(cases, label, seed):
    """Also no case at all: values are finite or None, and what is None says why."""
    scores = np.random.default_rng(seed).integers(0, 5, cases) / 4
    labels, patients = np.full(cases, label), np.arange(cases) // 2
    figures = [
        delong(labels, scores),
        clustered_auc(labels, scores, patients),
        partial_auc(labels, scores, 0.5, samples=2),
        lroc_area(labels, scores, labels, samples=2),
        *bootstrap_areas(labels, scores, samples=2).areas,
        *binary_figures(labels, scores >= 0.5, patients, samples=2).values(),
        *calibration_figures(labels, scores, patients, samples=2).values(),
        *reclassification(labels, scores, scores, samples=2).values(),
        *fairness_figures(labels, scores >= 0.5, patients, samples=2).values(),
        cohen_kappa(labels, labels),
    ]
    for figure in figures:
        for name in ("value", "low", "high"):
            number = getattr(figure, name)
            assert number is None or np.isfinite(number)
        assert figure.why or figure.low is not None
    for choose in (youden_threshold, lambda y, p: threshold_at_sensitivity(y, p, 0.9)):
        with pytest.raises(ValueError, match="both classes"):
            choose(labels, scores)
    if cases:
        curve = to_plain(decision_curve(labels, scores, patients, samples=2))
        assert (curve["low"] is None) == (cases <= 2) and None not in curve["model"]


@given(rows=study, place=st.integers(0, 5), bad=st.sampled_from([np.nan, np.inf, -np.inf]))
@quick
def test_what_is_not_finite_is_refused(rows, place, bad):
    labels, a, b = _arrays(rows)
    broken = a.copy()
    broken[place] = bad
    for judged in (
        lambda: delong(labels, broken),
        lambda: roc_areas(labels, [b, broken]),
        lambda: permutation_test(labels, broken, b),
        lambda: bootstrap_areas(labels, broken),
        lambda: partial_auc(labels, broken, 0.5),
        lambda: calibration_figures(labels, broken),
        lambda: decision_curve(labels, b, other=broken),
        lambda: reclassification(labels, b, broken),
        lambda: binary_figures(labels, broken),
        lambda: mcnemar(labels, broken),
        lambda: youden_threshold(labels, broken),
        lambda: recalibrate(labels, broken),
        lambda: mean_figure(broken),
        lambda: icc(np.column_stack([a, broken])),
        lambda: bland_altman(a, broken),
        lambda: delong(np.where(np.arange(len(a)) == place, bad, labels), a),
    ):
        with pytest.raises(ValueError):
            judged()


@given(seed=st.integers(0, 1000), method=st.sampled_from(["delong", "jackknife", "unbiased"]))
@few
def test_one_reader_is_the_paired_test_of_two_areas(seed, method):
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat([0, 1], 8))
    ratings = rng.integers(0, 6, (2, 1, 16)).astype(float)
    with pytest.raises(ValueError, match="--random cases"):
        obuchowski_rockette(truth, ratings)
    result = obuchowski_rockette(truth, ratings, method=method, random="cases")
    areas = roc_areas(truth, ratings[:, 0])
    test = result.differences[0][2]
    assert test.difference == pytest.approx(areas.values[0] - areas.values[1])
    assert result.components.reader is None and result.df2 is None
    if method == "delong" and test.p is not None:
        assert test.p == pytest.approx(areas.compare().p)
    for number in (test.low, test.high, test.p):
        assert (number is None) == (test.why is not None)


@given(
    a=st.booleans(), b=st.booleans(), convention=st.sampled_from(["surfel", "boundary", "pooled"])
)
@few
def test_empty_masks_have_a_rule(a, b, convention):
    masks = [np.zeros((3, 4, 4), bool) for _ in range(2)]
    for mask, full in zip(masks, (a, b), strict=True):
        mask[1, 1:3, 1:3] = full
    result = surface_distances(*masks, (1, 2, 3), convention=convention)
    shared = overlap(*masks, (1, 2, 3))
    assert shared.dice == shared.iou == result.nsd == float(a == b)
    assert (result.hd95_mm is None) == (not (a and b)) == (result.why is not None)
    assert (shared.volume_error is None) == (not b)


@given(rows=study)
@quick
def test_figures_of_a_decision_lie_in_their_intervals(rows):
    labels, a, _ = _arrays(rows)
    counts = confusion(labels, a >= 0.5)
    assert counts.tp + counts.fp + counts.tn + counts.fn == len(labels)
    for figure in binary_figures(labels, a >= 0.5, samples=20).values():
        if isinstance(figure, Figure):
            assert figure.value is None or np.isfinite(figure.value)
            continue
        assert figure.value is None or figure.low <= figure.value <= figure.high
        assert (figure.value is None) == (figure.why is not None)


@given(rows=study)
@quick
def test_swapping_two_raters_turns_differences_only(rows):
    labels, a, b = _arrays(rows)
    first, second = a >= 0.5, b >= 0.5
    assert cohen_kappa(first, second).value == cohen_kappa(second, first).value
    there, back = mcnemar(first, second), mcnemar(second, first)
    assert (there.only_a, there.p_exact) == (back.only_b, back.p_exact)
    tests = permutation_test(labels, a, b, samples=50), permutation_test(labels, b, a, samples=50)
    assert tests[0].difference == pytest.approx(-tests[1].difference, abs=1e-12)


@given(rows=study, threshold=st.sampled_from([0.1, 0.5, 0.9]))
@quick
def test_net_benefit_is_bounded_by_the_prevalence(rows, threshold):
    labels, a, _ = _arrays(rows)
    curve = decision_curve(labels, a, thresholds=[threshold], samples=5)
    assert curve.model[0] <= labels.mean() + 1e-12
    assert curve.avoided[0] <= 1 - labels.mean() + 1e-9


@given(
    hits=st.integers(0, 30),
    more=st.integers(0, 30),
    other=st.integers(0, 30),
    rest=st.integers(1, 30),
)
@quick
def test_gaps_turn_with_their_sides(hits, more, other, rest):
    a, b = proportion(hits, hits + more), proportion(other, other + rest)
    there, back = gap(a, b), gap(b, a)
    if there.value is None:
        assert there.why
        return
    assert (there.value, there.low) == pytest.approx((-back.value, -back.high), abs=1e-12)
    assert -1 - 1e-9 <= there.low <= there.value <= there.high <= 1 + 1e-9


masks = st.lists(st.integers(0, 1), min_size=48, max_size=48).map(
    lambda bits: np.array(bits, bool).reshape(3, 4, 4)
)


@given(a=masks, b=masks, convention=st.sampled_from(["surfel", "boundary", "pooled"]))
@quick
def test_distances_are_symmetric_and_scale_with_the_voxel(a, b, convention):
    there = surface_distances(a, b, (1, 2, 3), convention=convention)
    back = surface_distances(b, a, (1, 2, 3), convention=convention)
    large = surface_distances(a, b, (2, 4, 6), convention=convention, tolerance_mm=2.0)
    assert there.nsd == pytest.approx(back.nsd) and there.nsd == pytest.approx(large.nsd)
    assert overlap(a, b, (1, 2, 3)).dice == overlap(b, a, (2, 4, 6)).dice
    if there.hd95_mm is None:
        assert there.why
        return
    assert there.hd95_mm == pytest.approx(back.hd95_mm)
    assert large.hd95_mm == pytest.approx(2 * there.hd95_mm)
    assert 0 <= there.hd95_mm <= there.hd_mm


@given(seed=st.integers(0, 1000), readers=st.integers(2, 4))
@quick
def test_readers_and_cases_have_no_order(seed, readers):
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat([0, 1], 8))
    ratings = rng.integers(0, 5, (2, readers, 16)).astype(float)
    plain = obuchowski_rockette(truth, ratings, method="delong")
    cases = rng.permutation(16)
    turned = obuchowski_rockette(truth[cases], ratings[:, ::-1][..., cases], method="delong")
    assert plain.statistic == pytest.approx(turned.statistic)
    assert plain.p == pytest.approx(turned.p)
    swapped = obuchowski_rockette(truth, ratings[::-1], method="delong")
    ours, theirs = plain.differences[0][2], swapped.differences[0][2]
    assert (ours.difference, ours.p) == pytest.approx((-theirs.difference, theirs.p), abs=1e-12)
