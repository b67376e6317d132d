"""The map of features: what it keeps, what it says of classes, when there is none."""

import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from msk_jax.errors import UserError
from msk_jax.explain.feature_map import feature_map


def _two_groups(distance, n=40, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    features = rng.normal(size=(n, 12))
    features[:, :6] += distance * labels[:, None]
    return features * np.linspace(1, 100, 12), labels


def test_groups_stay_groups_and_neighbours_neighbours():
    features, labels = _two_groups(distance=12.0)
    features = np.concatenate([features, np.full((40, 1), 7.0)], axis=1)  # one that never differs
    found = feature_map(features, labels)
    assert found.places.shape == (40, 2)
    assert found.silhouette_of_map > 0.5
    scaled = (features - features.mean(0)) / np.where(features.std(0) > 0, features.std(0), 1)
    assert trustworthiness(scaled, found.places, n_neighbors=5) > 0.8
    again = feature_map(features, labels)
    np.testing.assert_array_equal(found.places, again.places)
    mixed, labels = _two_groups(distance=0.0)
    assert abs(feature_map(mixed, labels).silhouette) < 0.05


def test_the_silhouette_by_hand():
    """Four patients at 0, 1 and 10, 12 of one feature, each three times over."""
    features = np.repeat([[0.0], [1.0], [10.0], [12.0]], 3, axis=0)
    labels = np.repeat([0, 0, 1, 1], 3)
    one = [(0.6, 11.0), (0.6, 10.0), (1.2, 9.5), (1.2, 11.5)]  # mean distance within, to the other
    expected = np.mean([(b - a) / b for a, b in one])
    assert feature_map(features, labels).silhouette == pytest.approx(expected)


@pytest.mark.parametrize(
    ("features", "labels", "sentence"),
    [
        (np.zeros((9, 3)), np.arange(9) % 2, "needs 10 patients"),
        (np.zeros((12, 3)), np.zeros(12), "two of each of two classes"),
        (np.eye(12), np.eye(12)[0], "two of each of two classes"),
        (np.zeros((12, 3)), np.arange(12) % 2, "the same features"),
        (np.full((12, 3), np.nan), np.arange(12) % 2, "no finite numbers"),
        (np.zeros((12, 0)), np.arange(12) % 2, "gives no features"),
    ],
)
def test_when_there_is_no_map(features, labels, sentence):
    with pytest.raises(UserError, match=sentence):
        feature_map(features, labels)
