"""The whole way of a system that finds and counts: phantom, build, train, evaluate, report."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from msk_jax.data.shards.folds import load_folds
from msk_jax.data.shards.stored import read_records
from msk_jax.errors import UserError
from msk_jax.experiment import load
from msk_jax.study.detecting import measured, read_detected
from msk_jax.study.judging import judge_detector
from tests.conftest import REPOSITORY
from tests.verbs.conftest import verb

TINY_LACUNAE = str(REPOSITORY / "tests" / "tiny_lacunae.py")


@pytest.fixture(scope="module")
def lacunae(made_once):
    """What `demo` leaves: one of three folds is trained, as one split."""

    def make(out):
        verb("demo", TINY_LACUNAE, "--out", out, "--set", "split.trained=1")

    return made_once("lacunae_demo", make)


def test_one_split_is_trained_and_tested(lacunae):
    run, folds = lacunae / "run", load_folds(lacunae / "shards")
    assert [p.name for p in run.glob("fold_*")] == ["fold_0"]
    pictures = pd.read_csv(run / "pictures.csv")
    tested = pictures[pictures["set"] == "out of fold"]
    assert set(tested["patient_id"]) == {p for p, fold in folds.items() if fold == 0}
    assert set(pictures[pictures["set"] == "validation"]["patient_id"]) == {
        p for p, fold in folds.items() if fold == 1
    }
    page = (run / "report.html").read_text()
    assert "one split, grouped by animal" in page and "not taken from people" in page


def test_what_people_drew_is_in_the_table(lacunae):
    drawn = pd.read_csv(lacunae / "run" / "boxes.csv")
    classes = load(TINY_LACUNAE).cohort.boxes.classes
    for record in list(read_records(lacunae / "shards"))[::3]:
        rows = drawn[drawn["unit_id"] == record["unit_id"]]
        assert [classes[k] for k in record["cells_class"]] == rows["class"].tolist()
        np.testing.assert_allclose(rows[["x0", "y0", "x1", "y1"]], record["cells"], rtol=1e-6)


def test_figures_follow_from_the_tables_alone(lacunae, tmp_path):
    """Perfect answers in the place of the network's: precision 1, no error, r 1."""
    run = shutil.copytree(lacunae / "run", tmp_path / "run")
    detected = read_detected(run)
    asked = detected.pictures
    true = asked.merge(detected.boxes, on="unit_id").assign(score=0.9)
    true[["set", "fold", "unit_id", "class", "score", "x0", "y0", "x1", "y1"]].to_csv(
        run / "detections.csv", index=False
    )
    verb("evaluate", TINY_LACUNAE, "--workdir", run, "--set", "split.trained=1")
    metrics = json.loads((run / "metrics.json").read_text())
    found = metrics["detection"]["sets"]["out of fold"]
    assert found["mean"]["value"] == 1
    counted = metrics["measurements"]["count"]["sets"]["out of fold"]
    assert counted["counts"]["all"]["mae"] == 0 == counted["share"]["mae"]
    table = pd.read_csv(lacunae / "cohort" / "manifest.csv")
    stated = table["empty_share"].to_numpy()  # two decimals
    for share in counted["share"]["true"]:
        assert np.abs(stated - share).min() < 0.006
    verb("report", "--workdir", run)
    assert "What was counted" in (run / "report.html").read_text()


def test_patients_of_no_fold_are_counted_by_the_mean_of_all_networks():
    experiment = load(TINY_LACUNAE)
    from msk_jax.study.detecting import Detected

    corner = {"x0": 0.0, "y0": 0.0, "x1": 9.0, "y1": 9.0}
    pictures = pd.DataFrame(
        {"set": "held-out", "fold": [0, 1], "patient_id": "a", "unit_id": "a/1"}
    )
    said = [(0, "empty lacuna"), (0, "osteocyte"), (1, "empty lacuna")]
    detections = pd.DataFrame(
        [{"set": "held-out", "fold": k, "unit_id": "a/1", "class": c, "score": 1.0, **corner}
         for k, c in said]
    )  # fmt: skip
    drawn = pd.DataFrame([{"unit_id": "a/1", "class": "osteocyte", **corner}])
    detected = Detected(pictures, drawn, detections)
    (row,) = measured(detected, experiment.stage("count").method, experiment).to_dict("records")
    assert (row["n osteocyte"], row["n empty lacuna"]) == (0.5, 1.0)
    assert (row["share"], row["true share"]) == (75.0, 0.0)
    figures = judge_detector(detected, experiment)["detection"]["sets"]["held-out"]
    assert figures["n"] == 1 and figures["of_class"]["osteocyte"]["value"] == 1


def test_damaged_tables_are_refused(lacunae, tmp_path):
    run = shutil.copytree(lacunae / "run", tmp_path / "run")
    table = pd.read_csv(run / "detections.csv")
    table.drop(columns="score").to_csv(run / "detections.csv", index=False)
    with pytest.raises(UserError, match=r"detections\.csv lacks the column\(s\) score"):
        read_detected(run)
    table.assign(x0="left").to_csv(run / "detections.csv", index=False)
    with pytest.raises(UserError, match="has a x0 that is no number"):
        read_detected(run)
    (run / "boxes.csv").unlink()
    with pytest.raises(UserError, match="There is no table"):
        read_detected(run)


def test_inspect_draws_the_tiles(lacunae, tmp_path):
    verb("inspect", lacunae / "shards", "--out", tmp_path / "page.html")
    assert "all: middle slices" in (tmp_path / "page.html").read_text()
