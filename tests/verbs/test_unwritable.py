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

import pytest

from msk_jax.study import finishing
from msk_jax.study.outputs import Predicted, read_features
from msk_jax.study.package import load_model
from msk_jax.study.tables import read_tables
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
    """A workdir whose networks are trained, and what they say known: nobody predicts again."""
    folder = tmp_path / "run"
    results = (*OUTPUTS, "metrics.json")
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns(*results, "*.html"))
    saved = load_model(run)
    tables = read_tables(run, saved.experiment.cohort.levels)
    predicted = Predicted(tables, None, read_features(run), saved.members)
    monkeypatch.setattr("msk_jax.study.outputs.predict_everybody", lambda *args: predicted)
    return folder


OUTPUTS = (
    "predictions.csv",
    "validation_predictions.csv",
    "features.npz",
    "cam",
    "model",
    "outputs.json",
)
"""What training ends with, in this order."""


@pytest.mark.parametrize("stage", ["predictions.csv", "cam", "model"])
def test_the_end_of_a_training_on_a_full_disk(run, shards, trained, refused, stage):
    before = _contents(trained)
    limits = {
        "predictions.csv": (run / "predictions.csv").stat().st_size - 1,
        "cam": _largest(run / "cam") - 1,
    }
    assert list(limits.values()) == sorted(limits.values()), "each stage must fail by itself"
    command = ("train", TINY, "--data-dir", shards, "--workdir", trained)
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as disk:
        if stage == "model":  # its files are of any size, so the disk is full for it alone
            patch.setattr(finishing, "save_model", full_disk(1000)(finishing.save_model))
        else:
            disk.enter_context(full_disk(limits[stage]))
        error = refused(*command)
    assert "could not be written" in error and stage in error and "Make room" in error
    after = _contents(trained)
    assert not [name for name in after if "partial" in name]
    whole = _contents(run)
    noted = ("commands.json", "run.json", "settings.json", "cohort.json")  # of this very call
    new = {
        name: content
        for name, content in after.items()
        if before.get(name) != content and name not in noted
    }
    # What came before the stage is whole; of the stage and what follows there is nothing.
    assert {name.split("/")[0] for name in new} == set(OUTPUTS[: OUTPUTS.index(stage)])
    sizes = {name: (len(content), len(whole[name])) for name, content in new.items()}
    assert all(ours == theirs for ours, theirs in sizes.values()), sizes
    if stage == "model":  # the same command goes through once there is room
        verb(*command)
        assert (trained / "model" / "package.json").is_file() and (
            trained / "outputs.json"
        ).is_file()


def test_evaluate_on_a_full_disk(run, tmp_path, refused):
    folder = tmp_path / "run"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("metrics.json", "*.html"))
    before = _contents(folder)
    with full_disk((run / "metrics.json").stat().st_size - 1):
        error = refused("evaluate", TINY, "--workdir", folder)
    assert "metrics.json could not be written" in error and "Make room" in error
    after = _contents(folder)
    assert {name for name in after if before.get(name) != after[name]} <= {"commands.json"}
    verb("evaluate", TINY, "--workdir", folder)
    assert json.loads((folder / "metrics.json").read_text())["levels"]


def test_evaluate_in_a_read_only_folder(run, tmp_path, refused):
    folder = shutil.copytree(run, tmp_path / "run")
    before = _contents(folder)
    with read_only(folder):
        error = refused("evaluate", TINY, "--workdir", folder)
    assert f"{folder} cannot be written to (Read-only file system)" in error
    assert _contents(folder) == before


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
        monkeypatch.setattr("msk_jax.study.new_pictures.draw", lambda one: one.path.touch())
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
