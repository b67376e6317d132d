"""What every figure asks of its arguments before it answers."""

from collections.abc import Sequence

import numpy as np


def upper_tail(confidence: float) -> float:
    """The quantile at the upper end of a two-sided interval, 0.975 for 0.95.

    Raises:
        ValueError: a confidence that is no share between 0 and 1, as 95.
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"A confidence of {confidence} cannot be; give a share, as 0.95.")
    return 0.5 + confidence / 2


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Raises ValueError for a value that is none of the choices."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; it may be {', '.join(map(repr, choices))}.")


def units_of(clusters: np.ndarray | None, cases: int) -> np.ndarray:
    """The patient of each case [cases]; each its own where there are no clusters.

    Raises:
        ValueError: not one cluster a case, or a missing one.
    """
    if clusters is None:
        return np.arange(cases)
    clusters = np.asarray(clusters)
    if clusters.shape != (cases,):
        raise ValueError(f"Clusters {clusters.shape} must be a vector, one for each of {cases}.")
    if (clusters != clusters).any() or (clusters == None).any():  # noqa: E711
        raise ValueError("A cluster is missing (NaN or None); each case needs its patient.")
    return clusters


def check_yes_no(what: str, *arrays: np.ndarray) -> list[np.ndarray]:
    """Equal vectors of 0 and 1 as bool: a probability or a NaN would count as true.

    Args:
        what: the arrays in an error, as "Labels and calls".

    Raises:
        ValueError: other values, or lengths that differ.
    """
    given = [np.asarray(array) for array in arrays]
    if given[0].ndim != 1 or any(array.shape != given[0].shape for array in given):
        shapes = ", ".join(str(array.shape) for array in given)
        raise ValueError(f"{what} must be equal vectors, not {shapes}.")
    if not all(np.isin(array, (0, 1)).all() for array in given):
        raise ValueError(f"{what} must be 0 or 1.")
    return [array.astype(bool) for array in given]
