"""How the features of a network lie, for patients that it never saw."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from msk_jax.errors import UserError
from msk_jax.explain.feature_map import feature_map

OWN_TEST_FOLD = "test fold"
"""The set of the patients that the mapped network was tested on."""


def patient_features(patients: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
    """Each patient's features `[k]`, the mean over their images.

    Args:
        patients: of each image `[n]`.
        features: of each image `[n, k]`.
    """
    means = pd.DataFrame(features).groupby(patients).mean()
    return dict(zip(means.index, means.to_numpy(), strict=True))


def map_features(
    features: Mapping[str, Mapping[str, np.ndarray]], labels: Mapping[str, int], seed: int
) -> dict[str, Any]:
    """One network's features of patients that it never saw, as a map.

    One network alone, for the features of two have nothing to do with each other.

    Args:
        features: by set of patients, by patient `[k]`.
        labels: by patient.
        seed: of the map.

    Returns:
        `n`, and where there is a map `silhouette`, `silhouette_of_map`, and `x`, `y`, `label` and
        `set` of each patient; else `why` there is none.
    """
    sets = [name for name, patients in features.items() for _ in patients]
    means = [found for patients in features.values() for found in patients.values()]
    of_patients = [labels[patient] for patients in features.values() for patient in patients]
    try:
        found = feature_map(np.array(means), np.array(of_patients), seed)
    except UserError as reason:
        return {"n": len(sets), "why": str(reason)}
    return {
        "n": len(sets),
        "silhouette": found.silhouette,
        "silhouette_of_map": found.silhouette_of_map,
        "x": found.places[:, 0].tolist(),
        "y": found.places[:, 1].tolist(),
        "label": of_patients,
        "set": sets,
    }
