"""Decision curves: what acting on a model is worth, in true positives per case."""

from dataclasses import dataclass

import numpy as np

from msk_jax.evaluation.calibration import check_probabilities
from msk_jax.evaluation.resampling import cluster_bootstrap


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit over threshold probabilities."""

    thresholds: np.ndarray
    """Probability from which one acts [points]."""
    model: np.ndarray
    """Net benefit of acting on the model [points]."""
    low: np.ndarray
    """Pointwise lower bound of `model` [points]."""
    high: np.ndarray
    """Pointwise upper bound [points]."""
    treat_all: np.ndarray
    """Net benefit of acting on everybody [points]; acting on nobody has 0."""
    standardised: np.ndarray
    """`model` / prevalence [points]; NaN without positives."""
    avoided: np.ndarray
    """Interventions avoided per case against acting on everybody, at no cost in positives
    missed [points]."""
    difference: np.ndarray | None = None
    """Net benefit of the model minus that of a second one [points]."""
    difference_low: np.ndarray | None = None
    """Pointwise lower bound of `difference` [points]."""
    difference_high: np.ndarray | None = None
    """Pointwise upper bound [points]."""


def decision_curve(
    labels: np.ndarray,
    probs: np.ndarray,
    clusters: np.ndarray | None = None,
    *,
    other: np.ndarray | None = None,
    thresholds: np.ndarray | None = None,
    samples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> DecisionCurve:
    """Net benefit TP/n - FP/n t/(1 - t) of acting where the probability is at least t.

    Args:
      labels: 0 or 1 [cases].
      probs: 0..1 [cases].
      clusters: patient of each case, for the bootstrap of the bounds.
      other: a second model's probabilities for the same cases [cases], to compare.
      thresholds: t [points], 0 < t < 1; by default 0.01 to 0.99.

    Raises:
      ValueError: as `calibration_figures`, no case, or thresholds outside 0..1.

    Source: A. J. Vickers and E. B. Elkin, Med Decis Making 2006;26:565; A. J. Vickers et al., BMC
    Med Inform Decis Mak 2008;8:53 (intervals, interventions avoided).
    """
    labels, probs = check_probabilities(labels, probs)
    grid = np.arange(1, 100) / 100 if thresholds is None else np.asarray(thresholds, float)
    if not ((grid > 0) & (grid < 1)).all():
        raise ValueError("Threshold probabilities must lie between 0 and 1, the ends excluded.")
    if not len(labels):
        raise ValueError("A decision curve needs a case.")
    odds = grid / (1 - grid)
    together, parts = _gains(labels, probs, other, grid), 1 if other is None else 2

    def statistic(weights: np.ndarray) -> np.ndarray:
        return weights @ together / weights.sum(axis=1, keepdims=True)

    units = np.arange(len(labels)) if clusters is None else np.asarray(clusters)
    options = {"samples": samples, "seed": seed, "confidence": confidence}
    bounds = cluster_bootstrap(units, statistic, **options)
    values = np.split(together.mean(axis=0), parts)
    lows, highs = (np.split(b, parts) for b in (bounds.low, bounds.high))
    prevalence = labels.mean()
    treat_all = prevalence - (1 - prevalence) * odds
    compared = {}
    if other is not None:
        names = ("difference", "difference_low", "difference_high")
        compared = dict(zip(names, (values[1], lows[1], highs[1]), strict=True))
    return DecisionCurve(
        thresholds=grid,
        model=values[0],
        low=lows[0],
        high=highs[0],
        treat_all=treat_all,
        standardised=values[0] / prevalence if prevalence else np.full_like(grid, np.nan),
        avoided=(values[0] - treat_all) / odds,
        **compared,
    )


def _gains(
    labels: np.ndarray, probs: np.ndarray, other: np.ndarray | None, grid: np.ndarray
) -> np.ndarray:
    """What each case adds to the net benefit, and to the difference of two [cases, columns]."""
    worth = np.where(labels[:, None], 1.0, -grid / (1 - grid))
    gain = worth * (probs[:, None] >= grid)
    if other is None:
        return gain
    second = check_probabilities(labels, other)[1]
    return np.c_[gain, gain - worth * (second[:, None] >= grid)]
