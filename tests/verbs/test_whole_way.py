"""Every verb in turn on tiny phantom patients, by the command line, and what each leaves behind."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pydicom
import pydicom.data
import pytest

from msk_jax.data.shards.folds import load_folds
from tests.conftest import REPOSITORY, TINY
from tests.verbs.conftest import verb


def test_predictions_are_out_of_fold_and_complete(run, shards):
    table = pd.read_csv(run / "predictions.csv")
    folds = load_folds(shards)
    assert list(table.columns) == [
        "patient_id",
        "unit_id",
        "level",
        "fold",
        "label",
        "prob",
        "site",
        "age",
        "sex",
    ]
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


def test_tables_of_a_run_are_judged_by_their_own_validation(run, tmp_path):
    verb(
        "evaluate",
        "--predictions",
        run / "predictions.csv",
        "--level",
        "joint",
        "--by",
        "site",
        "--validation",
        run / "validation_predictions.csv",
        "--bootstrap-samples",
        10,
        "--out",
        tmp_path,
    )
    judged = json.loads((tmp_path / "figures.json").read_text())
    level = json.loads((run / "metrics.json").read_text())["levels"]["joint"]
    thresholds = [entry["threshold"] for entry in level["thresholds"]["per_fold"]]
    assert [entry["value"] for entry in judged["threshold"]["per_fold"]] == thresholds
    assert judged["confusion"] == level["confusion"]
    assert judged["figures"]["auc"]["value"] == pytest.approx(level["auc"]["value"])


def test_labels_are_those_of_the_manifest(run, phantom_cohort):
    from msk_jax.data.privacy.pseudonyms import load_key, pseudonym

    key = load_key(phantom_cohort / "pseudonym.key")
    manifest = pd.read_csv(phantom_cohort / "manifest.csv")
    table = pd.read_csv(run / "predictions.csv")
    joints = table[table["level"] == "joint"].set_index("unit_id")["label"]
    for row in manifest.itertuples():
        unit_id = f"{pseudonym(row.patient_id, key)}/{row.side}"
        assert joints[unit_id] == int(row.label == "sacroiliitis")


def test_report_is_one_page_with_everything(run):
    verb("report", "--workdir", run)
    page = (run / "report.html").read_text()
    for words in ("not clinical", "91.3", "95.2", "Grad-CAM", "msk-jax train", "another cohort"):
        assert words in page, words
    index = json.loads((run / "cam" / "index.json").read_text())
    assert index and all((run / "cam" / entry["file"]).stat().st_size > 5000 for entry in index)
    assert "PHANTOM-" not in page, "an identifier of the source headers is in the report"


def test_audit_passes_what_was_made_and_finds_a_name_planted_in_it(
    run, shards, phantom_cohort, tmp_path, capsys
):
    dicom = phantom_cohort / "dicom"
    name = str(pydicom.dcmread(next(dicom.rglob("*.dcm")), stop_before_pixels=True).PatientName)
    _, family, number = name.split("^")
    record = next(shards.rglob("*.tfrecord*")).relative_to(shards)
    for made, planted in (
        (shards, {"cohort.json": f'"{name}"', record: name}),
        (run, {"report.html": f"<p>{family} {number}", "commands.json": f"{number}, {family}"}),
    ):
        verb("audit", made, "--dicom", dicom)
        printed = " ".join(capsys.readouterr().out.split())
        assert "No identifier was found" in printed and "pixels was not read" in printed
        copy = shutil.copytree(made, tmp_path / made.name)
        for file, words in planted.items():
            with (copy / file).open("a") as opened:
                opened.write(words)
        verb("audit", copy, "--dicom", dicom, status=1)
        printed = capsys.readouterr().out
        assert all(f"{file}: PatientName" in printed for file in planted) and "2 hit(s)" in printed


def test_a_second_train_has_nothing_to_do_and_other_settings_are_refused(run, shards, capsys):
    before = (run / "fold_0" / "history.csv").read_bytes()
    verb("train", TINY, "--data-dir", shards, "--workdir", run)
    assert (run / "fold_0" / "history.csv").read_bytes() == before
    verb("train", TINY, "--data-dir", shards, "--workdir", run, "--epochs", 5, status=2)
    error = capsys.readouterr().err
    assert (
        "stages.classify.method.recipe.epochs: 2 before, 5 now" in error
        and "Traceback" not in error
    )


def test_predict_needs_the_model_folder_alone(run, phantom_cohort, tmp_path):
    """Same pictures, same networks: every joint's ensemble mean lies within its members' range."""
    shutil.copytree(run / "model", tmp_path / "model")
    some = sorted((phantom_cohort / "dicom").iterdir())[:2]
    for folder in some:
        shutil.copytree(folder, tmp_path / "new" / folder.name)
    (tmp_path / "new" / "notes.txt").write_text("not an image")
    key = phantom_cohort / "pseudonym.key"
    as_dicom = ["--dicom-results"] if importlib.util.find_spec("highdicom") else []
    verb(
        "predict",
        "--workdir",
        tmp_path / "model",
        "--dicom",
        tmp_path / "new",
        "--out",
        tmp_path / "out",
        "--key",
        key,
        *as_dicom,
    )
    if as_dicom:
        (report, *others) = sorted((tmp_path / "out" / "dicom").glob("*_report.dcm"))
        assert len(others) == 1 and len(list(report.parent.glob("*_heatmap.dcm"))) == 2
        assert pydicom.dcmread(report).VerificationFlag == "UNVERIFIED"
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
    verb(
        "predict",
        "--workdir",
        tmp_path / "model",
        "--dicom",
        tmp_path / "new",
        "--out",
        tmp_path / "out",
        status=2,
    )


def test_one_member_predicts_from_dicom_what_it_predicted_from_the_shards(
    run, shards, phantom_cohort
):
    """The two ways in, shards and DICOM, give a network the same numbers."""
    import jax

    from msk_jax.data.images.series import read_series
    from msk_jax.data.privacy.pseudonyms import load_key, pseudonym
    from msk_jax.data.sources.scan import scan
    from msk_jax.study.package import load_model
    from msk_jax.training.parallel import parallel_predict, predict_all
    from msk_jax.training.step import AXIS

    saved = load_model(run)
    found = scan(phantom_cohort / "dicom")
    _uid, files = sorted(found.series.items())[0]
    series = read_series(files)
    key = load_key(phantom_cohort / "pseudonym.key")
    name = pseudonym(series.patient_id, key)
    known = pd.read_csv(run / "predictions.csv").set_index("unit_id")["prob"]
    fold = load_folds(shards)[name]
    stage = saved.stage
    predict = parallel_predict(
        stage.method.model.build(axis_name=AXIS), stage.method.preprocess, stage.trained_task
    )
    for side, joint in saved.experiment.cohort.region.extract(series).items():
        stacks = np.stack(
            [
                np.moveaxis(joint.voxels[c - 1 : c + 2], 0, -1)
                for c in range(2, len(joint.positions_mm) - 2)
            ]
        )
        batch = 4 * jax.local_device_count()
        batches = [stacks[i : i + batch] for i in range(0, len(stacks), batch)]
        answers = predict_all(predict, saved.members[fold], batches, batch)
        expected = [known[f"{name}/{side}/{k}"] for k in range(len(stacks))]
        np.testing.assert_allclose(answers["probabilities"][:, 1], expected, rtol=1e-5, atol=1e-6)


def test_same_seed_same_bits(run, shards, tmp_path):
    verb("train", TINY, "--data-dir", shards, "--workdir", tmp_path / "again", "--fold", 1)
    assert (tmp_path / "again/fold_1/history.csv").read_text() == (
        run / "fold_1/history.csv"
    ).read_text()
    verb(
        "train",
        TINY,
        "--data-dir",
        shards,
        "--workdir",
        tmp_path / "other",
        "--fold",
        1,
        "--seed",
        1,
    )
    assert (tmp_path / "other/fold_1/history.csv").read_text() != (
        run / "fold_1/history.csv"
    ).read_text()


def test_going_on_with_another_cohort_is_refused(run, phantom_cohort, tiny, tmp_path, capsys):
    from msk_jax.data.build.builder import build_cohort

    build_cohort(
        tiny.cohort,
        phantom_cohort / "dicom",
        phantom_cohort / "manifest.csv",
        tmp_path / "other",
        num_folds=3,
        seed=5,
    )
    verb("train", TINY, "--data-dir", tmp_path / "other", "--workdir", run, status=2)
    assert "another cohort" in capsys.readouterr().err


def test_predict_on_another_number_of_devices(run, phantom_cohort, tmp_path, capsys):
    """Saved on four devices, used on one: the same probabilities. A bad series is listed."""
    one = sorted((phantom_cohort / "dicom").iterdir())[0]
    shutil.copytree(one, tmp_path / "new" / "good")
    shutil.copytree(one, tmp_path / "new" / "DOE_JANE")
    for k, file in enumerate(sorted((tmp_path / "new" / "DOE_JANE").iterdir())):
        dataset = pydicom.dcmread(file)
        dataset.SeriesInstanceUID, dataset.PatientID = "1.2.3.4", "DOE^JANE"
        dataset.SOPInstanceUID = f"1.2.3.4.{k}"
        dataset.save_as(file.with_name(f"DOE_JANE_{k:03}.dcm"))
        file.unlink()
    victim = tmp_path / "new" / "DOE_JANE" / "DOE_JANE_005.dcm"
    victim.write_bytes(victim.read_bytes()[:-3000])
    key = phantom_cohort / "pseudonym.key"
    command = ["predict", "--workdir", run, "--dicom", tmp_path / "new", "--key", key, "--out"]
    verb(*command, tmp_path / "four")
    printed = "".join(capsys.readouterr())
    alone = subprocess.run(
        [sys.executable, "-m", "msk_jax", *map(str, command), str(tmp_path / "one")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env=os.environ | {"XLA_FLAGS": ""},
    )
    assert alone.returncode == 0, alone.stderr[-2000:]
    tables = {}
    for name, told in (("one", alone.stdout + alone.stderr), ("four", printed)):
        tables[name] = pd.read_csv(tmp_path / name / "predictions.csv").set_index("unit_id")["prob"]
        rejected = (tmp_path / name / "rejected.csv").read_text()
        assert "by name" in rejected and "DOE" not in rejected + told
    pd.testing.assert_series_equal(tables["one"], tables["four"], rtol=1e-4)


def test_predict_with_nothing_usable_or_a_damaged_model(run, tmp_path, capsys):
    (tmp_path / "dicom").mkdir()
    source = pydicom.data.get_testdata_file("MR_small.dcm")
    shutil.copy(source, tmp_path / "dicom" / "x")
    arguments = ("--dicom", tmp_path / "dicom", "--out", tmp_path / "out")
    verb("predict", "--workdir", run, *arguments, status=2)
    assert "None of the 1 series could be predicted" in capsys.readouterr().err
    shutil.copytree(run / "model", tmp_path / "model")
    for file in (tmp_path / "model" / "network" / "0" / "state").rglob("*"):
        if file.is_file():
            file.write_bytes(b"half")
    verb(
        "predict",
        "--workdir",
        tmp_path / "model",
        "--dicom",
        tmp_path / "dicom",
        "--out",
        tmp_path / "out2",
        status=2,
    )
    assert "cannot be read" in capsys.readouterr().err


def test_folders_of_others_are_left_alone(shards, tmp_path, capsys):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "cohort.json").write_text("mine")
    verb("train", TINY, "--data-dir", shards, "--workdir", tmp_path / "thesis", status=2)
    assert "holds other things" in capsys.readouterr().err
    assert (tmp_path / "thesis" / "cohort.json").read_text() == "mine"


def test_shards_of_another_region_are_refused(shards, tmp_path, capsys):
    """The whole experiment's crops are four times finer than the tiny one's."""
    verb(
        "train",
        "sacroiliitis",
        "--small",
        "--data-dir",
        shards,
        "--workdir",
        tmp_path / "run",
        status=2,
    )
    assert "other cohort settings" in capsys.readouterr().err


def test_build_by_the_command_line(phantom_cohort, tmp_path, capsys):
    """Good and bad manifests, a bad study beside good ones, a folder without DICOM."""
    dicom, manifest = tmp_path / "dicom", tmp_path / "manifest.csv"
    shutil.copytree(phantom_cohort / "dicom", dicom)
    shutil.copy(phantom_cohort / "manifest.csv", manifest)
    victim = sorted(sorted(dicom.iterdir())[0].iterdir())[3]
    victim.write_bytes(victim.read_bytes()[:2000])
    key = phantom_cohort / "pseudonym.key"
    build = ("build", TINY, "--dicom", dicom, "--manifest", manifest, "--key", key)
    verb(*build, "--data-dir", tmp_path / "data")
    rejected = pd.read_csv(tmp_path / "data" / "rejected.csv")
    assert len(rejected) == 2 and "rejected.csv" in capsys.readouterr().out
    # The study is repaired: the same command says how, and --overwrite takes it in.
    shutil.copy(phantom_cohort / victim.relative_to(tmp_path), victim)
    verb(*build, "--data-dir", tmp_path / "data")
    assert "give --overwrite" in capsys.readouterr().out
    verb(*build, "--data-dir", tmp_path / "data", "--overwrite")
    assert pd.read_csv(tmp_path / "data" / "rejected.csv").empty
    manifest.write_text(manifest.read_text().replace("sacroiliitis", "arthritis", 1))
    verb(*build, "--data-dir", tmp_path / "other", status=2)
    assert "'arthritis' is not one of" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    verb(
        "build",
        TINY,
        "--dicom",
        tmp_path / "empty",
        "--manifest",
        phantom_cohort / "manifest.csv",
        "--data-dir",
        tmp_path / "other",
        status=2,
    )
    assert str(tmp_path / "empty") in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("name", ["*.tfrecord-*", "index.tfrecord"])
def test_damaged_shard_is_a_sentence(shards, tmp_path, capsys, name):
    shutil.copytree(shards, tmp_path / "data")
    (file,) = (tmp_path / "data").rglob(name)
    file.write_bytes(file.read_bytes()[:-2000])
    verb("train", TINY, "--data-dir", tmp_path / "data", "--workdir", tmp_path / "run", status=2)
    assert "Build the cohort again" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags, words",
    [
        (("--epochs", 0), "--epochs is 0; it may be from 1"),
        (("--batch-size", 0), "--batch-size is 0"),
        (("--seed", -1), "--seed is -1"),
        (("--patience", 0), "--patience is 0"),
        (("--crop", 200), "the pictures have 32 x 32"),
        (("--num-slices", -1), "give an odd --num-slices up to 5"),
        (("--label-smoothing", 2), "--label-smoothing is 2; it may be from 0 to 1"),
    ],
)
def test_numbers_that_cannot_be(shards, tmp_path, capsys, flags, words):
    verb("train", TINY, "--data-dir", shards, "--workdir", tmp_path / "run", *flags, status=2)
    assert words in capsys.readouterr().err
    # Nothing was claimed: the corrected command finds its folder free.
    assert not (tmp_path / "run" / "settings.json").exists()


def test_another_pooling_is_undone_by_the_next_evaluation(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")

    def levels(*flags):
        verb("evaluate", TINY, "--workdir", copy, *flags)
        return json.loads((copy / "metrics.json").read_text())["levels"]

    by_highest = levels()
    assert levels("--patient-pool", "mean")["patient"] != by_highest["patient"]
    assert levels() == by_highest


def test_evaluation_numbers_that_cannot_be(run, capsys):
    verb("evaluate", TINY, "--workdir", run, "--confidence", 95, status=2)
    assert "--confidence is 95; it may be from 0.5" in capsys.readouterr().err
