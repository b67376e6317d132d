"""The whole way of a system that reads a table, from phantom to prediction."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss

from msk_jax.data.privacy.pseudonyms import load_key, pseudonym
from msk_jax.data.shards.folds import load_folds, load_test_sets
from msk_jax.data.shards.stored import read_records
from msk_jax.evaluation.classes.roc import delong
from msk_jax.experiment import load
from msk_jax.methods.fitting import fit
from msk_jax.phantoms.fixation.variables import VARIABLES
from msk_jax.study.package import load_model
from msk_jax.study.patients import allowed_words, ordered_words, patients_of_records
from tests.conftest import REPOSITORY
from tests.verbs.conftest import verb

TINY_TABLE = str(REPOSITORY / "tests" / "tiny_table.py")
STAGES = ["xgboost", "logistic", "forest", "stacked"]


@pytest.fixture(scope="module")
def table(made_once, need):
    """What `demo` leaves."""
    need("xgboost", "shap")
    return made_once("table_demo", lambda out: verb("demo", TINY_TABLE, "--out", out))


def test_no_image_is_asked_for_and_none_is_written(table):
    assert not (table / "cohort" / "dicom").exists()
    records = list(read_records(table / "shards"))
    assert len(records) == 150 and "volume" not in records[0]
    manifest = pd.read_csv(table / "cohort" / "manifest.csv", dtype=str, keep_default_na=False)
    assert set(manifest) - {"patient_id", "label", "site"} == {v.name for v in VARIABLES}
    secret = load_key(table / "cohort" / "pseudonym.key")
    by_name = {record["patient_id"]: record for record in records}
    for row in manifest.to_dict("records")[::29]:
        record = by_name[pseudonym(row["patient_id"], secret)]
        assert record["garden"] == row["garden"] and record["site"] == row["site"]
        stated = float(row["blood_loss"] or "nan")
        assert record["blood_loss"] == pytest.approx(stated, nan_ok=True, rel=1e-6)
    assert not (table / "shards" / "quality.csv").exists()


def test_every_patient_is_predicted_by_the_model_that_never_saw_them(table):
    folds, run = load_folds(table / "shards"), table / "run"
    for stage in STAGES:
        prefix = "" if stage == "xgboost" else f"{stage}_"
        rows = pd.read_csv(run / f"{prefix}predictions.csv")
        assert dict(zip(rows["patient_id"], rows["fold"], strict=True)) == folds
        assert set(rows["level"]) == {"patient"}
        tested = pd.read_csv(run / f"{prefix}test_set_predictions.csv")
        for name, patients in load_test_sets(table / "shards").items():
            assert set(tested[tested["test_set"] == name]["patient_id"]) == set(patients)


def test_a_fold_is_what_the_estimator_gives_when_it_is_called(table):
    """Fitted on the training patients alone, also what it selects; and log-loss by scikit-learn."""
    experiment, folds = load(TINY_TABLE), load_folds(table / "shards")
    patients = patients_of_records(experiment.cohort, read_records(table / "shards"))
    stage, place, k = experiment.stage("logistic"), 1, 2
    trained = [n for n in patients.index if folds.get(n) == 1]  # of three, k tests, k + 1 validates
    seed = int(np.random.SeedSequence((0, place, k)).generate_state(1)[0] >> 1)
    cohort = experiment.cohort
    member = fit(
        stage.method,
        patients.loc[trained, list(stage.reads)],
        patients.loc[trained, "label"].to_numpy(),
        2,
        allowed_words(cohort),
        ordered_words(cohort),
        np.array(trained),
        seed,
    )
    rows = pd.read_csv(table / "run" / "logistic_predictions.csv")
    rows = rows[rows["fold"] == k].set_index("patient_id")
    said = member.predict(patients.loc[rows.index, list(stage.reads)])[:, 1]
    np.testing.assert_allclose(rows["prob"], said, rtol=0, atol=1e-12)
    saved = load_model(table / "run").estimators["logistic"][k]
    assert saved.selected == member.selected and 0 < len(saved.selected) < 60
    whole = pd.read_csv(table / "run" / "logistic_predictions.csv")
    metrics = json.loads((table / "run" / "metrics.json").read_text())
    figure = metrics["models"]["logistic"]["out of fold"]["log_loss"]["value"]
    assert figure == pytest.approx(log_loss(whole["label"], whole["prob"]), abs=1e-12)


def test_all_models_are_compared_in_all_sets(table):
    metrics = json.loads((table / "run" / "metrics.json").read_text())
    assert list(metrics["models"]) == STAGES
    sets = ["out of fold", "held-out", "external_B", "external_C", "external_D", "external"]
    assert list(metrics["models"]["forest"]) == sets
    rows = pd.read_csv(table / "run" / "forest_test_set_predictions.csv")
    rows = rows[rows["test_set"] == "external_B"]
    expected = delong(rows["label"].to_numpy(), rows["prob"].to_numpy())
    assert metrics["models"]["forest"]["external_B"]["auc"]["value"] == expected.value
    assert len(metrics["comparison"]["held-out"]["tests"]) == 6


def test_contributions_add_up_by_patient_and_rank_the_variables(table):
    run = table / "run"
    metrics = json.loads((run / "metrics.json").read_text())["contributions"]
    assert list(metrics) == STAGES
    said = pd.read_csv(run / "logistic_contributions.csv")
    shapley = said[said["kind"] == "shapley"].set_index("patient_id")
    values = shapley.drop(columns=["fold", "kind", "unit"])
    rows = pd.read_csv(run / "logistic_predictions.csv").set_index("patient_id").loc[values.index]
    odds = np.log(rows["prob"] / (1 - rows["prob"]))
    # What is left is the mean of the fold's background: one number a fold.
    left = (odds - values.sum(axis=1)).groupby(rows["fold"])
    assert (left.max() - left.min() < 1e-9).all()
    order = values.abs().mean().sort_values(ascending=False, kind="stable")
    assert metrics["logistic"]["variables"] == list(order.index)
    assert metrics["logistic"]["shapley"] == pytest.approx(order.tolist())
    page = (run / "report.html").read_text()
    for text in (
        "What the variables contribute",
        "stacked model",
        "Log loss",
        "The table was computed",
    ):
        assert text in page, text
    assert "The published figures are of another cohort" not in page


def test_predict_says_of_new_patients_what_the_mean_of_all_members_is(table, tmp_path, capsys):
    """Patients of another hospital, asked as if they were new: the answers of the test set."""
    manifest = pd.read_csv(table / "cohort" / "manifest.csv", dtype=str, keep_default_na=False)
    new = manifest[manifest["site"] == "B"].drop(columns=["label"])
    new.to_csv(tmp_path / "new.csv", index=False)
    key = table / "cohort" / "pseudonym.key"
    given = ["--workdir", table / "run", "--manifest", tmp_path / "new.csv", "--key", key]
    verb("predict", *given, "--out", tmp_path / "out")
    assert f"{len(new)} patients predicted" in " ".join(capsys.readouterr().out.split())
    said = pd.read_csv(tmp_path / "out" / "predictions.csv").set_index("patient_id")
    for stage in STAGES:
        prefix, column = ("", "prob") if stage == "xgboost" else (f"{stage}_", f"prob_{stage}")
        rows = pd.read_csv(table / "run" / f"{prefix}test_set_predictions.csv")
        rows = rows[rows["test_set"] == "external_B"].set_index("patient_id")
        np.testing.assert_allclose(said.loc[rows.index, column], rows["prob"], atol=1e-9)
    limit = json.loads((table / "run" / "model" / "operating_points.json").read_text())["patient"]
    assert (said["positive"] == (said["prob"] >= limit)).all()
    # A column is missing: the stages that read it, and who hears them, are not asked.
    new.drop(columns=["vas"]).to_csv(tmp_path / "new.csv", index=False)
    verb("predict", *given, "--out", tmp_path / "less", status=2)
    printed = " ".join(capsys.readouterr())
    assert "Nothing can be predicted" in " ".join(printed.split())


def test_the_same_command_goes_on_and_another_seed_is_refused(table, tmp_path, refused):
    run = shutil.copytree(table / "run", tmp_path / "run")
    before = (run / "predictions.csv").read_bytes()
    (run / "outputs.json").unlink()
    (run / "predictions.csv").unlink()
    places = ["--data-dir", table / "shards", "--workdir", run]
    verb("train", TINY_TABLE, *places)
    assert (run / "predictions.csv").read_bytes() == before
    assert "seed: 0 before, 1 now" in refused("train", TINY_TABLE, *places, "--seed", "1")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            ["build", TINY_TABLE, "--dicom", ".", "--manifest", "m.csv", "--data-dir", "d"],
            "Leave --dicom out",
        ),
        (
            ["ablate", TINY_TABLE, "--out", "o"],
            "is for networks, and tiny_table learns from a table",
        ),
        (["tpu-check", TINY_TABLE], "is for networks"),
    ],
)
def test_what_a_table_has_not_is_refused(command, words, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert words in refused(*command)


def test_a_table_without_rows_and_one_with_a_patient_twice(table, tmp_path, capsys):
    lines = (table / "cohort" / "manifest.csv").read_text().splitlines()
    build = ["build", TINY_TABLE, "--manifest", tmp_path / "m.csv", "--data-dir", tmp_path / "d"]
    (tmp_path / "m.csv").write_text(lines[0] + "\n")
    verb(*build, status=2)
    assert "it has no rows" in capsys.readouterr().err
    (tmp_path / "m.csv").write_text("\n".join([*lines, lines[1]]) + "\n")
    verb(*build, status=2)
    message = " ".join(capsys.readouterr().err.split())
    assert f"rows 2, 152: patient {lines[1].split(',')[0]} is given twice" in message
