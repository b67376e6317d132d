"""Area under a part of the ROC curve."""

from typing import Literal

import numpy as np

from msk_jax.evaluation.classes.roc import check_scores, weighted_curve
from msk_jax.evaluation.core.checks import check_choice, units_of
from msk_jax.evaluation.core.figure import Figure, bootstrap_figure, missing
from msk_jax.evaluation.core.resampling import cluster_bootstrap


def partial_auc(
    labels: np.ndarray,
    scores: np.ndarray,
    low: float,
    high: float = 1.0,
    focus: Literal["specificity", "sensitivity"] = "specificity",
    clusters: np.ndarray | None = None,
    *,
    corrected: bool = False,
    interval: Literal["percentile", "bca"] = "percentile",
    samples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Figure:
    """Area under the ROC curve between two specificities, or two sensitivities.

    Args:
        labels: 0 or 1 [cases].
        scores: [cases].
        low: lower end of the part.
        high: upper end.
        focus: what `low` and `high` bound.
        clusters: patient of each case, for the bootstrap; patients with and without a positive case
            are drawn separately.
        corrected: D. K. McClish's (1 + (A - min) / (max - min)) / 2 instead of the area A itself,
            with min the area under the diagonal and max the whole part: 0.5 by chance, 1 at best.
        interval: of the bootstrap.

    Raises:
        ValueError: as `roc.delong`, or ends that do not bound a part.

    Source: D. K. McClish, Med Decis Making 1989;9:190.
    """
    check_choice("focus", focus, ("specificity", "sensitivity"))
    labels, scores = check_scores(labels, scores)
    if not 0.0 <= low < high <= 1.0:
        raise ValueError(f"A part from {low} to {high} is none; give 0 <= low < high <= 1.")
    method = "bootstrap" if clusters is None else "patient-clustered bootstrap"
    if labels.all() or not labels.any():
        return missing(method, "An ROC curve needs both classes.")
    # The axis that is bounded: 1 - specificity, or sensitivity with the axes turned.
    ends = (1.0 - high, 1.0 - low) if focus == "specificity" else (low, high)

    def statistic(weights: np.ndarray) -> np.ndarray | list[float]:
        fpr, tpr = weighted_curve(labels, scores, weights)
        if focus == "sensitivity":
            fpr, tpr = tpr, 1.0 - fpr
        areas = [_area(*xy, *ends) for xy in zip(fpr, tpr, strict=True)]
        return _corrected(np.array(areas), *ends, focus) if corrected else areas

    units = units_of(clusters, len(labels))
    strata = np.isin(units, np.unique(units[labels]))
    options = {"samples": samples, "seed": seed, "confidence": confidence}
    bounds = cluster_bootstrap(units, statistic, strata=strata, interval=interval, **options)
    value = statistic(np.ones((1, len(labels))))[0]
    return bootstrap_figure(value, bounds.low[0], bounds.high[0], f"{method}, {interval}")


def _corrected(area: np.ndarray, low: float, high: float, focus: str) -> np.ndarray:
    """McClish's correction of areas between two values of the axis that is bounded."""
    whole = high - low
    chance = whole * (high + low) / 2
    if focus == "sensitivity":
        chance = whole - chance
    return (1 + (area - chance) / (whole - chance)) / 2


def _area(x: np.ndarray, y: np.ndarray, low: float, high: float) -> float:
    """Trapezoid area under the points between two values of x; NaN where the curve has none."""
    if not np.isfinite(x).all():
        return np.nan
    # At a vertical step the limit from inside the part counts: the top at its lower end, which
    # np.interp gives, and at its upper end the bottom.
    inside = (x > low) & (x < high)
    ends = np.interp([low], x, y), np.interp([-high], -x[::-1], y[::-1])
    heights = np.r_[ends[0], y[inside], ends[1]]
    return float(np.trapezoid(heights, np.r_[low, x[inside], high]))
