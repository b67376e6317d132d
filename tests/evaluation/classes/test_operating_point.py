"""A run's own tables judged as anybody's: by the rule of `evaluate_classes`, beside it."""

import numpy as np
import pandas as pd
import pytest

from msk_jax.errors import UserError
from msk_jax.evaluation.classes.recalibration import recalibrate
from msk_jax.evaluation.settings import EvaluationSettings
from msk_jax.evaluation.studies.model_study import ModelSettings, evaluate_model
from msk_jax.evaluation.tables.case_table import read_cases
from msk_jax.evaluation.tables.predictions import read_predictions, write_predictions
from tests.two_classes import judge_two

LEVELS = ("image", "unit", "patient")
SETTINGS = ModelSettings(bootstrap_samples=20)


@pytest.fixture
def tables(tmp_path):
    """Out-of-fold and validation predictions of 30 patients in three folds, as of a run."""
    rng = np.random.default_rng(4)
    names, labels = [f"P{k:02d}" for k in range(30)], np.arange(30) // 3 % 2
    folds = np.arange(30) % 3
    rows = pd.DataFrame({"patient_id": names, "unit_id": names, "label": labels})
    rows = rows.assign(level="patient")

    def predicted(by):
        # Every model has a scale of its own, so that one threshold would not do.
        return 1 / (1 + np.exp(-(2 * labels - 1 + rng.standard_normal(30) - by)))

    paths = tmp_path / "predictions.csv", tmp_path / "validation_predictions.csv"
    write_predictions(rows.assign(fold=folds, prob=predicted(folds)), paths[0])
    models = (folds - 1) % 3
    write_predictions(rows.assign(fold=models, prob=predicted(models)), paths[1])
    return paths


def test_the_validation_of_a_run_chooses_as_the_run_does(tables):
    cases = read_cases(tables[0])
    found = evaluate_model(cases, SETTINGS, validation=read_cases(tables[1], several_models=True))
    test, validation = (
        read_predictions(path, role, LEVELS)
        for path, role in zip(tables, ("test", "validation"), strict=True)
    )
    settings = EvaluationSettings(bootstrap_samples=20)
    run = judge_two(test, validation, settings, LEVELS)["levels"]["patient"]
    per_fold = [(e["fold"], e["threshold"]) for e in run["thresholds"]["per_fold"]]
    assert [(e["fold"], e["value"]) for e in found["threshold"]["per_fold"]] == per_fold
    assert len({value for _, value in per_fold}) == 3 and found["threshold"]["value"] is None
    assert found["confusion"] == run["confusion"]
    for name in ("auc", "sensitivity", "specificity", "ppv", "npv"):
        assert found["figures"][name]["value"] == run[name]["value"]


def test_recalibration_never_sees_the_patients_of_its_fold(tables):
    cases, validation = read_cases(tables[0]), read_cases(tables[1])
    again = evaluate_model(cases, SETTINGS, validation=validation)["recalibration"]
    outside = validation[~validation["patient_id"].isin(cases[cases["fold"] == "1"]["patient_id"])]
    line = recalibrate(outside["label"].to_numpy(), outside["prob"].to_numpy()).x
    entry = again["per_fold"][1]
    assert (entry["fold"], entry["intercept"], entry["slope"]) == pytest.approx((1, *line))
    assert again["slope"] is None and again["figures"]["brier"]["value"] > 0


def test_a_case_may_be_predicted_by_several_models(tables):
    validation = pd.read_csv(tables[1])
    other = validation.assign(fold=(validation["fold"] + 2) % 3, prob=0.5)
    tested = pd.read_csv(tables[0]).set_index("patient_id")["fold"]
    other = other[other["fold"] != other["patient_id"].map(tested)]
    pd.concat([validation, other]).to_csv(tables[1], index=False)
    with pytest.raises(UserError, match="are there twice"):
        read_cases(tables[1])
    both = read_cases(tables[1], several_models=True)
    assert len(both) == len(validation) + len(other) > 30
    evaluate_model(read_cases(tables[0]), SETTINGS, validation=both)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"drop": "fold"}, "in the validation file and in the predictions .* column fold"),
        ({"fold": "a"}, "The validation file has a column fold that is not whole numbers"),
        ({"fold": 0}, "are of the model that the predictions test on the same patient"),
        ({"label": 1}, "holds one class only outside fold 0"),
    ],
)
def test_validation_that_would_leak_is_refused(tables, change, message):
    validation = pd.read_csv(tables[1])
    if "drop" in change:
        validation = validation.drop(columns="fold")
    else:
        validation = validation.assign(**change)
    validation.to_csv(tables[1], index=False)
    with pytest.raises(UserError, match=message):
        evaluate_model(read_cases(tables[0]), SETTINGS, validation=read_cases(tables[1]))


def test_a_patient_in_two_test_folds_is_refused(tables):
    cases = read_cases(tables[0])
    cases.loc[1, "patient_id"] = cases.loc[0, "patient_id"]
    with pytest.raises(UserError, match="patient P00 in two test folds"):
        evaluate_model(cases, SETTINGS, validation=read_cases(tables[1]))
