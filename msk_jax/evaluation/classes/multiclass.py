"""More than two classes: one against the rest, Hand and Till, and classes that have an order."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from msk_jax.evaluation.agreement import cohen_kappa
from msk_jax.evaluation.classes.binary import binary_figures
from msk_jax.evaluation.classes.roc import Auc, clustered_auc, delong, weighted_areas
from msk_jax.evaluation.core.checks import units_of
from msk_jax.evaluation.core.figure import Figure, bootstrap_figure, missing
from msk_jax.evaluation.core.proportions import Proportion, clustered_proportion, proportion
from msk_jax.evaluation.core.resampling import cluster_bootstrap


def multiclass_figures(
    labels: np.ndarray,
    probs: np.ndarray,
    clusters: np.ndarray | None = None,
    *,
    names: Sequence[str] | None = None,
    samples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Figures of several classes; the class called is that of the highest probability.

    Args:
        labels: class of each case [cases], 0 .. classes - 1.
        probs: [cases, classes].
        clusters: patient of each case; where given, intervals count patients.
        names: of the classes; by default their numbers.

    Returns:
        classes: by name, `auc` (one against the rest) and the figures of `binary_figures`;
        accuracy; macro_auc (unweighted mean over classes), hand_till (mean over pairs of classes),
        balanced_accuracy (mean of the classes' sensitivities), macro_f1 and Cohen's kappa as
        `Figure`; confusion
        [true][called]. A class without cases leaves the means without an answer.

    Raises:
        ValueError: shapes that do not fit, classes outside 0 .. classes - 1, or probabilities that
            are not finite.

    Source: D. J. Hand and R. J. Till, Machine Learning 2001;45:171.
    """
    labels, probs = _checked(labels, probs)
    k = probs.shape[1]
    names = [str(c) for c in range(k)] if names is None else list(names)
    if len(set(names)) != k:
        raise ValueError(f"{k} classes need as many different names, not {', '.join(names)}.")
    called = probs.argmax(axis=1)
    options = {"samples": samples, "seed": seed, "confidence": confidence}
    of_class = {}
    for c, name in enumerate(names):
        area = _auc(labels == c, probs[:, c], clusters, options)
        figures = binary_figures(labels == c, called == c, clusters, **options)
        of_class[name] = {"auc": area, **figures}
    table = np.zeros((k, k), int)
    np.add.at(table, (labels, called), 1)
    return {
        "classes": of_class,
        "accuracy": _share(labels == called, clusters, confidence),
        **_means(labels, probs, called, clusters, options, names),
        "confusion": table.tolist(),
    }


def _auc(labels: np.ndarray, scores: np.ndarray, clusters: np.ndarray | None, options: dict) -> Auc:
    if clusters is None:
        return delong(labels, scores, options["confidence"])
    return clustered_auc(labels, scores, clusters, options["confidence"])


def _share(hits: np.ndarray, clusters: np.ndarray | None, confidence: float) -> Proportion:
    if clusters is None:
        return proportion(hits.sum(), len(hits), confidence=confidence)
    return clustered_proportion(hits, clusters, confidence)


def _means(
    labels: np.ndarray,
    probs: np.ndarray,
    called: np.ndarray,
    clusters: np.ndarray | None,
    options: dict,
    names: list[str],
) -> dict[str, Figure]:
    """The figures that are means over classes or pairs of classes, resampled together."""
    keys = ("macro_auc", "hand_till", "balanced_accuracy", "macro_f1", "kappa")
    classes = range(probs.shape[1])
    method = "bootstrap" if clusters is None else "patient-clustered bootstrap"
    absent = [names[c] for c in classes if not (labels == c).any()]
    if absent:
        why = f"There is no case of class {', '.join(absent)}."
        return {key: missing(method, why) for key in keys}

    def statistic(weights: np.ndarray) -> np.ndarray:
        rest = [weighted_areas(labels == c, probs[:, c], weights) for c in classes]
        pairs = []
        for a, b in combinations(classes, 2):
            kept = (labels == a) | (labels == b)
            for one in (a, b):
                area = weighted_areas(labels[kept] == one, probs[kept, one], weights[:, kept])
                pairs.append(area)
        sensitivity, f1 = [], []
        for c in classes:
            hit = weights @ ((labels == c) & (called == c))
            true, said = weights @ (labels == c), weights @ (called == c)
            with np.errstate(invalid="ignore"):
                sensitivity.append(hit / true)
                f1.append(2 * hit / (true + said))
        means = [np.mean(x, axis=0) for x in (rest, pairs, sensitivity, f1)]
        return np.stack([*means, _kappa(labels, called, weights)], axis=1)

    units = units_of(clusters, len(labels))
    values = statistic(np.ones((1, len(labels))))[0]
    bounds = cluster_bootstrap(units, statistic, **options)
    triples = zip(values, bounds.low, bounds.high, strict=True)
    return {key: bootstrap_figure(*t, method) for key, t in zip(keys, triples, strict=True)}


def _kappa(labels: np.ndarray, called: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Cohen's kappa for each row of case weights [samples, cases]."""
    total = weights.sum(axis=1)
    agreed = weights @ (labels == called) / total
    chance = (
        sum((weights @ (labels == c)) * (weights @ (called == c)) for c in np.unique(labels))
        / total**2
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return (agreed - chance) / (1 - chance)


def ordinal_figures(
    truth: np.ndarray,
    called: np.ndarray,
    num_classes: int,
    clusters: np.ndarray | None = None,
    *,
    samples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Proportion | Figure]:
    """Figures of classes with an order, as stages or grades.

    Args:
        truth: class of each case [cases], 0 .. num_classes - 1.
        called: class that was said [cases].
        clusters: patient of each case; where given, intervals count patients.

    Returns:
        exact, within_one (share of cases no more than one class off), mean_absolute_error
        (classes), kappa_linear, kappa_quadratic and kendall_tau_b. Kappas of clustered cases have a
        bootstrap interval.

    Raises:
        ValueError: unequal lengths, or classes outside 0 .. num_classes - 1.
    """
    truth, called = np.asarray(truth), np.asarray(called)
    known = np.arange(num_classes)
    if truth.shape != called.shape or not np.isin(np.r_[truth, called], known).all():
        raise ValueError(f"Classes must be equal vectors of 0 .. {num_classes - 1}.")
    truth, called = truth.astype(int), called.astype(int)
    off = np.abs(truth - called)
    method = "bootstrap" if clusters is None else "patient-clustered bootstrap"
    figures: dict[str, Proportion | Figure] = {
        "exact": _share(off == 0, clusters, confidence),
        "within_one": _share(off <= 1, clusters, confidence),
    }
    keys = ("mean_absolute_error", "kappa_linear", "kappa_quadratic", "kendall_tau_b")
    if not len(truth):
        return figures | {key: missing(method, "There is no case.") for key in keys}
    cells = np.eye(num_classes**2)[truth * num_classes + called]

    def statistic(weights: np.ndarray) -> np.ndarray:
        tables = (weights @ cells).reshape(-1, num_classes, num_classes)
        return np.stack([_ordinal(table) for table in tables])

    units = units_of(clusters, len(truth))
    values = _ordinal(cells.sum(axis=0).reshape(num_classes, num_classes))
    options = {"samples": samples, "seed": seed, "confidence": confidence}
    bounds = cluster_bootstrap(units, statistic, **options)
    for i, key in enumerate(keys):
        figures[key] = bootstrap_figure(values[i], bounds.low[i], bounds.high[i], method)
    if clusters is None:
        for kind in ("linear", "quadratic"):
            figures[f"kappa_{kind}"] = cohen_kappa(
                truth, called, kind, num_classes=num_classes, confidence=confidence
            )
    return figures


def order_figures(
    labels: np.ndarray,
    probs: np.ndarray,
    clusters: np.ndarray | None = None,
    *,
    samples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[Figure, list[Auc]]:
    """How well probabilities put cases in the order of their classes.

    Args:
        labels: class of each case [cases], 0 .. classes - 1.
        probs: [cases, classes].
        clusters: patient of each case; where given, intervals count patients.

    Returns:
        The ordinal C: mean over pairs of classes of the AUC of the expected class, the sum of
            classes
        times their probabilities. And for each class but the first the AUC of "this or higher", by
        the sum of the probabilities from it upwards.

    Raises:
        ValueError: as `multiclass_figures`.

    Source: B. Van Calster and others, Biometrical Journal 2012;54:674.
    """
    labels, probs = _checked(labels, probs)
    classes = range(probs.shape[1])
    options = {"samples": samples, "seed": seed, "confidence": confidence}
    above = probs[:, ::-1].cumsum(axis=1)[:, ::-1]
    cuts = [_auc(labels >= c, above[:, c], clusters, options) for c in classes[1:]]
    method = "bootstrap" if clusters is None else "patient-clustered bootstrap"
    absent = [str(c) for c in classes if not (labels == c).any()]
    if absent:
        return missing(method, f"There is no case of class {', '.join(absent)}."), cuts
    expected = probs @ np.arange(len(classes))

    def statistic(weights: np.ndarray) -> np.ndarray:
        areas = []
        for low, high in combinations(classes, 2):
            kept = (labels == low) | (labels == high)
            areas.append(weighted_areas(labels[kept] == high, expected[kept], weights[:, kept]))
        return np.mean(areas, axis=0)[:, None]

    bounds = cluster_bootstrap(units_of(clusters, len(labels)), statistic, **options)
    value = statistic(np.ones((1, len(labels))))[0, 0]
    return bootstrap_figure(value, bounds.low[0], bounds.high[0], method), cuts


def _ordinal(table: np.ndarray) -> np.ndarray:
    """Mean absolute error, linear and quadratic kappa, tau b of counts [true, called]."""
    k = len(table)
    apart = np.abs(np.subtract.outer(np.arange(k), np.arange(k)))
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        kappas = [1 - (w * table).sum() / (w * expected).sum() for w in (apart, apart**2)]
    rows, columns = np.indices(table.shape)
    counts = table.astype(int).ravel()
    tau = kendalltau(np.repeat(rows.ravel(), counts), np.repeat(columns.ravel(), counts)).statistic
    return np.array([(apart * table).sum() / table.sum(), *kappas, tau])


def _checked(labels: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, probs = np.asarray(labels), np.asarray(probs, float)
    if probs.ndim != 2 or probs.shape[1] < 2 or labels.shape != probs.shape[:1]:
        raise ValueError(f"Labels {labels.shape} do not fit probabilities {probs.shape}.")
    if not np.isin(labels, np.arange(probs.shape[1])).all():
        raise ValueError(f"Labels must be 0 .. {probs.shape[1] - 1}, the columns of probs.")
    if not np.isfinite(probs).all():
        raise ValueError("Probabilities must be finite.")
    return labels.astype(int), probs
