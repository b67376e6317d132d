"""How the features of a network lie, for patients that it never saw."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from msk_jax.errors import UserError
from msk_jax.explain.feature_map import feature_map


@dataclasses.dataclass(frozen=True)
class Features:
    """What one network gives its head, a row a patient that it never saw.

    One network alone, for the features of two have nothing to do with each other.
    """

    OWN: ClassVar[str] = "test fold"
    """The set of the patients that the network was tested on."""

    patient: np.ndarray
    """Pseudonym `[n]`."""
    set: np.ndarray
    """Name of the set `[n]`: `OWN` or a test set's."""
    label: np.ndarray
    """Class `[n]`, as built."""
    values: np.ndarray
    """The features `[n, k]`."""

    @classmethod
    def of(
        cls, by_set: Mapping[str, Mapping[str, np.ndarray]], labels: Mapping[str, int]
    ) -> "Features":
        """Of each set each patient's `[k]`, and the class of each patient."""
        rows = [(p, name, v) for name, patients in by_set.items() for p, v in patients.items()]
        patients, names, values = zip(*rows, strict=True)
        known = np.array([labels[patient] for patient in patients])
        return cls(np.array(patients), np.array(names), known, np.array(values))


def patient_features(patients: np.ndarray, features: np.ndarray) -> dict[str, np.ndarray]:
    """Each patient's features `[k]`, the mean over their images.

    Args:
        patients: of each image `[n]`.
        features: of each image `[n, k]`.
    """
    means = pd.DataFrame(features).groupby(patients).mean()
    return dict(zip(means.index, means.to_numpy(), strict=True))


def map_features(features: Features, seed: int) -> dict[str, Any]:
    """The features as a map.

    Args:
        features: of patients.
        seed: of the map.

    Returns:
        `n`, and where there is a map `silhouette`, `silhouette_of_map`, and `x`, `y`, `label` and
        `set` of each patient; else `why` there is none.
    """
    try:
        drawn = feature_map(features.values, features.label, seed)
    except UserError as reason:
        return {"n": len(features.patient), "why": str(reason)}
    return {
        "n": len(features.patient),
        "silhouette": drawn.silhouette,
        "silhouette_of_map": drawn.silhouette_of_map,
        "x": drawn.places[:, 0].tolist(),
        "y": drawn.places[:, 1].tolist(),
        "label": features.label.tolist(),
        "set": features.set.tolist(),
    }
