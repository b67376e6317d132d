"""Logistic regression by maximum likelihood, with the covariance that scikit-learn leaves out."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, xlogy
from scipy.stats import chi2

_STEPS = 50


@dataclass(frozen=True)
class LogisticFit:
    """Coefficients of log(p / (1 - p)) = offset + X b."""

    coefficients: np.ndarray
    """[columns]."""
    covariance: np.ndarray
    """Inverse of the observed information [columns, columns]."""


def fit_logistic(
    labels: np.ndarray, design: np.ndarray, offset: np.ndarray | float = 0.0
) -> LogisticFit | None:
    """Newton's method with halved steps; None where the likelihood has no maximum.

    Args:
      labels: 0 or 1, or shares between [cases].
      design: [cases, columns], the intercept included.
      offset: added to the linear predictor [cases].

    There is no maximum where a column is a combination of others or the classes do not overlap.
    """
    labels, design = np.asarray(labels, float), np.asarray(design, float)
    beta = np.zeros(design.shape[1])
    last = -np.inf
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

    The test fits the other coefficients with b held, and compares U² with the chi-square of one
    degree of freedom times V: U = Σ x (y - p) for b's column x, and V the sum of p (1 - p) r² for
    the rest r that the other columns leave of x by least squares with weights p (1 - p). Wilson's
    interval is this one for a single proportion.

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
    limit = chi2.ppf(confidence, 1)

    def beyond(value: float) -> float:
        """By how much the test of this value exceeds its limit; NaN where it has no answer."""
        fixed, left = offset + value * x, x
        if others.shape[1]:
            rest = fit_logistic(labels, others, fixed)
            if rest is None:
                return np.nan
            fixed = fixed + others @ rest.coefficients
            root = np.sqrt(_spread(fixed))
            slopes = np.linalg.lstsq(root[:, None] * others, root * x)[0]
            left = x - others @ slopes
        variance = _spread(fixed) @ left**2
        return float((x @ (labels - expit(fixed))) ** 2 / variance - limit if variance else np.nan)

    centre, step = fit.coefficients[column], np.sqrt(fit.covariance[column, column])
    bounds = []
    for side in (-1.0, 1.0):
        end = centre + side * 2 * step
        for _ in range(_STEPS):
            # False for NaN too.
            if not beyond(end) < 0:
                break
            end += side * step
        if not beyond(end) >= 0:
            return None
        bounds.append(float(brentq(beyond, *sorted((centre, end)), xtol=1e-10 * step, rtol=1e-12)))
    return bounds[0], bounds[1]


def _spread(predictor: np.ndarray) -> np.ndarray:
    """p (1 - p)."""
    return expit(predictor) * expit(-predictor)


def _likelihood(labels: np.ndarray, predictor: np.ndarray) -> float:
    probs = expit(predictor)
    return float(np.sum(xlogy(labels, probs) + xlogy(1 - labels, expit(-predictor))))
