"""Support vector machines as support vectors, with Platt's sigmoid."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from msk_jax.methods.design import Column, complete
from msk_jax.methods.estimator import SVM
from msk_jax.methods.inner_folds import inner_folds


@dataclass(frozen=True, eq=False)
class Machines:
    """A machine for the second of two classes, or one for each of several against the rest."""

    vectors: np.ndarray
    """Training rows that are a support vector of any machine [vectors, columns]."""
    weights: np.ndarray
    """Of each vector in each machine, 0 where it is none [machines, vectors]."""
    intercepts: np.ndarray
    """[machines]"""
    gamma: np.ndarray
    """Inverse squared width of the kernel; NaN where it is linear []."""
    slopes: np.ndarray
    """Of the sigmoid: probability = 1 / (1 + exp(slope * decision + offset)) [machines]."""
    offsets: np.ndarray
    """[machines]"""

    def decisions(self, values: np.ndarray) -> np.ndarray:
        """Signed distances from the margin [rows, machines]."""
        products = values @ self.vectors.T
        if np.isnan(self.gamma):
            kernel = products
        else:
            lengths = (values**2).sum(axis=1)[:, None] + (self.vectors**2).sum(axis=1)
            kernel = np.exp(-self.gamma * np.maximum(lengths - 2 * products, 0.0))
        return kernel @ self.weights.T + self.intercepts

    def predict(self, values: np.ndarray) -> np.ndarray:
        """Probabilities [rows, classes]; several classes' sigmoids are divided by their sum."""
        probs = expit(-(self.slopes * self.decisions(values) + self.offsets))
        if probs.shape[1] == 1:
            return np.concatenate([1 - probs, probs], axis=1)
        total = probs.sum(axis=1, keepdims=True)
        even = np.full_like(probs, 1 / probs.shape[1])
        return np.divide(probs, total, out=even, where=total > 0)

    def score(self, values: np.ndarray, of_class: int) -> np.ndarray:
        """Probability of a class [rows]."""
        return self.predict(values)[:, of_class]


def machines_of(
    model: SVM,
    values: np.ndarray,
    columns: tuple[Column, ...],
    labels: np.ndarray,
    groups: np.ndarray,
    seed: int,
) -> Machines:
    """The support vector machines of these rows (scikit-learn), see `learn`.

    Source of the sigmoid: J. Platt, Advances in Large Margin Classifiers 1999:61.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import SVC

    complete(values, columns, "SVM")
    gamma = model.gamma
    if gamma == "scale":
        spread = values.var()
        gamma = 1 / (values.shape[1] * spread) if spread > 0 else 1.0
    folds = inner_folds(labels, groups, model.folds, seed)
    classes = labels.max() + 1
    weights, intercepts, slopes, offsets = [], [], [], []
    for k in [1] if classes == 2 else range(classes):
        machine = SVC(kernel=model.kernel, C=model.strength, gamma=gamma)
        calibrated = CalibratedClassifierCV(machine, method="sigmoid", cv=folds, ensemble=False)
        (pair,) = calibrated.fit(values, labels == k).calibrated_classifiers_
        weights.append(np.zeros(len(values)))
        weights[-1][pair.estimator.support_] = pair.estimator.dual_coef_[0]
        intercepts.append(pair.estimator.intercept_[0])
        slopes.append(pair.calibrators[0].a_)
        offsets.append(pair.calibrators[0].b_)
    used = np.any(np.array(weights) != 0, axis=0)
    return Machines(
        values[used],
        np.array(weights)[:, used],
        np.array(intercepts),
        np.array(np.nan if model.kernel == "linear" else gamma),
        np.array(slopes, float),
        np.array(offsets, float),
    )
