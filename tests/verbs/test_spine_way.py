"""The whole way of a system with three classes, staged training and a held-out test set."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from msk_jax.data.privacy.pseudonyms import load_key, pseudonym
from msk_jax.data.shards.folds import load_folds, load_test_sets
from msk_jax.experiment import Ablation, load
from msk_jax.verbs import ablate
from tests.conftest import TINY_SPINE
from tests.verbs.conftest import verb

CLASSES = ("normal", "compression", "burst")
PROBS = [f"prob_{name}" for name in CLASSES]


def test_held_out_patients_are_in_no_fold(spine_shards):
    labels = json.loads((spine_shards / "cohort.json").read_text())["by_label"]
    folds, tested = load_folds(spine_shards), load_test_sets(spine_shards)["held-out"]
    assert len(tested) == 4 and not tested & set(folds) and len(folds) == 12
    assert sum(labels["patient"].values()) == 16 and sum(labels["image"].values()) == 16 * 4


def test_tables_and_figures(spine_run, spine_shards):
    table = pd.read_csv(spine_run / "predictions.csv")
    assert table["level"].value_counts().to_dict() == {"image": 48, "vertebra": 12, "patient": 12}
    np.testing.assert_allclose(table[PROBS].sum(axis=1), 1, atol=1e-5)
    images = table[table["level"] == "image"]
    assert images["unit_id"].str.contains("/axial|/sagittal").all()
    tested = pd.read_csv(spine_run / "test_set_predictions.csv")
    assert set(tested["patient_id"]) == load_test_sets(spine_shards)["held-out"]
    assert set(tested["fold"]) == {-1}
    metrics = json.loads((spine_run / "metrics.json").read_text())
    patient = metrics["levels"]["patient"]
    assert np.sum(patient["confusion"]) == 12
    assert np.sum(patient["test_sets"]["held-out"]["confusion"]) == 4
    rows = table[table["level"] == "patient"]
    called = rows[PROBS].to_numpy().argmax(axis=1)
    expected = cohen_kappa_score(rows["label"], called, weights="quadratic")
    assert patient["ordinal"]["kappa_quadratic"]["value"] == pytest.approx(expected)
    assert list(patient["cuts"]) == list(CLASSES[1:])
    assert set(patient["test_sets"]["held-out"]["cuts"]) == set(CLASSES[1:])
    assert 0 <= patient["train_accuracy"]["value"] <= 1
    assert patient["validation_accuracy"]["n"] == 12


def test_report_shows_the_published_figures(spine_run):
    verb("report", "--workdir", spine_run)
    page = (spine_run / "report.html").read_text()
    for text in (
        "95.75 %",
        "96.36 %",
        "another cohort",
        "three classes, normal, compression and",
        "Confusion matrix, vertebra, held-out",
        "Phases before the recipe",
        "Of 4 held-out patients",
        "Mean absolute error, steps",
        "ROC curves of the cuts",
    ):
        assert text in page, text


def test_predict_wants_the_places(spine_run, spine_cohort, tmp_path, refused):
    error = refused(
        "predict",
        "--workdir",
        spine_run,
        "--dicom",
        spine_cohort / "dicom",
        "--out",
        tmp_path / "none",
    )
    assert "Give --manifest with patient_id, level and centre_x_mm" in error


def test_predict_with_places_as_the_held_out_were(spine_run, spine_cohort, tmp_path, monkeypatch):
    """New patients by the manifest without labels: the held-out ones get what `evaluate` gave."""
    key = spine_cohort / "pseudonym.key"
    tested = pd.read_csv(spine_run / "test_set_predictions.csv")
    manifest = pd.read_csv(spine_cohort / "manifest.csv").drop(columns=["label"])
    names = manifest["patient_id"].map(lambda patient: pseudonym(patient, load_key(key)))
    told = names.isin(tested["patient_id"])
    other = manifest[~told].iloc[[0]]
    other = other.assign(centre_z_mm=other["centre_z_mm"] + 500)
    pd.concat([other, manifest[told]]).to_csv(tmp_path / "places.csv", index=False)
    written = _Written()
    monkeypatch.setattr("msk_jax.study.dicom_results.DicomResults", written)
    verb(
        "predict",
        "--workdir",
        spine_run,
        "--dicom",
        spine_cohort / "dicom",
        "--out",
        tmp_path / "new",
        "--manifest",
        tmp_path / "places.csv",
        "--key",
        key,
        "--dicom-results",
    )
    new = pd.read_csv(tmp_path / "new" / "predictions.csv")
    rejected = pd.read_csv(tmp_path / "new" / "rejected.csv")
    assert len(rejected) == 1 and "leaves the scan" in rejected["reason"][0]
    assert (new["level"] == "patient").sum() == 4 == len(list((tmp_path / "new").glob("*.png")))
    assert (new["called"] == np.array(CLASSES)[new[PROBS].to_numpy().argmax(axis=1)]).all()
    old = tested[tested["level"] == "patient"].set_index("patient_id")[PROBS]
    again = new[new["level"] == "patient"].set_index("patient_id")[PROBS]
    # The same pictures and networks, in batches of another size.
    np.testing.assert_allclose(again.loc[old.index], old, atol=1e-5)
    _check_heat_maps_say_what_they_show(written, new)


class _Written:
    """Stands for the writer of DICOM results, which needs highdicom: by series what its heat map is
    said to show."""

    def __init__(self):
        self.shown = {}

    def of(self, *_):
        return self

    def write(self, files, found, picture, shown, name):
        self.shown[name] = shown


def _check_heat_maps_say_what_they_show(written, new):
    """The surest image that is called a fracture, else the surest: its class is the map's."""
    images = new[new["level"] == "image"]
    images = images.assign(sure=images[PROBS].max(axis=1) + (images["called"] != CLASSES[0]))
    for series, rows in images.groupby(images["unit_id"].str.split("/").str[0]):
        assert written.shown[series] == rows.loc[rows["sure"].idxmax(), "called"]


def test_ablation_gives_the_macro_auc(spine_run, spine_shards, tmp_path):
    """Of the run that is there."""
    shutil.copytree(spine_run, tmp_path / "whole" / "seed_0")
    spine = load(TINY_SPINE)
    ablation = Ablation(spine.phantom, spine.split.folds, {"whole": {}})
    areas = ablate.run(spine, ablation, tmp_path, spine_shards, seeds=1).iloc[0]
    levels = json.loads((spine_run / "metrics.json").read_text())["levels"]
    for level, figures in levels.items():
        # Half a digit of float32 probabilities may change the order of two cases.
        assert areas[level] == pytest.approx(figures["macro_auc"]["value"], abs=1e-3)


@pytest.mark.parametrize(
    ("experiment", "label", "reason"),
    [
        (TINY_SPINE, "B", "both fractures are type A, so write the word"),
        (TINY_SPINE, "A3", "there is `thoracolumbar_ao`"),
        ("thoracolumbar_ao", "A", "does not say which step"),
        ("thoracolumbar_ao", "B2", "by another mechanism"),
        ("thoracolumbar_ao", "C", "displacement"),
        ("thoracolumbar_ao", "burst", "write A3 or A4"),
    ],
)
def test_other_words_are_refused_with_the_reason(
    experiment, label, reason, spine_cohort, tmp_path, capsys
):
    manifest = pd.read_csv(spine_cohort / "manifest.csv").replace({"label": {"burst": label}})
    manifest.to_csv(tmp_path / "letters.csv", index=False)
    verb(
        "build",
        experiment,
        "--dicom",
        spine_cohort / "dicom",
        "--manifest",
        tmp_path / "letters.csv",
        "--data-dir",
        tmp_path / "shards",
        status=2,
    )
    assert f"label {label!r} is not one of" in (error := capsys.readouterr().err)
    assert reason in error
    assert not (tmp_path / "shards").exists()


def test_audit_takes_no_word_of_the_run_for_a_phantom(spine_run, spine_shards, spine_cohort):
    for made in (spine_run, spine_shards):
        verb("audit", made, "--dicom", spine_cohort / "dicom")
