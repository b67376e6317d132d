"""Every verb in turn on tiny phantom patients, by the command line, and what each leaves behind."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from msk_jax.cli import main
from msk_jax.data.folds import load_folds
from tests.conftest import TINY


def _run(*args, status=0):
    """Run one command as if typed; the exit status must be `status`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["msk-jax", *map(str, args)])
        try:
            main()
            code = 0
        except SystemExit as left:
            code = left.code or 0
    assert code == status


@pytest.fixture(scope="module")
def run(shards, tmp_path_factory):
    """A trained and evaluated workdir."""
    workdir = tmp_path_factory.mktemp("run") / "run"
    _run("train", TINY, "--data-dir", shards, "--workdir", workdir)
    _run("evaluate", TINY, "--data-dir", shards, "--workdir", workdir)
    return workdir


def test_predictions_are_out_of_fold_and_complete(run, shards):
    table = pd.read_csv(run / "predictions.csv")
    folds = load_folds(shards)
    assert list(table.columns) == [
        "patient_id", "unit_id", "level", "fold", "label", "prob", "site", "age", "sex",
    ]  # fmt: skip
    assert dict(zip(table["patient_id"], table["fold"], strict=True)) == folds
    assert table["unit_id"].is_unique
    patients = table[table["level"] == "patient"]
    assert len(patients) == 9
    assert (table["level"] == "joint").sum() == 18
    joints = table[table["level"] == "joint"].assign(
        side=lambda t: t["unit_id"].str.split("/").str[1]
    )
    slices = table[table["level"] == "slice"]
    by_joint = slices.groupby(slices["unit_id"].str.rsplit("/", n=1).str[0])["prob"].mean()
    np.testing.assert_allclose(joints.set_index("unit_id")["prob"], by_joint[joints["unit_id"]])
    highest = joints.groupby("patient_id")["prob"].max()
    np.testing.assert_allclose(
        patients.set_index("patient_id")["prob"], highest[patients["patient_id"]]
    )
    validation = pd.read_csv(run / "validation_predictions.csv")
    tested = validation["patient_id"].map(folds)
    # Model k validates on fold k + 1.
    assert ((validation["fold"] + 1) % 3 == tested).all()


def test_labels_are_those_of_the_manifest(run, phantom_cohort):
    from msk_jax.data.deidentify import load_key, pseudonym

    key = load_key(phantom_cohort / "pseudonym.key")
    manifest = pd.read_csv(phantom_cohort / "manifest.csv")
    table = pd.read_csv(run / "predictions.csv")
    joints = table[table["level"] == "joint"].set_index("unit_id")["label"]
    for row in manifest.itertuples():
        unit_id = f"{pseudonym(row.patient_id, key)}/{row.side}"
        assert joints[unit_id] == int(row.label == "sacroiliitis")


def test_report_is_one_page_with_everything(run):
    _run("report", "--workdir", run)
    page = (run / "report.html").read_text()
    for words in ("not clinical", "91.3", "95.2", "Grad-CAM", "msk-jax train", "another cohort"):
        assert words in page, words
    index = json.loads((run / "cam" / "index.json").read_text())
    assert index and all((run / "cam" / entry["file"]).stat().st_size > 5000 for entry in index)
    assert "PHANTOM-" not in page, "an identifier of the source headers is in the report"


def test_a_second_train_has_nothing_to_do_and_other_settings_are_refused(run, shards, capsys):
    before = (run / "fold_0" / "history.csv").read_bytes()
    _run("train", TINY, "--data-dir", shards, "--workdir", run)
    assert (run / "fold_0" / "history.csv").read_bytes() == before
    _run("train", TINY, "--data-dir", shards, "--workdir", run, "--epochs", 5, status=2)
    error = capsys.readouterr().err
    assert "stage.recipe.epochs: 2 before, 5 now" in error and "Traceback" not in error


def test_predict_needs_the_model_folder_alone(run, phantom_cohort, tmp_path):
    """Same pictures, same networks: every joint's ensemble mean lies within its members' range."""
    shutil.copytree(run / "model", tmp_path / "model")
    some = sorted((phantom_cohort / "dicom").iterdir())[:2]
    for folder in some:
        shutil.copytree(folder, tmp_path / "new" / folder.name)
    (tmp_path / "new" / "notes.txt").write_text("not an image")
    key = phantom_cohort / "pseudonym.key"
    _run(
        "predict", "--workdir", tmp_path / "model", "--dicom", tmp_path / "new",
        "--out", tmp_path / "out", "--key", key,
    )  # fmt: skip
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    known = pd.read_csv(run / "predictions.csv")
    assert set(table["level"]) == {"slice", "joint", "patient"}
    assert set(table["patient_id"]) < set(known["patient_id"])
    assert (table["positive"] == (table["prob"] >= table["threshold"])).all()
    assert len(list((tmp_path / "out").glob("P-*.png"))) == 2
    assert pd.read_csv(tmp_path / "out" / "rejected.csv").empty
    # A joint predicted from DICOM has as many stacks as the shards gave it.
    counts = table[table["level"] == "slice"].groupby("patient_id").size()
    expected = known[known["level"] == "slice"].groupby("patient_id").size()
    assert (counts == expected[counts.index]).all()
    _run(
        "predict", "--workdir", tmp_path / "model", "--dicom", tmp_path / "new",
        "--out", tmp_path / "out", status=2,
    )  # fmt: skip


def test_one_member_predicts_from_dicom_what_it_predicted_from_the_shards(
    run, shards, phantom_cohort
):
    """The two ways in, shards and DICOM, give a network the same numbers."""
    import jax

    from msk_jax.data.deidentify import load_key, pseudonym
    from msk_jax.data.dicom import read_series, scan
    from msk_jax.training.parallel import AXIS, parallel_predict, predict_all
    from msk_jax.verbs.predict import load_model

    saved = load_model(run)
    found = scan(phantom_cohort / "dicom")
    _uid, files = sorted(found.series.items())[0]
    series = read_series(files)
    key = load_key(phantom_cohort / "pseudonym.key")
    name = pseudonym(series.patient_id, key)
    known = pd.read_csv(run / "predictions.csv").set_index("unit_id")["prob"]
    fold = load_folds(shards)[name]
    predict = parallel_predict(saved.stage.model.build(axis_name=AXIS), saved.stage.preprocess)
    for side, joint in saved.experiment.cohort.region.extract(series).items():
        stacks = np.stack([np.moveaxis(joint.voxels[c - 1 : c + 2], 0, -1)
                           for c in range(2, len(joint.z_mm) - 2)])  # fmt: skip
        batch = 4 * jax.local_device_count()
        batches = [stacks[i : i + batch] for i in range(0, len(stacks), batch)]
        probabilities = predict_all(predict, saved.members[fold], batches, batch)[:, 1]
        expected = [known[f"{name}/{side}/{k}"] for k in range(len(stacks))]
        np.testing.assert_allclose(probabilities, expected, rtol=1e-5, atol=1e-6)


def test_same_seed_same_bits(run, shards, tmp_path):
    _run("train", TINY, "--data-dir", shards, "--workdir", tmp_path / "again", "--fold", 1)
    assert (tmp_path / "again/fold_1/history.csv").read_text() == (
        run / "fold_1/history.csv"
    ).read_text()
    _run(
        "train", TINY, "--data-dir", shards, "--workdir", tmp_path / "other", "--fold", 1,
        "--seed", 1,
    )  # fmt: skip
    assert (tmp_path / "other/fold_1/history.csv").read_text() != (
        run / "fold_1/history.csv"
    ).read_text()


def test_evaluating_on_another_cohort_is_refused(run, phantom_cohort, tiny, tmp_path, capsys):
    from msk_jax.data.builder import build_cohort

    build_cohort(
        tiny.cohort, phantom_cohort / "dicom", phantom_cohort / "manifest.csv",
        tmp_path / "other", num_folds=3, seed=5,
    )  # fmt: skip
    _run("evaluate", TINY, "--data-dir", tmp_path / "other", "--workdir", run, status=2)
    assert "another cohort" in capsys.readouterr().err
