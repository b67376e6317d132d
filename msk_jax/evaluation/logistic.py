"""Logistic regression by maximum likelihood, with the covariance that scikit-learn leaves out."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, xlogy

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


def _likelihood(labels: np.ndarray, predictor: np.ndarray) -> float:
    probs = expit(predictor)
    return float(np.sum(xlogy(labels, probs) + xlogy(1 - labels, expit(-predictor))))
