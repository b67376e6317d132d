"""The whole way of a system with views, sites, words in its table, and readers."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from msk_jax.data.shards.folds import load_folds
from msk_jax.data.shards.stored import read_records
from msk_jax.experiment import Ablation, load
from msk_jax.study.listener import SILENT
from msk_jax.study.readers import read_or_simulate
from msk_jax.verbs import ablate
from tests.conftest import REPOSITORY
from tests.verbs.conftest import verb

TINY_KNEE = str(REPOSITORY / "tests" / "tiny_knee.py")


@pytest.fixture(scope="module")
def knee(tmp_path_factory):
    out = tmp_path_factory.mktemp("knee")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("msk_jax.study.heat_maps._PER_KIND", 1)
        verb("demo", TINY_KNEE, "--out", out)
    return out


@pytest.fixture(scope="module")
def metrics(knee):
    return json.loads((knee / "run" / "metrics.json").read_text())


def _rows(knee, level):
    run = knee / "run"
    found = pd.concat(
        pd.read_csv(run / f"{name}.csv") for name in ("predictions", "test_set_predictions")
    )
    return found[found["level"] == level]


def test_a_patient_is_the_mean_of_the_views_and_keeps_the_bone(knee):
    views, patients = _rows(knee, "radiograph"), _rows(knee, "patient").set_index("patient_id")
    assert set(views["unit_id"].str.rsplit("/").str[-1]) == {"AP", "LL"} and len(views) == 72
    means = views.groupby("patient_id")["prob"].mean()
    np.testing.assert_allclose(means, patients.loc[means.index, "prob"], atol=1e-12)
    manifest = pd.read_csv(knee / "cohort" / "manifest.csv").drop_duplicates("patient_id")
    assert sorted(patients["bone"]) == sorted(manifest["bone"])
    assert set(patients["bone"]) == {"femur", "tibia"}  # by chance no fibula among them


def test_a_variant_of_the_ablation_has_one_view(knee, tmp_path):
    """Shards of its own, of the same patients in the same folds, from the same phantom."""
    (tmp_path / "phantom").symlink_to(knee / "cohort")
    experiment, changes = load(TINY_KNEE), {"cohort.radiograph.region.views": ("AP",)}
    ablation = Ablation(experiment.phantom, experiment.split.folds, {"AP": changes})
    ap = ablate.variant(experiment, ablation, changes)
    single, both = (
        ablate.phantom_shards(cut, ablation, tmp_path, changed)
        for cut, changed in ((ap, {"views": ("AP",)}), (experiment, {}))
    )
    assert {record["unit_id"].rsplit("/")[-1] for record in read_records(single)} == {"AP"}
    assert len(list(read_records(both))) == 2 * len(list(read_records(single)))
    assert load_folds(single) == load_folds(both)


def test_all_other_sites_together_are_a_test_set_too(metrics):
    by_set = metrics["models"]["clinical"]
    sites = [name for name in by_set if name.startswith("external_")]
    assert len(sites) == 3 and by_set["external"]["n"] == sum(by_set[s]["n"] for s in sites)


def test_simulated_readers_of_all_test_patients(knee, metrics):
    run, readers = knee / "run", metrics["readers"]
    tested = pd.read_csv(run / "test_set_predictions.csv")
    tested = tested[tested["level"] == "patient"].set_index("patient_id")
    ratings = pd.read_csv(run / "ratings.csv")
    assert readers["simulated"] and set(ratings["case"]) == set(tested.index)
    assert readers["analysis"]["n"]["readers"] == 16
    assert (ratings["truth"] == tested.loc[ratings["case"], "label"].to_numpy()).all()
    verb("mrmc", "--ratings", run / "ratings.csv", "--out", knee / "mrmc")
    alone = json.loads((knee / "mrmc" / "mrmc.json").read_text())
    assert alone["overall"]["p"] == readers["analysis"]["overall"]["p"]


def test_features_are_of_patients_whom_the_network_never_saw(knee, metrics):
    features = metrics["features"]
    splits = json.loads((knee / "shards" / "splits.json").read_text())
    tested = {name: len(patients) for name, patients in splits["test_sets"].items()}
    tested["test fold"] = len(splits["folds"][0])
    assert {name: features["set"].count(name) for name in tested} == tested
    assert features["n"] == len(features["x"]) == sum(tested.values())
    assert "How the network sorts patients" in (knee / "run" / "report.html").read_text()


def test_report_says_that_readers_are_simulated(knee):
    page = (knee / "run" / "report.html").read_text()
    for text in (
        "These readers are simulated",
        "no person has read a case",
        "0.966",
        "0.637",
        "72.4\u202f%",
        "91.4\u202f%",
        "The published network alone: 93.1",
        "all other sites (external)",
        "McNemar",
        "these are not clinical figures",
        "junior (6)",
        "osteosarcoma, called",
        "giant cell tumour, called",
    ):
        assert text in page, text


def test_real_readers_take_their_place(knee, tmp_path):
    run = shutil.copytree(knee / "run", tmp_path / "run")
    ratings = pd.read_csv(run / "ratings.csv").drop(columns="reading_time")
    ratings[ratings["group"] == "senior"].to_csv(tmp_path / "real.csv", index=False)
    tested = pd.read_csv(run / "test_set_predictions.csv")
    sets = dict(list(tested.groupby("test_set")))
    readers = read_or_simulate(load(TINY_KNEE), sets, 0.5, run, tmp_path / "real.csv", SILENT)
    assert not readers["simulated"] and readers["analysis"]["n"]["readers"] == 5
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps({**metrics, "readers": readers}))
    verb("report", "--workdir", run)
    page = (run / "report.html").read_text()
    assert "simulated" not in page.partition("Readers without and with")[2].partition("<h2>")[0]


def test_predict_pools_the_views_of_a_patient(knee, tmp_path):
    manifest = pd.read_csv(knee / "cohort" / "manifest.csv")
    rows = manifest[manifest["patient_id"] == manifest.loc[manifest["site"] == "B"].iloc[0, 0]]
    (tmp_path / "dicom").mkdir()
    for path in rows["path"]:
        shutil.copy(knee / "cohort" / "dicom" / path, tmp_path / "dicom")
    verb(
        "predict",
        "--workdir",
        knee / "run",
        "--dicom",
        tmp_path / "dicom",
        "--out",
        tmp_path / "new",
        "--key",
        knee / "cohort" / "pseudonym.key",
    )
    new = pd.read_csv(tmp_path / "new" / "predictions.csv")
    (whole,) = new[new["level"] == "patient"].to_dict("records")
    known = _rows(knee, "patient").set_index("patient_id").loc[whole["patient_id"], "prob"]
    # Another batch, and so other rounding of single precision.
    assert whole["prob"] == pytest.approx(known, abs=1e-5)
    assert len(new[new["level"] == "radiograph"]) == 2


def test_audit_takes_no_word_of_the_run_for_a_phantom(knee):
    for made in ("shards", "run"):
        verb("audit", knee / made, "--dicom", knee / "cohort" / "dicom")
