"""Logistic regression as weights."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, softmax

from msk_jax.methods.design import Column, complete, members
from msk_jax.methods.estimator import Logistic


@dataclass(frozen=True, eq=False)
class LogisticWeights:
    """A fitted logistic regression; two classes have one score, the log-odds of the second."""

    weights: np.ndarray
    """[scores, columns]"""
    intercepts: np.ndarray
    """[scores]"""

    def scores(self, values: np.ndarray) -> np.ndarray:
        """Scores [rows, scores]."""
        return values @ self.weights.T + self.intercepts

    def predict(self, values: np.ndarray) -> np.ndarray:
        """Probabilities [rows, classes]."""
        scores = self.scores(values)
        if scores.shape[1] > 1:
            return softmax(scores, axis=1)
        second = expit(scores[:, 0])
        return np.stack([1 - second, second], axis=1)

    def score(self, values: np.ndarray, of_class: int) -> np.ndarray:
        """Log-odds of a class of two, or its score before the softmax [rows]."""
        weights, intercept = self.of_class(of_class)
        return values @ weights + intercept

    def of_class(self, of_class: int) -> tuple[np.ndarray, float]:
        """Weights [columns] and intercept of `score`."""
        if len(self.intercepts) > 1:
            return self.weights[of_class], float(self.intercepts[of_class])
        sign = 1.0 if of_class else -1.0
        return sign * self.weights[0], sign * float(self.intercepts[0])


def logistic_of(
    model: Logistic,
    values: np.ndarray,
    columns: tuple[Column, ...],
    labels: np.ndarray,
    groups: np.ndarray,
    seed: int,
) -> LogisticWeights:
    """The logistic regression of these rows (scikit-learn), see `learn`."""
    from sklearn.linear_model import LogisticRegression

    del groups, seed  # nothing is drawn
    complete(values, columns, "Logistic")
    if model.strength is None:
        penalty, narrow = math.inf, np.ones(len(columns))
    else:
        # A penalty of 1 on the weights of columns this narrow is one of 1 / strength on their own.
        unshrunk = members(model.unshrunk, columns, "Logistic") if model.unshrunk else False
        penalty = 1.0
        narrow = np.where(unshrunk, 1.0, math.sqrt(model.strength)) * np.ones(len(columns))
    regression = LogisticRegression(C=penalty, max_iter=1000).fit(values * narrow, labels)
    return LogisticWeights(regression.coef_ * narrow, regression.intercept_.copy())
