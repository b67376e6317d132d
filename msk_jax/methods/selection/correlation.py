"""Pruning of correlated columns."""

import numpy as np


def spearman(values: np.ndarray) -> np.ndarray:
    """Spearman's correlation of columns [columns, columns]; that of a constant column is 0."""
    from scipy.stats import rankdata

    ranks = rankdata(values, axis=0) - (len(values) + 1) / 2
    norms = np.sqrt((ranks**2).sum(axis=0))
    ranks = np.divide(ranks, norms, out=np.zeros_like(ranks), where=norms > 0)
    return ranks.T @ ranks


def uncorrelated(values: np.ndarray, limit: float) -> np.ndarray:
    """Places of the columns that stay [kept], see `estimator.Uncorrelated`.

    Args:
        values: [rows, columns], none missing.
        limit: greatest absolute correlation of two columns.
    """
    pairs = np.abs(spearman(values))
    np.fill_diagonal(pairs, 0.0)
    alive = np.arange(len(pairs))
    while len(pairs) > 1 and pairs.max() > limit:
        pair = np.unravel_index(np.argmax(pairs), pairs.shape)
        first, second = sorted(map(int, pair))
        # Rounding must not decide between columns that are equal.
        further = pairs[first].sum() - pairs[second].sum()
        out = first if further > 1e-9 else second
        pairs = np.delete(np.delete(pairs, out, axis=0), out, axis=1)
        alive = np.delete(alive, out)
    return alive
