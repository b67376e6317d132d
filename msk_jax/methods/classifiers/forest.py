"""Random forest as arrays of nodes."""

from dataclasses import dataclass

import numpy as np

from msk_jax.methods.design import Column, complete
from msk_jax.methods.estimator import RandomForest


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees, one behind the other in arrays of nodes; children are places in these arrays."""

    roots: np.ndarray
    """First node of each tree [trees]."""
    left: np.ndarray
    """Child of values up to the threshold [nodes]; a leaf's is the leaf."""
    right: np.ndarray
    """Child of greater values [nodes]; a leaf's is the leaf."""
    columns: np.ndarray
    """Column that is asked [nodes]; 0 in leaves."""
    thresholds: np.ndarray
    """[nodes]"""
    shares: np.ndarray
    """Classes of the training rows in a node [nodes, classes]."""

    def predict(self, values: np.ndarray) -> np.ndarray:
        """Probabilities [rows, classes]: mean of the trees' leaves."""
        # scikit-learn compares in single precision.
        single = np.asarray(values, np.float32)
        rows = np.arange(len(values))
        total = np.zeros((len(values), self.shares.shape[1]))
        for root in self.roots:
            nodes = np.full(len(values), root)
            while True:
                smaller = single[rows, self.columns[nodes]] <= self.thresholds[nodes]
                deeper = np.where(smaller, self.left[nodes], self.right[nodes])
                if np.array_equal(deeper, nodes):
                    break
                nodes = deeper
            total += self.shares[nodes]
        return total / len(self.roots)

    def score(self, values: np.ndarray, of_class: int) -> np.ndarray:
        """Probability of a class [rows]."""
        return self.predict(values)[:, of_class]


def forest_of(
    model: RandomForest,
    values: np.ndarray,
    columns: tuple[Column, ...],
    labels: np.ndarray,
    groups: np.ndarray,
    seed: int,
) -> Forest:
    """The random forest of these rows (scikit-learn), see `learn`."""
    from sklearn.ensemble import RandomForestClassifier

    del groups
    complete(values, columns, "RandomForest")
    forest = RandomForestClassifier(
        n_estimators=model.trees,
        min_samples_leaf=model.leaf,
        max_depth=model.max_depth,
        max_features=model.columns,
        random_state=seed,
        n_jobs=1,
    ).fit(values, labels)
    trees = [one.tree_ for one in forest.estimators_]
    counts = np.array([tree.node_count for tree in trees])
    roots = np.cumsum(counts) - counts
    nodes = np.arange(counts.sum())
    first = np.repeat(roots, counts)
    left, right, asked, thresholds = (
        np.concatenate([getattr(tree, name) for tree in trees])
        for name in ("children_left", "children_right", "feature", "threshold")
    )
    leaves = left < 0
    shares = np.concatenate([tree.value[:, 0, :] for tree in trees])
    return Forest(
        roots,
        np.where(leaves, nodes, left + first),
        np.where(leaves, nodes, right + first),
        np.where(leaves, 0, asked),
        np.where(leaves, 0.0, thresholds),
        shares / shares.sum(axis=1, keepdims=True),
    )
