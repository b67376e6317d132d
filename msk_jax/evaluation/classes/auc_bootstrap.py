"""Bootstrap of ROC areas and their difference over patients, as one compiled program."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from msk_jax.evaluation.classes.roc import check_score_rows, delong_components
from msk_jax.evaluation.core.checks import check_choice, units_of
from msk_jax.evaluation.core.figure import Figure, bootstrap_figure, missing
from msk_jax.evaluation.core.resampling import Interval, bca_bounds, percentile_bounds

_LANES = 2500
"""Samples that are drawn side by side; with another number the draws of a seed differ."""

_MOST_DRAWS = 16
"""A patient is drawn so often with a probability below 1e-13."""


@dataclass(frozen=True)
class BootstrapAreas:
    """Areas of one or more scores, and of the first against the second."""

    areas: tuple[Figure, ...]
    """One for each score."""
    difference: Figure | None
    """First minus second area; None where there is only one score."""


def bootstrap_areas(
    labels: np.ndarray,
    scores: np.ndarray,
    clusters: np.ndarray | None = None,
    *,
    interval: Literal["percentile", "bca"] = "percentile",
    samples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> BootstrapAreas:
    """Areas under the ROC curve with a bootstrap over patients.

    Patients with and without a positive case are drawn separately, so that every sample has the
    same number of each. All scores share their samples, which makes the difference a paired one.

    Args:
        labels: 0 or 1 [cases].
        scores: [scores, cases], or [cases] for one.
        clusters: patient of each case; by default each case is a patient.
        interval: percentiles, or bias-corrected and accelerated ones.

    Raises:
        ValueError: as `roc.delong`.

    Source: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap (1993), 14.
    """
    check_choice("interval", interval, ("percentile", "bca"))
    labels, scores = check_score_rows(labels, scores)
    units = units_of(clusters, len(labels))
    method = f"{'patient-clustered ' if clusters is not None else ''}bootstrap, {interval}"
    if labels.all() or not labels.any():
        gone = missing(method, "An ROC curve needs both classes.")
        return BootstrapAreas((gone,) * len(scores), gone if len(scores) > 1 else None)
    _, member = np.unique(units, return_inverse=True)
    with_positive = np.zeros(member.max() + 1, bool)
    with_positive[member[labels]] = True
    # Patients in the order in which they are drawn: each group by itself.
    place = np.empty(len(with_positive), int)
    place[np.argsort(~with_positive, kind="stable")] = np.arange(len(place))
    sizes = tuple(int(s) for s in (with_positive.sum(), (~with_positive).sum()) if s)
    ranked = _ranked(labels, scores, place[member])
    keys = jax.random.split(jax.random.key(seed), -(-samples // _LANES))
    lanes = min(samples, _LANES)
    drawn = np.concatenate([np.asarray(_drawn_areas(k, *ranked, sizes, lanes)) for k in keys])
    drawn = drawn[:samples].astype(float)
    everyone = jnp.ones((sum(sizes), 1), jnp.float32)
    observed = np.asarray(_areas(everyone, *ranked), float)
    if interval == "bca":
        jackknife = 1.0 - jnp.eye(sum(sizes), dtype=jnp.float32)
        left_out = np.asarray(_areas(jackknife, *ranked), float)
    else:
        left_out = None
    bounds = _bounds(_with_difference(drawn), _with_difference(observed)[0], left_out, confidence)
    exact = _with_difference(delong_components(labels, scores)[0][None])[0]
    triples = zip(exact, bounds.low, bounds.high, strict=True)
    figures = [bootstrap_figure(*triple, method) for triple in triples]
    return BootstrapAreas(
        tuple(figures[: len(scores)]), figures[len(scores)] if len(scores) > 1 else None
    )


def _ranked(
    labels: np.ndarray, scores: np.ndarray, patient: np.ndarray
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Patient, label and whether a new score starts, cases by ascending score [scores, cases]."""
    order = np.argsort(scores, axis=1, kind="stable")
    ordered = np.take_along_axis(scores, order, axis=1)
    starts = np.diff(ordered, axis=1, prepend=-np.inf) != 0
    return jnp.asarray(patient[order]), jnp.asarray(labels[order]), jnp.asarray(starts)


def _with_difference(areas: np.ndarray) -> np.ndarray:
    """Areas [samples, scores] with the first difference as another column."""
    return areas if areas.shape[1] < 2 else np.c_[areas, areas[:, 0] - areas[:, 1]]


def _bounds(
    drawn: np.ndarray, observed: np.ndarray, left_out: np.ndarray | None, confidence: float
) -> Interval:
    if left_out is None:
        return percentile_bounds(drawn, confidence)
    return bca_bounds(drawn, observed, _with_difference(left_out), confidence)


@partial(jax.jit, static_argnames=("sizes", "lanes"))
def _drawn_areas(
    key: jax.Array,
    place: jax.Array,
    labels: jax.Array,
    starts: jax.Array,
    sizes: tuple[int, ...],
    lanes: int,
) -> jax.Array:
    """Areas [lanes, scores] of as many samples."""
    keys = jax.random.split(key, len(sizes))
    drawn = [_multinomial(k, size, lanes) for k, size in zip(keys, sizes, strict=True)]
    return _areas(jnp.concatenate(drawn), place, labels, starts)


def _multinomial(key: jax.Array, size: int, lanes: int) -> jax.Array:
    """How often each of `size` patients is drawn in `size` draws [size, lanes].

    One after the other, each given those before: binomial with the draws that are left and the
    chance 1 / (patients that are left), by inversion.
    """

    def step(rest: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        chance = 1.0 / (size - index).astype(jnp.float32)
        last = index == size - 1
        odds = chance / jnp.where(last, 1.0, 1.0 - chance)
        uniform = jax.random.uniform(jax.random.fold_in(key, index), (lanes,))
        mass = jnp.exp(rest * jnp.log1p(-jnp.where(last, 0.5, chance)))
        total, count = mass, jnp.zeros(lanes)
        for k in range(1, _MOST_DRAWS + 1):
            count += uniform > total
            mass = mass * (rest - k + 1) / k * odds
            total += mass
        count = jnp.where(last, rest, jnp.minimum(count, rest))
        return rest - count, count.astype(jnp.uint8)

    return jax.lax.scan(step, jnp.full((lanes,), float(size)), jnp.arange(size))[1]


@jax.jit
def _areas(counts: jax.Array, place: jax.Array, labels: jax.Array, starts: jax.Array) -> jax.Array:
    """Areas [samples, scores] when patient p counts counts[p, samples] times.

    Args:
        counts: [patients, samples].
        place: patient of each case, cases by ascending score [scores, cases].
        labels: of these cases [scores, cases].
        starts: whether a case's score differs from the one before it [scores, cases].
    """
    samples = counts.shape[1]

    def step(carry: tuple, case: tuple) -> tuple[tuple, None]:
        below, tied_negative, tied_positive, pairs, positives = carry
        patient, positive, new = case
        weight = counts[patient].astype(jnp.float32)
        closed = pairs + tied_positive * (below + tied_negative / 2)
        pairs = jnp.where(new, closed, pairs)
        below = jnp.where(new, below + tied_negative, below)
        tied_negative = jnp.where(new, 0.0, tied_negative) + jnp.where(positive, 0.0, weight)
        tied_positive = jnp.where(new, 0.0, tied_positive) + jnp.where(positive, weight, 0.0)
        positives += jnp.where(positive, weight, 0.0)
        return (below, tied_negative, tied_positive, pairs, positives), None

    def one(score: tuple) -> jax.Array:
        zero = jnp.zeros(samples)
        (below, negative, positive, pairs, positives), _ = jax.lax.scan(step, (zero,) * 5, score)
        return (pairs + positive * (below + negative / 2)) / (positives * (below + negative))

    return jax.lax.map(one, (place, labels, starts)).T
