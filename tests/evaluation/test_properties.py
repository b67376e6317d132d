"""What must hold for any data: order, scale, labels turned round, ties, weights, one of a kind."""

import numpy as np
import pytest

pytest.importorskip("hypothesis", reason="hypothesis draws the examples and is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st

from msk_jax.evaluation.agreement import cohen_kappa, mcnemar
from msk_jax.evaluation.binary import binary_figures, confusion
from msk_jax.evaluation.calibration import brier_parts
from msk_jax.evaluation.decision_curve import decision_curve
from msk_jax.evaluation.figure import Figure
from msk_jax.evaluation.mrmc.analysis import obuchowski_rockette
from msk_jax.evaluation.proportions import proportion
from msk_jax.evaluation.roc import delong, weighted_areas
from msk_jax.evaluation.roc_comparison import permutation_test, roc_areas
from msk_jax.evaluation.subgroups import gap
from msk_jax.evaluation.surface import overlap, surface_distances

quick = settings(max_examples=25, deadline=None, derandomize=True)

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
    labels, a, b = _arrays(rows)
    areas = roc_areas(labels, [a, b])
    parts = brier_parts(labels, a)
    return [
        *areas.values, *areas.covariance.ravel(), areas.compare().p or np.nan,
        parts.score, parts.reliability, parts.resolution,
        permutation_test(labels, a, b, samples=10).difference,
    ]  # fmt: skip


@given(rows=study)
@quick
def test_areas_see_only_ranks(rows):
    labels, a, b = _arrays(rows)
    plain, bent = roc_areas(labels, [a, b]), roc_areas(labels, [np.exp(3 * a), b**3 - 5])
    np.testing.assert_allclose(plain.values, bent.values, atol=1e-12)
    np.testing.assert_allclose(plain.covariance, bent.covariance, atol=1e-12)


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
    hits=st.integers(0, 30), more=st.integers(0, 30), other=st.integers(0, 30),
    rest=st.integers(1, 30),
)  # fmt: skip
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
