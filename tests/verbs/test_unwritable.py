"""Full disks and read-only folders: one sentence, and nothing half-written under a final name.

The tests may run as root, whom no file mode stops: a full disk is a limit on the size of a file, a
read-only folder one in which opening a file for writing fails as on a read-only file system.
"""

import builtins
import contextlib
import errno
import io
import json
import os
import resource
import shutil
from pathlib import Path

import pandas as pd
import pytest

from msk_jax.evaluation.predictions import read_predictions
from msk_jax.verbs import evaluate
from msk_jax.verbs.evaluate import Found
from msk_jax.verbs.saved_model import load_model
from tests.conftest import TINY
from tests.verbs.conftest import verb


@contextlib.contextmanager
def full_disk(limit: int):
    """No file can grow beyond `limit` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def read_only(folder: Path):
    """No file below `folder` can be opened for writing."""

    def guard(function):
        def call(file, mode="r", *args, **options):
            flags = mode if isinstance(mode, int) else 0
            writes = flags & (os.O_WRONLY | os.O_RDWR) or set(str(mode)) & set("wax+")
            if writes and not isinstance(file, int) and Path(file).is_relative_to(folder):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(file))
            return function(file, mode, *args, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for module in (builtins, io, os):
            patch.setattr(module, "open", guard(module.open))
        yield


def _contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _largest(folder: Path) -> int:
    return max(len(content) for content in _contents(folder).values())


def test_train_on_a_full_disk(run, shards, tmp_path, refused):
    workdir = tmp_path / "run"
    with full_disk(20_000):
        error = refused("train", TINY, "--data-dir", shards, "--workdir", workdir, "--fold", 0)
    assert "could not be written" in error and "Make room" in error
    assert not (workdir / "fold_0" / "finished.json").exists()


@pytest.fixture
def trained(run, tmp_path, monkeypatch):
    """A workdir that `train` has finished, and `evaluate` quick: it need not predict again."""
    folder = tmp_path / "run"
    results = ("predictions.csv", "validation_predictions.csv", "metrics.json", "cam", "model")
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns(*results, "*.html"))
    predicted = Found(
        load_model(run).members,
        read_predictions(run / "predictions.csv"),
        read_predictions(run / "validation_predictions.csv", "validation"),
        pd.DataFrame(),
        {},
    )
    metrics = json.loads((run / "metrics.json").read_text())
    monkeypatch.setattr("msk_jax.verbs.evaluate.predict_folds", lambda *args: predicted)
    monkeypatch.setattr("msk_jax.verbs.evaluate.evaluate_study", lambda *args: metrics)
    monkeypatch.setattr("msk_jax.verbs.evaluate.map_features", lambda *args: metrics["features"])
    return folder


@pytest.mark.parametrize("stage", ["predictions.csv", "metrics.json", "cam", "model"])
def test_evaluate_on_a_full_disk(run, shards, trained, refused, stage):
    before = _contents(trained)
    limits = {
        "predictions.csv": (run / "predictions.csv").stat().st_size // 2,
        "metrics.json": (run / "metrics.json").stat().st_size - 1,
        "cam": _largest(run / "cam") - 1,
    }
    assert list(limits.values()) == sorted(limits.values()), "each stage must fail by itself"
    command = ("evaluate", TINY, "--data-dir", shards, "--workdir", trained)
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as disk:
        if stage == "model":  # its files are of any size, so the disk is full for it alone
            patch.setattr(evaluate, "_export", full_disk(1000)(evaluate._export))
        else:
            disk.enter_context(full_disk(limits[stage]))
        error = refused(*command)
    assert "could not be written" in error and stage in error and "Make room" in error
    after = _contents(trained)
    assert not [name for name in after if "partial" in name]
    whole = _contents(run)
    new = {name: content for name, content in after.items() if before.get(name) != content}
    # What came before the stage is whole; of the stage and what follows there is nothing.
    order = ["predictions.csv", "validation_predictions.csv", "metrics.json", "cam", "model"]
    assert {name.split("/")[0] for name in new} == set(order[: order.index(stage)])
    sizes = {name: (len(content), len(whole[name])) for name, content in new.items()}
    assert all(ours == theirs for ours, theirs in sizes.values()), sizes
    if stage == "model":  # the same command goes through once there is room
        verb(*command)
        assert (trained / "model" / "0").is_dir()


def test_evaluate_in_a_read_only_folder(shards, trained, refused):
    before = _contents(trained)
    with read_only(trained):
        error = refused("evaluate", TINY, "--data-dir", shards, "--workdir", trained)
    assert f"{trained} cannot be written to (Read-only file system)" in error
    assert _contents(trained) == before


@pytest.fixture
def new_patient(phantom_cohort, tmp_path):
    """Flags of `predict` for one new patient."""
    source = sorted((phantom_cohort / "dicom").iterdir())[0]
    shutil.copytree(source, tmp_path / "dicom")
    return ("--dicom", tmp_path / "dicom", "--key", phantom_cohort / "pseudonym.key")


@pytest.mark.parametrize("name", [".png", "predictions.csv", "rejected.csv"])
def test_predict_on_a_full_disk(run, new_patient, tmp_path, refused, monkeypatch, name):
    out = tmp_path / "out"
    command = ("predict", "--workdir", run, *new_patient, "--out", out)
    if name != ".png":  # the largest of all
        monkeypatch.setattr("msk_jax.verbs.predict._draw", lambda *args: args[-1].touch())
    if name == "rejected.csv":
        for writer in ("to_csv", "to_json"):
            monkeypatch.setattr(f"pandas.DataFrame.{writer}", lambda table, path, **_: path.touch())
    with full_disk(20_000 if name == ".png" else 10):
        error = refused(*command)
    assert f"{name} could not be written" in error and "Make room" in error
    assert os.listdir(out) == [], "the same command must find its folder empty"
    monkeypatch.undo()
    if name == ".png":
        verb(*command)
        assert (out / "predictions.csv").exists()


def test_predict_into_a_read_only_folder(run, new_patient, tmp_path, refused):
    (tmp_path / "out").mkdir()
    (tmp_path / "file").touch()
    with read_only(tmp_path / "out"):
        error = refused("predict", "--workdir", run, *new_patient, "--out", tmp_path / "out")
    assert "out cannot be written to (Read-only file system). Give another folder" in error
    assert os.listdir(tmp_path / "out") == []
    error = refused("predict", "--workdir", run, *new_patient, "--out", tmp_path / "file" / "out")
    assert "file/out" in error


def test_report_on_a_full_disk(run, tmp_path, refused):
    page = tmp_path / "pages" / "page.html"
    verb("report", "--workdir", run, "--out", page)
    old = page.read_bytes()
    with full_disk(len(old) // 2):
        error = refused("report", "--workdir", run, "--out", page)
        assert f"{page} could not be written (File too large). Make room" in error
        refused("report", "--workdir", run, "--out", tmp_path / "pages" / "new.html")
    assert os.listdir(page.parent) == ["page.html"] and page.read_bytes() == old


def test_report_into_a_read_only_folder(run, tmp_path, refused):
    (tmp_path / "pages").mkdir()
    (tmp_path / "file").touch()
    with read_only(tmp_path / "pages"):
        error = refused("report", "--workdir", run, "--out", tmp_path / "pages" / "page.html")
    assert "page.html could not be written (Read-only file system)" in error
    assert "give another place" in error and os.listdir(tmp_path / "pages") == []
    error = refused("report", "--workdir", run, "--out", tmp_path / "file" / "page.html")
    assert "cannot be made" in error and "--out" in error
    error = refused("report", "--workdir", run, "--out", tmp_path / "pages")
    assert "pages could not be written (Is a directory)" in error
