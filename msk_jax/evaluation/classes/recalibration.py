"""Maps from a model's probabilities to better ones, fitted on one set and used on another."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

from msk_jax.evaluation.classes.calibration import EDGE, check_probabilities
from msk_jax.evaluation.core.checks import check_choice
from msk_jax.evaluation.core.logistic import fit_logistic

Method = Literal["platt", "isotonic", "temperature"]


@dataclass(frozen=True)
class Recalibration:
    """A map of probabilities; call it with some."""

    method: Method
    """Which kind."""
    x: tuple[float, ...]
    """platt: intercept and slope; temperature: the temperature; isotonic: where the steps are."""
    y: tuple[float, ...] = ()
    """isotonic: the probability at each of `x`, straight lines between."""

    def __call__(self, probs: np.ndarray) -> np.ndarray:
        """Recalibrated probabilities [cases]. Raises ValueError for any outside 0..1."""
        probs = np.asarray(probs, float)
        if not ((probs >= 0) & (probs <= 1)).all():
            raise ValueError("Probabilities must lie in 0..1.")
        if self.method == "isotonic":
            return np.interp(probs, self.x, self.y)
        score = logit(np.clip(probs, EDGE, 1 - EDGE))
        if self.method == "temperature":
            return expit(score / self.x[0])
        return expit(self.x[0] + self.x[1] * score)


def recalibrate(labels: np.ndarray, probs: np.ndarray, method: Method = "platt") -> Recalibration:
    """Fits a map on labels [cases] and probabilities [cases] of a set kept for it.

    "platt" fits intercept and slope of the logit, "temperature" the slope alone (1 / temperature),
    "isotonic" any map that never falls.

    Raises:
        ValueError: as `calibration_figures`, one class only, or, but for isotonic, classes that do
            not overlap or probabilities that say nothing.

    Source: J. Platt, Advances in Large Margin Classifiers (1999) 61, without his smoothed
    targets; B. Zadrozny and C. Elkan, KDD 2002:694; C. Guo et al., ICML 2017:1321.
    """
    check_choice("method", method, ("platt", "isotonic", "temperature"))
    labels, probs = check_probabilities(labels, probs)
    if labels.all() or not labels.any():
        raise ValueError("A recalibration needs cases of both classes.")
    if method == "isotonic":
        fit = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(probs, labels)
        return Recalibration(
            method,
            tuple(map(float, fit.X_thresholds_)),
            tuple(map(float, fit.y_thresholds_)),
        )
    score = logit(np.clip(probs, EDGE, 1 - EDGE))[:, None]
    design = score if method == "temperature" else np.c_[np.ones(len(score)), score]
    fit = fit_logistic(labels, design)
    if fit is None:
        raise ValueError(
            "The probabilities are all equal, or separate the classes; no slope fits best."
        )
    slope = float(fit.coefficients[-1])
    if method == "platt":
        return Recalibration(method, (float(fit.coefficients[0]), slope))
    if slope <= 0:
        raise ValueError("Higher probabilities go with fewer positives; no temperature mends it.")
    return Recalibration(method, (1 / slope,))
