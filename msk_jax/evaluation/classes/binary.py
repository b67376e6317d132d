"""Two-class figures of a decision, and thresholds that make one from a probability."""

from dataclasses import dataclass

import numpy as np

from msk_jax.evaluation.classes.calibration import check_probabilities
from msk_jax.evaluation.core.checks import check_yes_no, units_of
from msk_jax.evaluation.core.figure import Figure, bootstrap_figure, missing
from msk_jax.evaluation.core.proportions import Proportion, clustered_proportion, proportion
from msk_jax.evaluation.core.resampling import cluster_bootstrap


@dataclass(frozen=True)
class Confusion:
    """Counts of the four outcomes."""

    tp: int
    """Positive and called positive."""
    fp: int
    """Negative and called positive."""
    tn: int
    """Negative and called negative."""
    fn: int
    """Positive and called negative."""


def confusion(labels: np.ndarray, called: np.ndarray) -> Confusion:
    """Counts of the outcomes of labels [cases] (0 or 1) called positive or not [cases] (bool).

    Raises:
        ValueError: labels or calls other than 0 and 1, or unequal lengths.
    """
    labels, called = check_yes_no("Labels and calls", labels, called)
    return Confusion(
        tp=int((labels & called).sum()),
        fp=int((~labels & called).sum()),
        tn=int((~labels & ~called).sum()),
        fn=int((labels & ~called).sum()),
    )


def binary_figures(
    labels: np.ndarray,
    called: np.ndarray,
    clusters: np.ndarray | None = None,
    *,
    method: str = "wilson",
    samples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Proportion | Figure]:
    """All figures of a decision, with intervals.

    Args:
        labels: 0 or 1 [cases].
        called: called positive [cases], bool.
        clusters: patient of each case [cases]; where given, every interval counts patients instead
            of cases (`clustered_proportion`, bootstrap over patients).
        method: "wilson" or "exact", for the proportions without clusters.

    Returns:
        sensitivity TP/(TP+FN), specificity TN/(TN+FP), ppv TP/(TP+FP), npv TN/(TN+FN) and accuracy
        as `Proportion`; balanced_accuracy (sensitivity + specificity)/2, f1 2TP/(2TP+FP+FN) and mcc
        (TP TN - FP FN) / sqrt((TP+FP)(TP+FN)(TN+FP)(TN+FN)) as `Figure` with a bootstrap interval.
        A figure with an empty denominator has no value (scikit-learn would say 0).

    Raises:
        ValueError: as `confusion`.
    """
    labels, called = check_yes_no("Labels and calls", labels, called)
    right = labels == called
    everyone = np.ones(len(labels), bool)
    shares = {
        "sensitivity": labels,
        "specificity": ~labels,
        "ppv": called,
        "npv": ~called,
        "accuracy": everyone,
    }
    options = {"samples": samples, "seed": seed, "confidence": confidence}
    figures: dict[str, Proportion | Figure] = {}
    for name, among in shares.items():
        if clusters is None:
            counts = int(right[among].sum()), int(among.sum())
            figures[name] = proportion(*counts, method, confidence)
        else:
            patients = units_of(clusters, len(labels))[among]
            figures[name] = clustered_proportion(right[among], patients, confidence)
    figures.update(_composite_figures(labels, called, clusters, options))
    return figures


def _composite_figures(
    labels: np.ndarray, called: np.ndarray, clusters: np.ndarray | None, options: dict
) -> dict[str, Figure]:
    """Balanced accuracy, F1 and MCC with bootstrap intervals."""
    names = ("balanced_accuracy", "f1", "mcc")
    if not len(labels):
        return {name: missing("none", "There is no case.") for name in names}
    cells = np.stack([labels & called, ~labels & called, ~labels & ~called, labels & ~called], 1)
    values = _composites(cells.sum(axis=0, keepdims=True).astype(float))[0]
    units = units_of(clusters, len(labels))
    method = "bootstrap" if clusters is None else "patient-clustered bootstrap"
    bounds = cluster_bootstrap(units, lambda weights: _composites(weights @ cells), **options)
    triples = zip(values, bounds.low, bounds.high, strict=True)
    return {
        name: bootstrap_figure(*triple, method) for name, triple in zip(names, triples, strict=True)
    }


def _composites(cells: np.ndarray) -> np.ndarray:
    """Balanced accuracy, F1, MCC [b, 3] of counts tp, fp, tn, fn [b, 4]; NaN where undefined."""
    tp, fp, tn, fn = cells.T
    with np.errstate(divide="ignore", invalid="ignore"):
        balanced = (tp / (tp + fn) + tn / (tn + fp)) / 2
        f1 = 2 * tp / (2 * tp + fp + fn)
        mcc = (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return np.stack([balanced, f1, mcc], axis=1)


def youden_threshold(labels: np.ndarray, probs: np.ndarray) -> float:
    """The threshold with the largest Youden index, sensitivity + specificity - 1.

    A case is called positive where its probability is at least the threshold. Candidates lie half
    way between neighbouring probabilities (and half way between 0 and the lowest): one that is
    equal to a case's own probability would sit at the very edge of that case, and a case just
    below it, as after a change in the last digit, would fall on the other side. Of several best
    candidates the lowest is taken, which has the highest sensitivity: a missed sacroiliitis costs
    more than a second look.

    Raises:
        ValueError: labels other than 0 and 1, only one class, or probabilities outside 0..1.

    Source: W. J. Youden, Cancer 1950;3:32.
    """
    thresholds, sensitivity, specificity = _candidates(labels, probs)
    index = sensitivity + specificity
    # Equal indices may differ in the last bits of their sums.
    return float(thresholds[np.flatnonzero(index >= index.max() - 1e-12)[0]])


def threshold_at_sensitivity(labels: np.ndarray, probs: np.ndarray, sensitivity: float) -> float:
    """The largest threshold whose sensitivity is at least the one asked for.

    Candidates and calls as in `youden_threshold`.

    Raises:
        ValueError: only one class, probabilities outside 0..1, or a sensitivity outside 0..1 (0
            itself excluded).
    """
    if not 0.0 < sensitivity <= 1.0:
        raise ValueError(f"A sensitivity of {sensitivity} cannot be asked for; give 0 < s <= 1.")
    thresholds, reached, _ = _candidates(labels, probs)
    return float(thresholds[np.flatnonzero(reached >= sensitivity - 1e-12)[-1]])


def threshold_at_specificity(labels: np.ndarray, probs: np.ndarray, specificity: float) -> float:
    """The smallest threshold whose specificity is at least the one asked for.

    Candidates and calls as in `youden_threshold`; above the highest probability nobody is called
    positive, which is the answer where no candidate is specific enough.

    Raises:
        ValueError: only one class, probabilities outside 0..1, or a specificity outside 0..1 (0
            itself excluded).
    """
    if not 0.0 < specificity <= 1.0:
        raise ValueError(f"A specificity of {specificity} cannot be asked for; give 0 < s <= 1.")
    thresholds, _, reached = _candidates(labels, probs)
    enough = np.flatnonzero(reached >= specificity - 1e-12)
    if not len(enough):
        return float(np.nextafter(np.max(probs), np.inf))
    return float(thresholds[enough[0]])


def _candidates(labels: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thresholds, ascending, with the sensitivity and the specificity of each."""
    labels, probs = check_probabilities(labels, probs)
    if labels.all() or not labels.any():
        raise ValueError("A threshold needs cases of both classes.")
    upper = np.unique(probs)
    lower = np.r_[0.0, upper[:-1]]
    middle = lower + (upper - lower) / 2
    # Between two neighbouring floats there is no middle: rounding may give the lower one.
    middle = np.where((middle <= lower) & (lower < upper), upper, middle)
    positive, negative = np.sort(probs[labels]), np.sort(probs[~labels])
    sensitivity = 1.0 - np.searchsorted(positive, middle) / len(positive)
    specificity = np.searchsorted(negative, middle) / len(negative)
    return middle, sensitivity, specificity
