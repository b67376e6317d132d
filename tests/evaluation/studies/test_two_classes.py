import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from msk_jax.errors import UserError
from msk_jax.evaluation.settings import EvaluationSettings
from msk_jax.evaluation.tables.predictions import pool
from tests.two_classes import judge_two

FAST = EvaluationSettings(bootstrap_samples=200)
FOLDS = 4


def _study(patients=24, slices=4, seed=0, effect=1.2):
    """Test and validation tables; model k validates on the test fold of model k + 1."""
    rng = np.random.default_rng(seed)
    test, validation, joints, persons = [], [], {}, {}
    for number in range(patients):
        sick = number % 2
        name, fold = f"p{number:02d}", number // 2 % FOLDS
        persons[name] = sick
        shift = rng.normal(0, 0.7)
        for side in ("left", "right"):
            joints[f"{name}/{side}"] = sick
            for index in range(slices):
                row = {
                    "patient_id": name,
                    "unit_id": f"{name}/{side}/{index}",
                    "level": "slice",
                    "label": sick,
                }
                draws = 1 / (1 + np.exp(-(effect * (2 * sick - 1) + shift + rng.normal(0, 1, 2))))
                test.append({**row, "fold": fold, "prob": draws[0]})
                validation.append({**row, "fold": (fold - 1) % FOLDS, "prob": draws[1]})
    return tuple(pool(pd.DataFrame(rows), joints, persons) for rows in (test, validation))


def _thresholds(metrics, level):
    return [entry["threshold"] for entry in metrics["levels"][level]["thresholds"]["per_fold"]]


def test_result_is_json_and_agrees_with_the_tables():
    test, validation = _study()
    metrics = judge_two(test, validation, FAST)
    text = json.dumps(metrics, allow_nan=False)
    assert json.loads(text) == metrics
    for level, count in (("slice", 192), ("joint", 48), ("patient", 24)):
        figures, rows = metrics["levels"][level], test[test["level"] == level]
        assert (figures["n"], figures["positives"]) == (count, count // 2)
        assert figures["auc"]["value"] == pytest.approx(roc_auc_score(rows["label"], rows["prob"]))
        limits = dict(enumerate(_thresholds(metrics, level)))
        called = rows["prob"] >= rows["fold"].map(limits)
        found, false_alarms = (called[rows["label"] == label].mean() for label in (1, 0))
        assert figures["sensitivity"]["value"] == pytest.approx(found)
        assert figures["specificity"]["value"] == pytest.approx(1 - false_alarms)
        assert sum(figures["confusion"].values()) == count
        assert len(figures["roc"]["band"]["low"]) == 101


def test_units_of_a_patient_do_not_count_as_patients():
    slices = judge_two(*_study(slices=8), FAST)["levels"]["slice"]
    for name in ("sensitivity", "specificity"):
        naive, clustered = slices[name], slices[name]["clustered"]
        assert clustered["high"] - clustered["low"] > 1.3 * (naive["high"] - naive["low"])
    assert slices["auc"]["method"] == "Obuchowski, logit"


def test_patients_have_no_clustered_interval_and_delong():
    patients = judge_two(*_study(), FAST)["levels"]["patient"]
    assert patients["sensitivity"]["clustered"] is None
    assert patients["auc"]["method"].startswith("DeLong")


@pytest.mark.parametrize("criterion", ["youden", "sensitivity"])
def test_labels_of_a_test_fold_cannot_move_its_threshold(criterion):
    settings = EvaluationSettings(criterion=criterion, bootstrap_samples=20)
    test, validation = _study()
    before = judge_two(test, validation, settings)
    tested = set(test.loc[test["fold"] == 2, "patient_id"])
    flipped = [
        table.assign(
            label=table["label"].where(~table["patient_id"].isin(tested), 1 - table["label"])
        )
        for table in (test, validation)
    ]
    after = judge_two(*flipped, settings)
    for level in ("slice", "joint", "patient"):
        old, new = _thresholds(before, level), _thresholds(after, level)
        assert old[2] == new[2]
    # The labels do matter to the other folds, or the test above would prove nothing.
    assert _thresholds(before, "slice") != _thresholds(after, "slice")


def test_thresholds_come_from_the_validation_table():
    test, validation = _study()
    shifted = test.assign(prob=test["prob"] / 2)
    one, other = (judge_two(table, validation, FAST) for table in (test, shifted))
    assert _thresholds(one, "joint") == _thresholds(other, "joint")
    assert one["levels"]["joint"]["sensitivity"] != other["levels"]["joint"]["sensitivity"]


def test_threshold_by_hand():
    def table(fold_of, probs):
        rows = [(f"p{i}", f"p{i}", "patient", fold_of(i), i % 2, p) for i, p in enumerate(probs)]
        columns = ["patient_id", "unit_id", "level", "fold", "label", "prob"]
        return pd.DataFrame(rows, columns=columns)

    probs = [0.1, 0.7, 0.3, 0.9, 0.6, 0.8]
    test = table(lambda i: i // 2, [0.2, 0.5, 0.2, 0.5, 0.2, 0.75])
    validation = table(lambda i: (i // 2 + 1) % 3, probs)
    patients = judge_two(test, validation, FAST)["levels"]["patient"]
    # Outside fold 0: 0.3 0.6 | 0.8 0.9 -> 0.7; outside 1: 0.1 0.6 | 0.7 0.8; outside 2: 0.1 0.3 |
    # 0.7 0.9.
    limits = [entry["threshold"] for entry in patients["thresholds"]["per_fold"]]
    assert limits == pytest.approx([0.7, 0.65, 0.5])
    assert patients["thresholds"]["predict"]["threshold"] == pytest.approx(0.65)
    assert patients["confusion"] == {"tp": 1, "fp": 0, "tn": 3, "fn": 2}


def test_one_class_only_says_why():
    test, validation = _study()
    healthy = [table[table["label"] == 0] for table in (test, validation)]
    metrics = judge_two(*healthy, FAST)
    json.dumps(metrics, allow_nan=False)
    for level in metrics["levels"].values():
        assert level["auc"]["value"] is None and "both classes" in level["auc"]["why"]
        assert level["sensitivity"]["value"] is None and "Fold 0" in level["sensitivity"]["why"]
        assert level["roc"] is None and level["confusion"] is None


def test_without_validation_there_is_an_area_but_no_decision():
    test, validation = _study()
    metrics = judge_two(test, validation.iloc[:0], FAST)
    patients = metrics["levels"]["patient"]
    assert patients["auc"]["value"] is not None
    assert patients["specificity"]["value"] is None and patients["why"]


def test_a_level_that_is_not_there_says_so():
    test, validation = _study()
    patients = [table[table["level"] == "patient"] for table in (test, validation)]
    metrics = judge_two(*patients, FAST)
    assert metrics["levels"]["slice"]["n"] == 0
    assert "no predictions of level slice" in metrics["levels"]["slice"]["why"]
    assert metrics["levels"]["patient"]["sensitivity"]["value"] is not None


def test_overlapping_folds_are_refused():
    test, validation = _study()
    with pytest.raises(UserError, match="the folds overlap"):
        judge_two(test, validation.assign(fold=(validation["fold"] + 1) % FOLDS), FAST)
