"""Patients as points: a map of what a network makes of them, and how far the classes lie apart."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import silhouette_score

from msk_jax.errors import UserError

_PERPLEXITY = 30.0
_FEWEST = 10
"""Patients; of fewer there is no neighbourhood to speak of."""


@dataclass(frozen=True)
class FeatureMap:
    """Places of patients, and how well their classes part."""

    places: np.ndarray
    """`[n, 2]`, without a unit: only who is near whom means something."""
    silhouette: float
    """Of the classes in the features: -1 to 1, 0 where they lie within each other (P. J.
    Rousseeuw, Silhouettes, 1987)."""
    silhouette_of_map: float
    """The same on the map, which parts groups more than the features do."""


def feature_map(features: np.ndarray, labels: np.ndarray, seed: int = 0) -> FeatureMap:
    """t-SNE of features (L. van der Maaten and G. Hinton, 2008), as openTSNE computes it.

    Every feature is first brought to mean 0 and spread 1; perplexity 30, or a third of the other
    patients where they are fewer; begins with the first two principal components, so that the same
    features give the same map.

    Args:
        features: `[n, k]`, one row per patient.
        labels: `[n]`, their classes.
        seed: of what is left to chance.

    Raises:
        UserError: fewer than 10 patients, a class with one patient alone or only one class,
            numbers that are not finite, or no feature that differs.
    """
    # Imported where it is used: it takes a second.
    from openTSNE import TSNE

    features, labels = np.asarray(features, np.float64), np.asarray(labels)
    counts = np.unique(labels, return_counts=True)[1]
    if len(features) < _FEWEST or len(counts) < 2 or counts.min() < 2:
        raise UserError(
            f"A map of features needs {_FEWEST} patients, and two of each of two classes; there "
            f"are {len(features)}, by class {counts.tolist()}."
        )
    if not features.shape[1] or not np.isfinite(features).all():
        raise UserError("The network gives no features, or some that are no finite numbers.")
    spread = features.std(axis=0)
    # What is rounding beside the other features is no feature.
    varies = spread > 1e-6 * spread.max()
    if not varies.any():
        raise UserError("The network gives all patients the same features.")
    scaled = (features[:, varies] - features[:, varies].mean(axis=0)) / spread[varies]
    # The first two components need two features.
    scaled = np.pad(scaled, ((0, 0), (0, max(0, 2 - scaled.shape[1]))))
    perplexity = min(_PERPLEXITY, (len(scaled) - 1) / 3)
    made = TSNE(
        perplexity=perplexity, initialization="pca", neighbors="exact", random_state=seed, n_jobs=1
    )
    places = np.asarray(made.fit(scaled))
    return FeatureMap(
        places,
        float(silhouette_score(scaled, labels)),
        float(silhouette_score(places, labels)),
    )
