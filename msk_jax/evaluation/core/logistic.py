"""Logistic regression by maximum likelihood, with the covariance that scikit-learn leaves out."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, xlogy
from scipy.stats import norm

from msk_jax.evaluation.core.checks import upper_tail

_STEPS = 50


@dataclass(frozen=True)
class LogisticFit:
    """Coefficients of log(p / (1 - p)) = offset + X b."""

    coefficients: np.ndarray
    """[columns]."""
    covariance: np.ndarray
    """Inverse of the observed information [columns, columns]."""


def fit_logistic(
    labels: np.ndarray,
    design: np.ndarray,
    offset: np.ndarray | float = 0.0,
    start: np.ndarray | None = None,
) -> LogisticFit | None:
    """Newton's method with halved steps; None where the likelihood has no maximum.

    Args:
        labels: 0 or 1, or shares between [cases].
        design: [cases, columns], the intercept included.
        offset: added to the linear predictor [cases].
        start: coefficients to begin with [columns]; by default 0.

    There is no maximum where a column is a combination of others or the classes do not overlap.
    """
    labels, design = np.asarray(labels, float), np.asarray(design, float)
    beta = np.zeros(design.shape[1]) if start is None else start
    last = _likelihood(labels, design @ beta + offset)
    for _ in range(_STEPS):
        probs = expit(design @ beta + offset)
        information = (design * (probs * (1 - probs))[:, None]).T @ design
        if not np.linalg.cond(information) < 1e12:
            return None
        step = np.linalg.solve(information, design.T @ (labels - probs))
        while (gained := _likelihood(labels, design @ (beta + step) + offset)) < last - 1e-12:
            step /= 2
        beta = beta + step
        if np.abs(step).max() < 1e-10 * (1 + np.abs(beta).max()):
            return LogisticFit(beta, np.linalg.inv(information))
        last = gained
    return None


def score_bounds(
    labels: np.ndarray,
    design: np.ndarray,
    fit: LogisticFit,
    column: int,
    offset: np.ndarray | float = 0.0,
    confidence: float = 0.95,
) -> tuple[float, float] | None:
    """Score interval of one coefficient b: the values that Rao's test does not reject.

    The test fits the other coefficients with b held, and compares U / √V with the normal law:
    U = Σ x (y - p) for b's column x, and V the sum of p (1 - p) r² for the rest r that the other
    columns leave of x by least squares with weights p (1 - p). Wilson's interval is this one for a
    single proportion.

    Args:
        labels: as `fit_logistic`, as are design and offset.
        fit: their fit.
        column: of the design.

    Returns:
        The bounds; None where the other coefficients have no fit on the way to them.

    Source: C. R. Rao, Proc Camb Philos Soc 1948;44:50.
    """
    labels, design = np.asarray(labels, float), np.asarray(design, float)
    x, others = design[:, column], np.delete(design, column, axis=1)
    limit = norm.ppf(upper_tail(confidence))
    start = np.delete(fit.coefficients, column)

    def statistic(value: float) -> float:
        """U / √V, which falls with the value."""
        nonlocal start
        fixed, left = offset + value * x, x
        if others.shape[1]:
            rest = fit_logistic(labels, others, fixed, start)
            if rest is None:
                raise _NoFit
            start = rest.coefficients
            fixed = fixed + others @ start
            weighed = others * _spread(fixed)[:, None]
            left = x - others @ np.linalg.solve(weighed.T @ others, weighed.T @ x)
        variance = _spread(fixed) @ left**2
        if not variance > 0:
            raise _NoFit
        return float(x @ (labels - expit(fixed)) / np.sqrt(variance))

    centre, step = fit.coefficients[column], np.sqrt(fit.covariance[column, column])

    def bound(side: float) -> float:
        reach = 2 * step
        while -side * statistic(centre + side * reach) < limit:
            reach *= 1.5
        ends = sorted((centre, centre + side * reach))
        return float(brentq(lambda b: -side * statistic(b) - limit, *ends, xtol=1e-9 * step))

    try:
        return bound(-1.0), bound(1.0)
    except _NoFit:
        return None


class _NoFit(Exception):
    """The other coefficients have no best values beside the one that is held."""


def _spread(predictor: np.ndarray) -> np.ndarray:
    """p (1 - p)."""
    return expit(predictor) * expit(-predictor)


def _likelihood(labels: np.ndarray, predictor: np.ndarray) -> float:
    probs = expit(predictor)
    return float(np.sum(xlogy(labels, probs) + xlogy(1 - labels, expit(-predictor))))
