"""The fairness checks: they must find a leak that is there and none where there is none."""

import numpy as np
import pandas as pd
import pytest

from msk_jax.phantoms import SacroiliacPhantom
from msk_jax.phantoms.sacroiliac.checks import (
    SCALES,
    VOLUMES,
    global_features,
    measure,
    oracle_auc,
    weak_baseline_auc,
)


def _table(separation: float, patients: int = 80) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for n in range(patients):
        ill = n % 2
        for _ in range(2):
            rows.append(
                {
                    "patient_id": n,
                    "true_patient_label": ill,
                    "flipped": 0,
                    "condensans": 0,
                    **{
                        k: float(rng.exponential(10) + separation * ill)
                        for k in (*VOLUMES, *SCALES)
                    },
                }
            )
    return pd.DataFrame(rows)


def test_oracle_sees_a_difference_and_only_that():
    assert oracle_auc(_table(60.0)) > 0.97
    assert oracle_auc(_table(0.0)) == pytest.approx(0.5, abs=0.17)


def test_weak_baseline_finds_a_brighter_class():
    rng = np.random.default_rng(1)
    labels = np.arange(60) % 2
    fair, leaky = (
        [global_features(rng.normal(50 + shift * label, 30, (3, 24, 24))) for label in labels]
        for shift in (0, 25)
    )
    assert np.shape(fair) == (60, 36)
    assert weak_baseline_auc(np.array(leaky), labels) > 0.95
    assert weak_baseline_auc(np.array(fair), labels) < 0.7


def test_histogram_counts_the_body_only():
    hu = np.full((1, 8, 8), -1000)
    hu[:, :4] = 120
    features = global_features(hu)
    assert features[0] == 120 and features[1] == 0
    assert np.exp(features[4:]).sum() == pytest.approx(1.0, abs=1e-3)


def test_measure_runs_on_rendered_patients():
    config = SacroiliacPhantom(patients=8, matrix=64, pixel_mm=5.4, slice_spacing_mm=5.0)
    result = measure(config)
    assert set(result) == {"oracle_auc", "weak_baseline_auc", "blind_auc"}
    assert all(0 <= v <= 1 for v in result.values())
