"""Whether groups of patients are called alike."""

import numpy as np

from msk_jax.evaluation.core.checks import check_yes_no, units_of
from msk_jax.evaluation.core.figure import Figure, bootstrap_figure, missing
from msk_jax.evaluation.core.resampling import cluster_bootstrap


def fairness_figures(
    labels: np.ndarray,
    called: np.ndarray,
    groups: np.ndarray,
    clusters: np.ndarray | None = None,
    *,
    samples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Figure]:
    """How far the groups are apart in what they are called, with bootstrap intervals.

    A largest difference is never below 0 and grows by chance alone, the more the smaller the
    groups: look at the gaps of each group too.

    Args:
        labels: 0 or 1 [cases].
        called: called positive [cases], bool.
        groups: of each case [cases].
        clusters: patient of each case [cases].

    Returns:
        equal_opportunity_difference, the largest difference of the groups' true-positive rates;
        equalised_odds_difference, the larger of that and of the same of false-positive rates;
        demographic_parity_ratio, the smallest share called positive over the largest. There is no
        answer with fewer than two groups or a group without cases of a class.

    Raises:
        ValueError: labels or calls other than 0 and 1, or unequal lengths.

    Source: M. Hardt, E. Price and N. Srebro, NeurIPS 2016; fairlearn for more than two groups.
    """
    labels, called = check_yes_no("Labels and calls", labels, called)
    groups, units = units_of(groups, len(labels)), units_of(clusters, len(labels))
    keys = ("equal_opportunity_difference", "equalised_odds_difference", "demographic_parity_ratio")
    method = "bootstrap" if clusters is None else "patient-clustered bootstrap"
    names, member = np.unique(groups.astype(str), return_inverse=True)
    if len(names) < 2:
        return {key: missing(method, "There is one group only.") for key in keys}
    of_group = np.eye(len(names))[member]
    prevalence = labels @ of_group / of_group.sum(axis=0)
    if lacking := names[np.isin(prevalence, (0, 1))].tolist():
        why = f"Groups have cases of one class only ({', '.join(lacking)})."
        return {key: missing(method, why) for key in keys}

    def statistic(weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            true, false, all_called = (
                ((weights * among * called) @ of_group) / ((weights * among) @ of_group)
                for among in (labels, ~labels, np.ones(len(labels), bool))
            )
            tpr, fpr = np.ptp(true, axis=1), np.ptp(false, axis=1)
            ratio = all_called.min(axis=1) / all_called.max(axis=1)
        return np.stack([tpr, np.maximum(tpr, fpr), ratio], axis=1)

    values = statistic(np.ones((1, len(labels))))[0]
    options = {"samples": samples, "seed": seed, "confidence": confidence}
    bounds = cluster_bootstrap(units, statistic, **options)
    triples = zip(values, bounds.low, bounds.high, strict=True)
    return {key: bootstrap_figure(*t, method) for key, t in zip(keys, triples, strict=True)}
