"""The classes of a split's patients, and what those of validation say of an epoch."""

import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from sklearn.metrics import roc_auc_score

from msk_jax.errors import UserError


class Interrupted(Exception):
    """A validation was left before its end."""


def until_asked(batches: Iterable, rounds: int, asked_to_stop: Callable[[int], bool]) -> Iterator:
    """The batches; raises `Interrupted` before the next one where a stop is asked for.

    Args:
        batches: of this host.
        rounds: batches of the host that has the most, so that all ask equally often.
        asked_to_stop: is given the number of the round.
    """
    remaining = iter(batches)
    for k in range(rounds):
        if asked_to_stop(k):
            raise Interrupted
        yield from itertools.islice(remaining, 1)


def validation_figures(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Mean cross-entropy and AUC of stacks (one-against-rest mean for several classes).

    A validation set of one class has no AUC: 0.5 is returned, which improves on nothing.
    """
    num_classes = probabilities.shape[1]
    right = np.take_along_axis(probabilities, labels[:, None].astype(int), 1)
    loss = float(-np.log(np.maximum(right, 1e-12)).mean())
    if len(np.unique(labels)) < num_classes:
        return {"loss": loss, "auc": 0.5}
    scores = probabilities[:, 1] if num_classes == 2 else probabilities
    return {"loss": loss, "auc": float(roc_auc_score(labels, scores, multi_class="ovr"))}


def is_better(monitor: str, figures: dict[str, float], best: float | None) -> bool:
    """Whether an epoch with these figures is to be kept, where `best` is that of the kept one."""
    if monitor == "none" or best is None:
        return True
    return figures[monitor] < best if monitor == "loss" else figures[monitor] > best


def check_classes_shown(monitor: str, labels: np.ndarray, num_classes: int) -> None:
    """Raises UserError where the labels cannot give the figure that picks the epoch."""
    if monitor == "auc" and len(np.unique(labels)) < num_classes:
        raise UserError(
            "The validation patients do not show every class, so their AUC cannot pick an "
            "epoch. Give --monitor loss or --monitor none, or build with other folds."
        )


def class_weights(labels: np.ndarray, num_classes: int, weighted: bool) -> np.ndarray:
    """Weight of each class's training stacks; all 1 unless `weighted`.

    Raises:
        UserError: a class has no stack.
    """
    counts = np.bincount(labels, minlength=num_classes)
    if not counts.all():
        raise UserError(
            f"The training patients' stacks show only classes {np.flatnonzero(counts).tolist()} of "
            f"{num_classes}: there is nothing to tell apart. Check the labels of the manifest or "
            "build with other folds."
        )
    weights = len(labels) / (num_classes * counts) if weighted else np.ones(num_classes)
    return weights.astype(np.float32)
