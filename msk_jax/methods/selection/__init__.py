"""Selections of columns, fitted on training rows alone; `select` runs any of them."""

from dataclasses import dataclass

import numpy as np

from msk_jax.methods.design import Column, complete
from msk_jax.methods.estimator import Chosen, Lasso, Selection, Uncorrelated
from msk_jax.methods.selection.choice import Choice
from msk_jax.methods.selection.correlation import uncorrelated
from msk_jax.methods.selection.elimination import eliminate
from msk_jax.methods.selection.penalised import lasso


@dataclass(frozen=True, eq=False)
class Kept:
    """Columns that a selection kept."""

    places: np.ndarray
    """In their order [kept]."""

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Values [rows, kept]."""
        return values[:, self.places]

    def columns(self, columns: tuple[Column, ...]) -> tuple[Column, ...]:
        """The columns after it."""
        return tuple(columns[j] for j in self.places)


def select(
    step: Selection,
    values: np.ndarray,
    columns: tuple[Column, ...],
    labels: np.ndarray,
    groups: np.ndarray,
    seed: int,
) -> Kept:
    """Fit a selection on training rows.

    Args:
        step: the selection.
        values: [rows, columns].
        columns: what they are.
        labels: class of each row [rows].
        groups: patient of each row [rows].
        seed: of the inner folds.

    Raises:
        UserError: values are missing, or the inner folds cannot be made.
    """
    complete(values, columns, type(step).__name__)
    if isinstance(step, Uncorrelated):
        return Kept(uncorrelated(values, step.limit))
    if not isinstance(step, Chosen):
        return Kept(_choice(step, values, labels, groups, seed).places)
    choices = [_choice(one, values, labels, groups, seed) for one in step.by]
    votes = np.bincount(np.concatenate([choice.places for choice in choices]))
    needed = len(choices) if step.rule == "both" else 1
    places = np.flatnonzero(votes >= needed)
    return Kept(places if len(places) else np.array([choices[0].strongest]))


def _choice(
    step: Selection, values: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int
) -> Choice:
    run = lasso if isinstance(step, Lasso) else eliminate
    return run(step, values, labels, groups, seed)
