"""Bootstrap over patients: slices or joints of one patient are not independent cases."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import norm

from msk_jax.evaluation.core.checks import check_choice, upper_tail

# Weights are made in blocks of at most this many numbers, so that memory stays small with large
# cohorts. Part of what a seed means: with another block size the draws come in another order.
_BLOCK = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A resampled interval; arrays where the statistic has several columns."""

    low: np.ndarray
    """Lower bounds [columns]; NaN where no sample was usable."""
    high: np.ndarray
    """Upper bounds [columns]."""
    usable: np.ndarray
    """Of the samples, how many gave a finite value [columns]."""


def cluster_bootstrap(
    clusters: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    samples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    strata: np.ndarray | None = None,
    interval: Literal["percentile", "bca"] = "percentile",
) -> Interval:
    """Interval of a statistic when whole clusters (patients) are drawn again.

    A sample draws as many clusters as there are, with replacement; a unit then counts as often as
    its cluster was drawn. So a sample is a row of weights, and a statistic of weighted units needs
    no loop over samples.

    Args:
        clusters: cluster of each unit [units], any sortable values.
        statistic: from weights [b, units] (float64, whole numbers) to values [b] or [b, columns];
            NaN where a sample has no answer, as when it drew no positive case. Those are left out.
        samples: number of bootstrap samples.
        seed: of the draws; same seed, same interval.
        confidence: of the two-sided interval.
        strata: stratum of each unit [units], the same for all units of a cluster; clusters are
            drawn within their stratum, so that each sample keeps the number of clusters of each
            kind.
        interval: percentiles of the samples, or those percentiles corrected for bias and
            acceleration (`bca_bounds`), the acceleration from leaving out each cluster in turn.

    Raises:
        ValueError: no unit, or a cluster in two strata.

    Source: Davison and Hinkley, Bootstrap Methods and their Application (1997), 3.8 (resampling
    whole clusters without resampling inside them).
    """
    check_choice("interval", interval, ("percentile", "bca"))
    names, member = np.unique(np.asarray(clusters), return_inverse=True)
    if not len(names):
        raise ValueError("cluster_bootstrap needs at least one unit.")
    groups = _strata_of_clusters(member, len(names), strata)
    rng = np.random.default_rng(seed)
    block = max(1, min(samples, _BLOCK // max(1, len(member))))
    values = []
    for start in range(0, samples, block):
        size = min(block, samples - start)
        counts = np.empty((size, len(names)))
        for group in groups:
            share = np.full(len(group), 1.0 / len(group))
            counts[:, group] = rng.multinomial(len(group), share, size=size)
        values.append(np.asarray(statistic(counts[:, member]), float).reshape(size, -1))
    drawn = np.concatenate(values)
    # One cluster leaves nothing when it is left out; its samples are all alike anyway.
    if interval == "percentile" or len(names) < 2:
        return percentile_bounds(drawn, confidence)
    observed = np.asarray(statistic(np.ones((1, len(member)))), float).reshape(-1)
    left_out = _left_out(member, len(names), block, statistic)
    return bca_bounds(drawn, observed, left_out, confidence)


def _left_out(
    member: np.ndarray, clusters: int, block: int, statistic: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Values without each cluster in turn [clusters, columns]."""
    values = []
    for start in range(0, clusters, block):
        gone = np.arange(start, min(start + block, clusters))
        kept = (gone[:, None] != member).astype(float)
        values.append(np.asarray(statistic(kept), float).reshape(len(gone), -1))
    return np.concatenate(values)


def _strata_of_clusters(
    member: np.ndarray, num_clusters: int, strata: np.ndarray | None
) -> list[np.ndarray]:
    """Indices of the clusters of each stratum."""
    if strata is None:
        return [np.arange(num_clusters)]
    _, code = np.unique(np.asarray(strata), return_inverse=True)
    of_cluster = np.empty(num_clusters, int)
    of_cluster[member] = code
    if (of_cluster[member] != code).any():
        raise ValueError("A cluster lies in two strata; strata must be properties of clusters.")
    return [np.flatnonzero(of_cluster == value) for value in np.unique(of_cluster)]


def bca_bounds(
    drawn: np.ndarray, observed: np.ndarray, left_out: np.ndarray, confidence: float
) -> Interval:
    """Bias-corrected and accelerated percentiles; NaN left out.

    Args:
        drawn: values of the samples [samples, columns].
        observed: values of the data themselves [columns].
        left_out: values without each cluster in turn [clusters, columns].
        confidence: of the two-sided interval.

    Where all samples lie on one side of the observed value the bias has no estimate, and the
    plain percentiles are given.

    Source: B. Efron, J Am Stat Assoc 1987;82:171.
    """
    plain = percentile_bounds(drawn, confidence)
    low, high = plain.low.copy(), plain.high.copy()
    z = norm.ppf(upper_tail(confidence)) * np.array([-1.0, 1.0])
    for column in np.flatnonzero(plain.usable):
        finite = drawn[np.isfinite(drawn[:, column]), column]
        below = (np.sum(finite < observed[column]) + np.sum(finite == observed[column]) / 2) / len(
            finite
        )
        if not 0.0 < below < 1.0:
            continue
        bias = norm.ppf(below)
        kept = left_out[np.isfinite(left_out[:, column]), column]
        # Of two patients the rest, one, may have no answer: no acceleration then.
        apart = kept.mean() - kept if len(kept) else kept
        scale = np.sum(apart**2) ** 1.5
        acceleration = np.sum(apart**3) / (6 * scale) if scale > 0 else 0.0
        shares = norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))
        low[column], high[column] = np.quantile(finite, shares)
    return Interval(low=low, high=high, usable=plain.usable)


def percentile_bounds(values: np.ndarray, confidence: float) -> Interval:
    """Percentile bounds of each column of values [samples, columns], NaN left out."""
    tail = 1.0 - upper_tail(confidence)
    usable = np.isfinite(values).sum(axis=0)
    low = np.full(values.shape[1], np.nan)
    high = low.copy()
    for column in np.flatnonzero(usable):
        finite = values[np.isfinite(values[:, column]), column]
        low[column], high[column] = np.quantile(finite, [tail, 1.0 - tail])
    return Interval(low=low, high=high, usable=usable)
