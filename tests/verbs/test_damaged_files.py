"""Valid JSON that no verb wrote, wherever a verb reads JSON: one sentence, the file, the way out.

What the readers themselves do with every place of these files is tested beside them
(tests/test_config.py, tests/data/shards/test_folds.py, tests/reports/test_html.py); here, that
every verb asks them.
"""

import json
import shutil

import pytest

from msk_jax.errors import UserError
from msk_jax.experiment import Ablation
from msk_jax.verbs import ablate
from tests.conftest import TINY
from tests.spoil import MISSING, changed
from tests.verbs.conftest import verb as run_verb

CHECKPOINT = "Delete that folder"


@pytest.fixture(scope="module")
def folders(run, shards, tmp_path_factory):
    """Copies of the shards, the run (its fold 0 as if killed) and the model, to be damaged."""
    place = tmp_path_factory.mktemp("damaged")
    shutil.copytree(shards, place / "shards")
    shutil.copytree(run, place / "run")
    shutil.copytree(run, place / "killed")
    (place / "killed" / "fold_0" / "finished.json").unlink()
    shutil.copytree(run / "model", place / "model")
    (place / "dicom").mkdir()
    return place


def _command(verb, folders, tmp_path):
    run, data = ("--workdir", folders / "run"), ("--data-dir", folders / "shards")
    return {
        "train": ("train", TINY, *data, "--workdir", tmp_path / "new"),
        "resume": ("train", TINY, *data, "--workdir", folders / "killed", "--fold", 0),
        "go on": ("train", TINY, *data, *run),
        "evaluate": ("evaluate", TINY, *run),
        "report": ("report", *run, "--out", tmp_path / "report.html"),
        "predict": (
            "predict",
            "--workdir",
            folders / "model",
            "--dicom",
            folders / "dicom",
            "--out",
            tmp_path / "out",
        ),
    }[verb]


@pytest.mark.parametrize(
    ("verb", "name", "way_out"),
    [
        ("train", "shards/cohort.json", "Build the cohort again"),
        ("train", "shards/splits.json", "Build the cohort again"),
        ("resume", "killed/settings.json", "a new --workdir"),
        ("resume", "killed/fold_0/last/*/settings/metadata", CHECKPOINT),
        ("evaluate", "run/settings.json", "a new --workdir"),
        ("evaluate", "run/outputs.json", "Run `msk-jax train` again"),
        ("go on", "run/outputs.json", "Run `msk-jax train` again"),
        ("go on", "run/fold_0/finished.json", "run `msk-jax train` again"),
        ("predict", "model/operating_points.json", "Run `msk-jax evaluate` again"),
        ("predict", "model/package.json", "or train again"),
        ("report", "run/run.json", "Run `msk-jax train` again"),
        ("report", "run/metrics.json", "Run `msk-jax evaluate` again"),
        ("report", "run/cohort.json", "Run `msk-jax train` again"),
        ("report", "run/cam/index.json", "Run `msk-jax train` again"),
    ],
)
def test_the_file_and_the_way_out_are_named(folders, tmp_path, refused, verb, name, way_out):
    path = sorted(folders.glob(name))[-1]
    # A checkpoint is named by its folder.
    named = path.parent.parent if way_out is CHECKPOINT else path
    original = path.read_text()
    contents = [[], {}] if isinstance(json.loads(original), dict) else [{}, [5]]
    if name == "run/cohort.json":  # the page leaves out what it lacks
        contents.remove({})
    try:
        for content in contents:
            path.write_text(json.dumps(content))
            error = refused(*_command(verb, folders, tmp_path))
            assert f"{named} " in error and way_out in error, error
    finally:
        path.write_text(original)


@pytest.mark.parametrize(
    ("verb", "name", "place", "now"),
    [
        ("resume", "killed/fold_0/last/*/settings/metadata", "course.best", MISSING),
        ("resume", "killed/fold_0/last/*/settings/metadata", "course.stale_epochs", ["list"]),
        ("evaluate", "run/settings.json", "cohort_fingerprint", MISSING),
        ("evaluate", "run/outputs.json", "unit_pool", MISSING),
        ("evaluate", "run/outputs.json", "best_steps", [["list"]]),
        ("predict", "model/package.json", "num_members", MISSING),
        ("predict", "model/operating_points.json", "joint", ["list"]),
        (
            "predict",
            "model/package.json",
            "experiment.stages.0.method.preprocess.crop",
            ["list"],
        ),
        ("predict", "model/package.json", "experiment.cohort.fields.0.region.size", MISSING),
        ("report", "run/metrics.json", "levels.joint.roc", MISSING),
        ("report", "run/run.json", "experiment.choices", ["list"]),
    ],
)
def test_a_key_or_a_kind_is_wrong_further_in(folders, tmp_path, refused, verb, name, place, now):
    path = sorted(folders.glob(name))[-1]
    original = path.read_text()
    damaged = changed(
        json.loads(original),
        tuple(int(part) if part.isdigit() else part for part in place.split(".")),
        now,
    )
    try:
        path.write_text(json.dumps(damaged))
        error = refused(*_command(verb, folders, tmp_path))
    finally:
        path.write_text(original)
    assert place.rsplit(".", 1)[-1] in error, error
    assert str(path.parent.parent if path.name == "metadata" else path) in error


def test_a_build_beside_a_damaged_one_says_how_to_replace_it(folders, phantom_cohort, refused):
    path = folders / "shards" / "cohort.json"
    original = json.loads(path.read_text())
    build = (
        "build",
        TINY,
        "--dicom",
        phantom_cohort / "dicom",
        "--manifest",
        phantom_cohort / "manifest.csv",
        "--data-dir",
        folders / "shards",
    )
    try:
        for content in ([], {}, {**original, "build": {}}, {**original, "fingerprint": [1]}):
            path.write_text(json.dumps(content))
            error = refused(*build)
            assert "its cohort.json is damaged. Give --overwrite" in error
    finally:
        path.write_text(json.dumps(original))


def test_a_phantom_cohort_with_damaged_settings(tmp_path, refused):
    folder = tmp_path / "demo" / "cohort"
    folder.mkdir(parents=True)
    (folder / "manifest.csv").touch()
    for content, words in (([], f"{folder}/phantom.json is damaged"), ({}, "other settings")):
        (folder / "phantom.json").write_text(json.dumps(content))
        error = refused("demo", TINY, "--out", tmp_path / "demo")
        assert words in error and "Give another --out" in error


def test_areas_of_an_earlier_ablation(run, shards, tiny, tmp_path, monkeypatch):
    ablation = Ablation(tiny.phantom, tiny.split.folds, {"whole": {}})
    monkeypatch.setattr("msk_jax.verbs.ablate.train", lambda *args, **options: None)
    done = tmp_path / "whole" / "seed_0" / "areas.json"
    done.parent.mkdir(parents=True)
    for content in ([], {"slice": 0.5, "joint": 0.5}, {"slice": "a", "joint": 1, "patient": 1}):
        done.write_text(json.dumps(content))
        with pytest.raises(UserError, match=rf"{done} is damaged: .*Delete it"):
            ablate.run(tiny, ablation, tmp_path, shards, seeds=1)


def test_half_written_checkpoint(run, shards, tmp_path, refused):
    """The newest checkpoint is damaged: a sentence names it, and deleting it is enough."""
    shutil.copytree(run, tmp_path / "run")
    fold = tmp_path / "run" / "fold_0"
    (fold / "finished.json").unlink()
    steps = [path for path in (fold / "last").iterdir() if path.name.isdigit()]
    newest = max(steps, key=lambda path: int(path.name))
    for file in (newest / "state").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    command = ("train", TINY, "--data-dir", shards, "--workdir", tmp_path / "run", "--fold", 0)
    error = refused(*command)
    assert str(newest) in error and "Delete that folder" in error
    shutil.rmtree(newest)
    run_verb(*command)
    assert (fold / "finished.json").exists()
