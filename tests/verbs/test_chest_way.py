"""The whole way of a system on radiographs: test sets by site, and models beside the network."""

import contextlib
import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from msk_jax.data.shards.folds import load_folds, load_test_sets
from msk_jax.data.shards.stored import read_records
from msk_jax.evaluation.classes.roc import delong
from msk_jax.experiment import load
from msk_jax.study.answers import Answers
from msk_jax.study.estimating import Patients, fit_stage
from msk_jax.study.patients import patients_of_records
from tests.conftest import REPOSITORY
from tests.verbs.conftest import verb

TINY_CHEST = str(REPOSITORY / "tests" / "tiny_chest.py")
SETS = ["out of fold", "held-out", "external_B", "external_C"]


@pytest.fixture(scope="module")
def chest(tmp_path_factory):
    """What `demo` leaves, with what it printed in `printed.txt`."""
    out = tmp_path_factory.mktemp("chest")
    # An earlier call was stopped while it rendered: settings are there, the manifest is not.
    (out / "cohort" / "dicom").mkdir(parents=True)
    (out / "cohort" / "phantom.json").write_text("{}")
    with (
        open(out / "printed.txt", "w") as file,
        contextlib.redirect_stdout(file),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr("msk_jax.study.heat_maps._PER_KIND", 1)
        verb("demo", TINY_CHEST, "--out", out)
    return out


def test_demo_goes_the_whole_way_and_takes_up_what_is_there(chest, capsys, monkeypatch):
    report = chest / "run" / "report.html"
    assert f"The report is {report}" in (chest / "printed.txt").read_text()
    assert "msk-jax demo tiny_chest.py" in report.read_text()
    made = (chest / "cohort" / "manifest.csv", chest / "run" / "fold_0" / "finished.json")
    stamps = [path.stat().st_mtime_ns for path in made]
    for later in ("evaluate", "report"):  # they start anew each time
        monkeypatch.setattr(f"msk_jax.verbs.{later}.run", lambda *_, **__: None)
    verb("demo", TINY_CHEST, "--out", chest)
    assert [path.stat().st_mtime_ns for path in made] == stamps
    verb("demo", TINY_CHEST, "--out", chest, "--patients", "47", status=2)
    assert "other settings" in capsys.readouterr().err


def test_sites_are_kept_apart_and_clinical_columns_are_carried(chest):
    folds, tested = load_folds(chest / "shards"), load_test_sets(chest / "shards")
    assert list(tested) == SETS[1:] and not set(folds) & set().union(*tested.values())
    found = pd.read_csv(chest / "run" / "predictions.csv")
    asked = pd.read_csv(chest / "run" / "test_set_predictions.csv")
    assert set(found["site"]) == {"A"} and found["patient_id"].nunique() == len(folds)
    for name, site in (("held-out", "A"), ("external_B", "B"), ("external_C", "C")):
        rows = asked[asked["test_set"] == name]
        assert set(rows["site"]) == {site} and set(rows["patient_id"]) == tested[name]
    manifest = pd.read_csv(chest / "cohort" / "manifest.csv")
    everybody = pd.concat([found, asked])
    everybody = everybody[everybody["level"] == "patient"]
    columns = ["age", "height", "weight", "bmi"]
    for column in columns:
        assert sorted(everybody[column]) == sorted(manifest[column])


def test_a_densitometry_column_takes_the_place_of_the_diagnosis(chest, tmp_path):
    """The same patients, told by their T-scores alone, have the same labels in the shards."""
    cohort = chest / "cohort"
    told = pd.read_csv(cohort / "manifest.csv", dtype=str).drop(columns="label")
    measured = pd.read_csv(cohort / "parameters.csv", dtype=str)[["patient_id", "t_score"]]
    assert (measured["t_score"].astype(float) != -2.5).all(), "rounding would make one ill"
    told.merge(measured, on="patient_id").to_csv(tmp_path / "dxa.csv", index=False)
    verb(
        "build",
        TINY_CHEST,
        "--dicom",
        cohort / "dicom",
        "--manifest",
        tmp_path / "dxa.csv",
        "--data-dir",
        tmp_path / "shards",
        "--key",
        cohort / "pseudonym.key",
    )
    diagnosed, found = (
        {record["patient_id"]: int(record["patient_label"]) for record in read_records(shards)}
        for shards in (chest / "shards", tmp_path / "shards")
    )
    assert found == diagnosed and set(found.values()) == {0, 1}


def test_models_beside_the_network(chest):
    run = chest / "run"
    metrics = json.loads((run / "metrics.json").read_text())
    assert list(metrics["models"]) == ["image", "clinical", "combined"]
    for model, by_set in metrics["models"].items():
        assert list(by_set) == SETS
        prefix = "" if model == "image" else f"{model}_"
        rows = pd.read_csv(run / f"{prefix}test_set_predictions.csv")
        rows = rows[(rows["test_set"] == "external_B") & (rows["level"] == "patient")]
        expected = delong(rows["label"].to_numpy(), rows["prob"].to_numpy())
        assert by_set["external_B"]["auc"]["value"] == expected.value
        assert by_set["external_B"]["n"] == len(rows)
    for name in SETS:
        tests = metrics["comparison"][name]["tests"]
        assert [(t["first"], t["second"]) for t in tests] == [
            ("image", "clinical"),
            ("image", "combined"),
            ("clinical", "combined"),
        ]


def test_heat_maps_are_held_against_the_masks(chest):
    """Every patient of the folds has bone; its share of the picture is what the masks say."""
    found = json.loads((chest / "run" / "metrics.json").read_text())["explained"]
    assert found["signs"] == "bone" and found["n"] == len(load_folds(chest / "shards"))
    true = pd.read_csv(chest / "cohort" / "parameters.csv")
    true = true[true["site"] == "A"].filter(regex="_share$").sum(axis=1)
    assert true.min() < found["area"]["value"] < true.max()
    gain = found["energy"]["value"] - found["area"]["value"]
    assert found["gain"]["value"] == pytest.approx(gain)
    assert found["shuffled"]["value"] != found["energy"]["value"]
    page = (chest / "run" / "report.html").read_text()
    assert "against masks of bone: of each of" in page and "blind map" in page


def test_a_model_is_fitted_without_the_patients_that_it_is_asked_about(chest):
    """Wrong labels of a fold change what is said of others, not of the fold itself."""
    experiment, run = load(TINY_CHEST), chest / "run"
    test = pd.read_csv(run / "predictions.csv")
    seen = pd.read_csv(run / "validation_predictions.csv")
    heard = Answers(_heard(test), tuple(_heard(seen[seen["fold"] == k]) for k in range(3)), ())
    heard = dataclasses.replace(heard, outside=(heard.out_of_fold[:0],) * 3)
    table = patients_of_records(experiment.cohort, read_records(chest / "shards"))
    folds = load_folds(chest / "shards")
    wrong = table.assign(
        label=table["label"].where(table.index.map(folds) != 0, 1 - table["label"])
    )
    combined = experiment.stage("combined")
    right, other = (
        fit_stage(
            experiment, combined, Patients(each, folds, {}), {"image": heard}, 0
        ).tables.test.set_index("patient_id")
        for each in (table, wrong)
    )
    rows = pd.read_csv(run / "combined_predictions.csv").set_index("patient_id")
    np.testing.assert_allclose(right["prob"], rows.loc[right.index, "prob"], atol=1e-12)
    same = np.isclose(right["prob"], other["prob"], atol=1e-9)
    # Fold 0 trains model 1 alone: of three folds, k tests, k + 1 validates, the third trains.
    assert same[right["fold"] == 0].all() and same[right["fold"] == 2].all()
    assert not same[right["fold"] == 1].all()


def _heard(table):
    """What the network says of patients, as the combined model reads it."""
    rows = table[table["level"] == "patient"].set_index("patient_id")
    return rows[["prob"]].set_axis(["image.probability"], axis=1)


def test_report_shows_the_published_areas_beside_ours(chest):
    page = (chest / "run" / "report.html").read_text()
    for text in (
        "0.917",
        "0.759",
        "0.532",
        "0.896",
        "site C (external)",
        "clinical model",
        "Differences of AUC, paired",
        "Decision curves, held-out (internal)",
        "these are not clinical figures",
    ):
        assert text in page, text


def _predict_one_of_b(chest, tmp_path, capsys, change=None):
    """Rows for a radiograph of no fold, and what was said; by a manifest where it is changed."""
    manifest = pd.read_csv(chest / "cohort" / "manifest.csv")
    row = manifest[manifest["site"] == "B"].iloc[:1]
    (tmp_path / "dicom").mkdir()
    image = (chest / "cohort" / "dicom" / row["path"].iloc[0]).read_bytes()
    (tmp_path / "dicom" / "new.dcm").write_bytes(image)
    more = ()
    if change is not None:
        change(row.drop(columns="label").assign(path="new.dcm")).to_csv(
            tmp_path / "new.csv", index=False
        )
        more = ("--manifest", tmp_path / "new.csv")
    verb(
        "predict",
        "--workdir",
        chest / "run",
        "--dicom",
        tmp_path / "dicom",
        "--out",
        tmp_path / "new",
        "--key",
        chest / "cohort" / "pseudonym.key",
        *more,
    )
    assert len(list((tmp_path / "new").glob("*.png"))) == 1
    return pd.read_csv(tmp_path / "new" / "predictions.csv"), " ".join(
        capsys.readouterr().out.split()
    )


def test_predict_from_the_checkpoint_alone(chest, tmp_path, capsys):
    """A radiograph of no fold gets what `evaluate` gave."""
    new, said = _predict_one_of_b(chest, tmp_path, capsys)
    known = pd.read_csv(chest / "run" / "test_set_predictions.csv")
    known = known[known["patient_id"] == new["patient_id"].iloc[0]]
    # Another batch, and so other rounding of single precision.
    np.testing.assert_allclose(new["prob"], known["prob"].iloc[0], atol=1e-5)
    assert len(new) == 3 and "prob_clinical" not in new
    assert "The clinical model is not asked: it wants age, sex, height, weight, bmi." in said
    assert "Give --manifest with patient_id" in said


def test_predict_asks_the_models_beside_the_network(chest, tmp_path, capsys):
    new, said = _predict_one_of_b(chest, tmp_path, capsys, lambda row: row)
    assert "is not asked" not in said
    (row,) = new[new["level"] == "patient"].to_dict("records")
    assert new[["prob_clinical", "prob_combined"]].count().tolist() == [1, 1]
    for name in ("clinical", "combined"):
        known = pd.read_csv(chest / "run" / f"{name}_test_set_predictions.csv")
        known = known.set_index("patient_id")["prob"][row["patient_id"]]
        np.testing.assert_allclose(row[f"prob_{name}"], known, atol=1e-5)


def test_predict_says_which_columns_the_models_beside_it_lack(chest, tmp_path, capsys):
    without = lambda row: row.drop(columns=["bmi", "weight"])  # noqa: E731
    new, said = _predict_one_of_b(chest, tmp_path, capsys, without)
    assert "The combined model is not asked: the manifest has no column weight, bmi." in said
    assert "prob_combined" not in new


def test_audit_takes_no_word_of_the_run_for_a_phantom(chest):
    for made in ("shards", "run"):
        verb("audit", chest / made, "--dicom", chest / "cohort" / "dicom")
