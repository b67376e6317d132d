"""Decision curves: what acting on a model is worth, in true positives per case."""

from dataclasses import dataclass

import numpy as np

from msk_jax.evaluation.classes.calibration import check_probabilities
from msk_jax.evaluation.core.checks import units_of
from msk_jax.evaluation.core.resampling import cluster_bootstrap


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit over threshold probabilities."""

    thresholds: np.ndarray
    """Probability from which one acts [points]."""
    model: np.ndarray
    """Net benefit of acting on the model [points]."""
    low: np.ndarray | None
    """Pointwise lower bound of `model` [points]; None, as all bounds, with one patient."""
    high: np.ndarray | None
    """Pointwise upper bound [points]."""
    treat_all: np.ndarray
    """Net benefit of acting on everybody [points]; acting on nobody has 0."""
    standardised: np.ndarray | None
    """`model` / prevalence [points]; None without positives."""
    avoided: np.ndarray
    """Interventions avoided per case against acting on everybody, at no cost in positives
    missed [points]."""
    avoided_low: np.ndarray | None
    """Pointwise lower bound of `avoided` [points]."""
    avoided_high: np.ndarray | None
    """Pointwise upper bound [points]."""
    second: np.ndarray | None = None
    """Net benefit of a second model [points]."""
    second_low: np.ndarray | None = None
    """Pointwise lower bound of `second` [points]."""
    second_high: np.ndarray | None = None
    """Pointwise upper bound [points]."""
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
    gains = [_gains(labels, probs, grid)]
    names = ["model", "avoided"]
    # Acting on everybody is a model that says 1; what it loses to the model, in interventions.
    everybody = _gains(labels, np.ones(len(labels)), grid)
    gains.append((gains[0] - everybody) / (grid / (1 - grid)))
    if other is not None:
        gains.append(_gains(labels, check_probabilities(labels, other)[1], grid))
        gains.append(gains[0] - gains[2])
        names += ["second", "difference"]
    units = units_of(clusters, len(labels))
    options = {"samples": samples, "seed": seed, "confidence": confidence}
    columns = {}
    for name, found in zip(names, _resampled(gains, units, options), strict=True):
        bound = "" if name == "model" else f"{name}_"
        columns |= {name: found[0], f"{bound}low": found[1], f"{bound}high": found[2]}
    prevalence = labels.mean()
    return DecisionCurve(
        thresholds=grid,
        treat_all=everybody.mean(axis=0),
        standardised=columns["model"] / prevalence if prevalence else None,
        **columns,
    )


def _resampled(
    gains: list[np.ndarray], units: np.ndarray, options: dict
) -> list[tuple[np.ndarray, np.ndarray | None, np.ndarray | None]]:
    """Mean of each table of gains [cases, points] and its bounds, all from the same samples."""
    together = np.concatenate(gains, axis=1)
    values = np.split(together.mean(axis=0), len(gains))
    if len(np.unique(units)) < 2:
        return [(value, None, None) for value in values]

    def statistic(weights: np.ndarray) -> np.ndarray:
        return weights @ together / weights.sum(axis=1, keepdims=True)

    bounds = cluster_bootstrap(units, statistic, **options)
    lows, highs = (np.split(b, len(gains)) for b in (bounds.low, bounds.high))
    return list(zip(values, lows, highs, strict=True))


def _gains(labels: np.ndarray, probs: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """What each case adds to the net benefit of acting on a model [cases, thresholds]."""
    worth = np.where(labels[:, None], 1.0, -grid / (1 - grid))
    return worth * (probs[:, None] >= grid)
