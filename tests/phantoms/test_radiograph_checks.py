"""The fairness checks of radiographs: they find a leak that is there, and look at both phantoms."""

import numpy as np
import pytest

from msk_jax.phantoms.chest import ChestPhantom
from msk_jax.phantoms.knee import KneePhantom
from msk_jax.phantoms.radiograph_checks import hidden, measure, picture_features
from msk_jax.phantoms.sacroiliac.checks import weak_baseline_auc


def test_a_brighter_or_noisier_class_is_found():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    for shift, noise in ((0, 0), (60, 0), (0, 0.3)):
        features = [
            picture_features(rng.normal(2000 + shift * y, 100 * (1 + noise * y), (40, 40)))
            for y in labels
        ]
        auc = weak_baseline_auc(np.array(features), labels)
        assert auc > 0.95 if shift or noise else auc < 0.7


def test_what_is_hidden_does_not_count():
    picture = np.full((30, 30), 1000)
    picture[10:15, 10:15] = 4000
    labels = (picture > 2000).astype(np.uint8)
    left = picture_features(picture, ~hidden(labels, 2.0))
    assert left[:2].tolist() == [1000, 0] and picture_features(picture)[0] > 1000
    # three steps of 2 mm: the square, 3 rows of 5 on every side, 1 + 2 in every corner
    assert hidden(labels, 2.0).sum() == 25 + 4 * 15 + 4 * 3


@pytest.mark.parametrize(
    "config",
    [
        ChestPhantom(patients=10, matrix=64, pixel_mm=6.0),
        KneePhantom(patients=10, matrix=64, pixel_mm=4.2),
    ],
)
def test_measure_runs_on_both(config):
    result = measure(config)
    assert set(result) == {"oracle_auc", "weak_baseline_auc", "blind_auc"}
    assert all(0 <= v <= 1 for v in result.values())
