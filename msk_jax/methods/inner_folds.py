"""Inner folds: training rows split once more, by patient."""

import numpy as np

from msk_jax.errors import UserError


def inner_folds(
    labels: np.ndarray, groups: np.ndarray, folds: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to fit and rows to judge, by fold; those of a patient are on one side.

    Classes are spread evenly as far as patients allow (scikit-learn's `StratifiedGroupKFold`).

    Args:
        labels: class of each row [rows].
        groups: patient of each row [rows].
        folds: how many; fewer where the rarest class has fewer patients.
        seed: of the order of patients.

    Raises:
        UserError: a class has one patient alone, or those of a class cannot be spread.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    classes = np.unique(labels)
    patients = [len(np.unique(groups[labels == k])) for k in classes]
    fewest = min(patients)
    if fewest < 2:
        raise UserError(
            f"Inner folds need two training patients of every class at least, and class "
            f"{classes[int(np.argmin(patients))]} has {fewest}. Add patients, or use fewer folds."
        )
    splitter = StratifiedGroupKFold(min(folds, fewest), shuffle=True, random_state=seed)
    parts = list(splitter.split(np.zeros(len(labels)), labels, groups))
    if any(len(np.unique(labels[fit])) < len(classes) or not len(judge) for fit, judge in parts):
        raise UserError(
            "The training patients cannot be spread over inner folds with every class in each. "
            "Ask for fewer inner folds, or add patients."
        )
    return parts
