"""Recursive elimination of columns by a linear support vector machine (SVM-RFE)."""

from typing import TYPE_CHECKING

import numpy as np

from msk_jax.methods.estimator import SVMRFE
from msk_jax.methods.inner_folds import inner_folds
from msk_jax.methods.selection.choice import Choice, standardised

if TYPE_CHECKING:
    from sklearn.svm import SVC


def eliminate(
    step: SVMRFE, values: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int
) -> Choice:
    """The columns that stay; arguments and errors as those of `penalised.lasso`."""
    sizes = round_sizes(values.shape[1], step.drop)
    hits = np.zeros((len(sizes), labels.max() + 1))
    for fit, judge in inner_folds(labels, groups, step.folds, seed):
        known, asked = standardised(values[fit], values[judge])
        for i, (places, machine) in enumerate(_rounds(step, known, labels[fit], sizes)):
            right = machine.predict(asked[:, places]) == labels[judge]
            hits[i] += np.bincount(labels[judge][right], minlength=hits.shape[1])
    accuracy = (hits / np.bincount(labels)).mean(axis=1)
    size = best_size(sizes, accuracy, step.keep)
    (x,) = standardised(values)
    rounds = [places for places, _ in _rounds(step, x, labels, sizes)]
    kept = next(places for places in rounds if len(places) == size)
    return Choice(kept, int(rounds[-1][0]))


def round_sizes(columns: int, drop: float) -> list[int]:
    """Columns left in each round, from all to one."""
    sizes = [columns]
    while sizes[-1] > 1:
        sizes.append(sizes[-1] - max(1, int(sizes[-1] * drop)))
    return sizes


def best_size(sizes: list[int], accuracy: np.ndarray, keep: int | None) -> int:
    """The size of the best accuracy [rounds]; of equally good ones the smallest."""
    allowed = [i for i, size in enumerate(sizes) if keep is None or size <= keep]
    top = max(accuracy[i] for i in allowed)
    # Means of the same hits may differ by rounding.
    return min(sizes[i] for i in allowed if accuracy[i] >= top - 1e-12)


def _rounds(
    step: SVMRFE, x: np.ndarray, labels: np.ndarray, sizes: list[int]
) -> "list[tuple[np.ndarray, SVC]]":
    """Columns left, in their order, and the machine of each round."""
    from sklearn.svm import SVC

    places, rounds = np.arange(x.shape[1]), []
    for i, size in enumerate(sizes):
        machine = SVC(kernel="linear", C=step.strength, class_weight="balanced")
        machine.fit(x[:, places], labels)
        rounds.append((places, machine))
        if i + 1 < len(sizes):
            importance = (machine.coef_**2).sum(axis=0)
            # Stable, from the end, so that of equal columns the later goes.
            order = np.argsort(-importance, kind="stable")
            places = np.sort(places[order[: sizes[i + 1]]])
        assert len(rounds[-1][0]) == size
    return rounds
