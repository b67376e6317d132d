"""Test sets of two classes, and several models on the same patients."""

import numpy as np
import pandas as pd
import pytest

from msk_jax.evaluation.settings import EvaluationSettings
from msk_jax.evaluation.studies.side_by_side import side_by_side
from tests.two_classes import judge_two

SETTINGS = EvaluationSettings(bootstrap_samples=20)
LEVELS = ("image", "radiograph", "patient")


def _table(labels, probs, fold):
    names = [f"P{i}" for i in range(len(labels))]
    return pd.DataFrame(
        {
            "patient_id": names,
            "unit_id": names,
            "level": "patient",
            "fold": fold,
            "label": labels,
            "prob": probs,
        }
    )


@pytest.fixture
def study():
    """Twelve patients in three folds, called rightly from 0.5 on, and six of another site."""
    labels, fold = np.arange(12) % 2, np.arange(12) % 3
    found = _table(labels, 0.3 + 0.4 * labels, fold)
    validation = found.assign(fold=(fold - 1) % 3)
    asked = _table([0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.6, 0.4, 0.7, 0.9], -1)
    asked["patient_id"] = asked["unit_id"] = "X" + asked["patient_id"]
    return found, validation, {"external_B": asked}


def test_a_test_set_is_called_by_the_threshold_of_the_validation_patients(study):
    found, validation, tested = study
    level = judge_two(found, validation, SETTINGS, LEVELS, tested)["levels"]["patient"]
    assert level["thresholds"]["predict"]["threshold"] == pytest.approx(0.5)
    external = level["test_sets"]["external_B"]
    assert external["confusion"] == {"tp": 2, "fp": 1, "tn": 2, "fn": 1}
    assert external["accuracy"]["value"] == pytest.approx(4 / 6)
    assert external["f1"]["value"] == pytest.approx(2 / 3)
    # Of nine pairs one is in the wrong order: 0.4 below 0.6.
    assert external["auc"]["value"] == pytest.approx(8 / 9)


def test_models_of_the_same_patients(study):
    found, validation, tested = study
    asked = tested["external_B"]
    # Rows in another order belong to the same patients.
    other = asked.assign(prob=[0.9, 0.2, 0.6, 0.4, 0.7, 0.1])[::-1]
    sets = {"image": tested, "clinical": {"external_B": other}}
    figures = {
        name: judge_two(found, validation, SETTINGS, LEVELS, table)["levels"]["patient"]
        for name, table in sets.items()
    }
    result = side_by_side(sets, figures, SETTINGS)
    (test,) = result["comparison"]["external_B"]["tests"]
    # Of the second model's pairs 3 of 9 are in order.
    assert (test["first"], test["second"]) == ("image", "clinical")
    assert test["difference"] == pytest.approx(8 / 9 - 3 / 9)
    curve = result["comparison"]["external_B"]["decision_curves"]["image"]
    at = curve["thresholds"].index(pytest.approx(0.5))
    # Two true and one false positive of six; the odds of one half are 1.
    assert curve["model"][at] == pytest.approx(2 / 6 - 1 / 6)
    assert result["models"]["clinical"]["external_B"]["auc"]["value"] == pytest.approx(3 / 9)
    # Mean of (0.9, 0.2, 0.6, 0.6, 0.3, 0.9) squared.
    assert result["models"]["clinical"]["external_B"]["brier"]["value"] == pytest.approx(2.47 / 6)
