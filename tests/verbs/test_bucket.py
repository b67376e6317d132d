"""A run whose shards and results lie in a bucket: here a folder that answers to `gs://`."""

import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest
import tensorflow as tf
from etils.epath import backend, gpath
from orbax.checkpoint._src.path import gcs_utils

from msk_jax import files
from msk_jax.experiment import load
from msk_jax.files import in_bucket, place, replacing, replacing_folder
from msk_jax.study.package import load_model, save_model
from msk_jax.study.settings import trained_stages
from msk_jax.study.training import best_variables, make_trainer, open_cohort, open_folds
from msk_jax.training import checkpoints, records, watch
from tests.conftest import TINY
from tests.verbs.conftest import verb


class _Folder(backend._OsPathBackend):
    """What `epath` does with a bucket, done with a folder. Nothing is renamed there."""

    def __init__(self, root):
        self.local = lambda path: os.fspath(path).replace("gs://", f"{root}/")
        self.address = lambda path: path.replace(f"{root}/", "gs://")

    def glob(self, path):
        return [self.address(found) for found in super().glob(self.local(path))]

    def rename(self, path, dst):
        raise AssertionError("objects cannot be renamed all at once")

    replace = rename


def _on_local(name):
    def method(self, path, *args, **kwargs):
        return getattr(backend._OsPathBackend, name)(self, self.local(path), *args, **kwargs)

    return method


for _name in (
    "open",
    "exists",
    "isdir",
    "listdir",
    "makedirs",
    "mkdir",
    "rmtree",
    "remove",
    "stat",
):
    setattr(_Folder, _name, _on_local(_name))


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """`gs://bucket` for epath, TensorFlow's reader, orbax and TensorBoard; gives its folder."""
    root = tmp_path / "cloud"
    folder = _Folder(root)
    (root / "bucket").mkdir(parents=True)
    monkeypatch.setattr(gpath.backend_lib, "tf_backend", folder)
    monkeypatch.setattr(gcs_utils, "get_bucket", lambda name: object())
    monkeypatch.setattr(
        gcs_utils,
        "get_kvstore_for_gcs",
        lambda path: {"driver": "file", "path": folder.local(path).rstrip("/") + "/"},
    )
    monkeypatch.setattr(checkpoints, "_has_bucket_package", lambda: True)
    read = tf.data.TFRecordDataset
    monkeypatch.setattr(
        tf.data,
        "TFRecordDataset",
        lambda name, *args, **options: read(
            tf.strings.regex_replace(name, "gs://", f"{root}/"), *args, **options
        ),
    )
    monkeypatch.setattr(files, "_store", lambda name: {"driver": "file", "path": f"{root}/{name}/"})
    board = records.Board
    monkeypatch.setattr("msk_jax.training.loop.Board", lambda path: board(folder.local(path)))
    return root / "bucket"


def test_a_training_is_stopped_and_taken_up_again(bucket, shards, monkeypatch, capsys):
    shutil.copytree(shards, bucket / "shards")
    data_dir, workdir = place("gs://bucket/shards"), place("gs://bucket/run")
    command = ["train", TINY, "--data-dir", data_dir, "--workdir", workdir, "--fold", "0"]
    with monkeypatch.context() as patch:
        patch.setattr(watch.Pace, "step", lambda pace: os.kill(os.getpid(), signal.SIGTERM))
        verb(*command, status=143)
    assert "Step 1 of 6 is saved in gs://bucket/run/fold_0" in capsys.readouterr().err
    verb(*command)
    fold = bucket / "run" / "fold_0"
    assert json.loads((fold / "finished.json").read_text())["steps"] == 6
    # An epoch's rows are appended; their ends of lines are those of the first ones.
    table = (fold / "history.csv").read_bytes()
    assert table.count(b"\r\n") == table.count(b"\n") == 5
    assert list((fold / "tensorboard").glob("events*"))
    (stage,) = trained_stages(workdir)
    data = open_cohort(load(TINY), stage, data_dir)
    like = make_trainer(data, open_folds(data, data_dir)[0], stage).trained_like()
    found = jax.tree.leaves(best_variables(workdir, 0, like))
    assert len(found) > 20 and all(np.isfinite(value).all() for value in found)


def test_networks_and_report(bucket, run, tiny):
    folders = ("fold_*", "model", "tensorboard")
    shutil.copytree(run, bucket / "run", ignore=shutil.ignore_patterns(*folders, "*.html"))
    here = load_model(run)
    workdir = place("gs://bucket/run")
    for ensemble in (here.members[:1], here.members):  # the second takes the place of the first
        save_model(workdir / "model", tiny, ensemble, {}, here.thresholds)
        there = load_model(workdir)
        assert len(there.members) == len(ensemble) and there.thresholds == here.thresholds
        jax.tree.map(np.testing.assert_array_equal, there.members, ensemble)
    verb("report", "--workdir", workdir)
    assert "<html" in (bucket / "run" / "report.html").read_text()


def test_an_address_stays_one(bucket, tmp_path):
    path = place("gs://bucket/a") / "b"
    assert str(path) == "gs://bucket/a/b" and in_bucket(path) and not in_bucket(tmp_path)
    path.parent.mkdir()
    with replacing(path) as temporary:
        temporary.write_text("one")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "one" and os.listdir(bucket / "a") == ["b"]
    for name in ("old.txt", "new.txt"):
        with replacing_folder(place("gs://bucket/c")) as partial:
            (partial / "d").mkdir()
            (partial / "d" / name).write_text(name)
    assert os.listdir(bucket / "c" / "d") == ["new.txt"]


def test_what_takes_no_bucket_says_so(refused, shards, phantom_cohort, tmp_path):
    manifest = phantom_cohort / "manifest.csv"
    build = ["build", TINY, "--dicom", phantom_cohort / "dicom", "--manifest", manifest]
    assert "written to a folder only" in refused(*build, "--data-dir", "gs://bucket/shards")
    train = ["train", TINY, "--data-dir", shards, "--workdir", "gs://bucket/run"]
    assert "--profile" in refused(*train, "--profile")
    assert "written to a folder only" in refused(*train[:-1], "s3://bucket/run")
