"""What a new model adds to an old one: net reclassification and integrated discrimination."""

from collections.abc import Sequence

import numpy as np

from msk_jax.evaluation.classes.calibration import check_probabilities
from msk_jax.evaluation.core.checks import units_of
from msk_jax.evaluation.core.figure import Figure, bootstrap_figure, missing
from msk_jax.evaluation.core.resampling import cluster_bootstrap


def reclassification(
    labels: np.ndarray,
    old: np.ndarray,
    new: np.ndarray,
    cuts: Sequence[float] | None = None,
    clusters: np.ndarray | None = None,
    *,
    samples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Figure]:
    """Net reclassification and integrated discrimination improvement, with bootstrap intervals.

    Args:
        labels: 0 or 1 [cases].
        old: probabilities of the old model [cases].
        new: of the new model [cases].
        cuts: between risk categories, a case at a cut in the upper one; None: every change counts
            (continuous).
        clusters: patient of each case.

    Returns:
        nri_events P(up | event) - P(down | event), nri_nonevents P(down | no event) - P(up | no
        event), their sum nri, and idi, the gain in the distance between the classes' mean
        probabilities. The NRI can favour a miscalibrated model: show it beside the decision curve.

    Raises:
        ValueError: as `calibration_figures`, or cuts that do not rise within 0..1.

    Source: M. J. Pencina et al., Stat Med 2008;27:157 and 2011;30:11.
    """
    labels, old = check_probabilities(labels, old)
    _, new = check_probabilities(labels, new)
    moved = np.sign(new - old)
    if cuts is not None:
        edges = np.asarray(cuts, float)
        if not (len(edges) and (np.diff(edges) > 0).all() and edges[0] > 0 and edges[-1] < 1):
            raise ValueError("Cuts between risk categories must rise, between 0 and 1.")
        moved = np.sign(np.digitize(new, edges) - np.digitize(old, edges))
    keys = ("nri", "nri_events", "nri_nonevents", "idi")
    method = "bootstrap" if clusters is None else "patient-clustered bootstrap"
    if labels.all() or not labels.any():
        return {key: missing(method, "Reclassification needs both classes.") for key in keys}
    gain = new - old

    def statistic(weights: np.ndarray) -> np.ndarray:
        events, rest = weights * labels, weights * ~labels
        with np.errstate(invalid="ignore"):
            up = events @ moved / events.sum(axis=1)
            down = -(rest @ moved) / rest.sum(axis=1)
            idi = events @ gain / events.sum(axis=1) - rest @ gain / rest.sum(axis=1)
        return np.stack([up + down, up, down, idi], axis=1)

    units = units_of(clusters, len(labels))
    values = statistic(np.ones((1, len(labels))))[0]
    options = {"samples": samples, "seed": seed, "confidence": confidence}
    bounds = cluster_bootstrap(units, statistic, **options)
    triples = zip(values, bounds.low, bounds.high, strict=True)
    return {key: bootstrap_figure(*t, method) for key, t in zip(keys, triples, strict=True)}
