"""A run killed in mid-epoch and started again ends as one that was not, bit for bit."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from msk_jax.training import watch
from msk_jax.training.checkpoints import Checkpoints
from tests.conftest import REPOSITORY, TINY
from tests.verbs.conftest import verb

STEPS_PER_EPOCH = 3
PATIENCE = 3
BEST_EPOCH = 2


def _command(shards, workdir):
    """At this rate the network collapses early on: `BEST_EPOCH` stays the best one."""
    return [
        "train",
        TINY,
        "--data-dir",
        str(shards),
        "--workdir",
        str(workdir),
        "--fold",
        "0",
        "--checkpoint-every",
        "2",
        "--epochs",
        "6",
        "--average-decay",
        "0.9",
        "--learning-rate",
        "0.03",
        "--monitor",
        "loss",
        "--patience",
        str(PATIENCE),
    ]


def _train_and_kill(shards, workdir, after_step):
    """Start, wait for the checkpoint of a step, and kill without warning."""
    process = subprocess.Popen(
        [sys.executable, "-m", "msk_jax", *_command(shards, workdir)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    seen = workdir / "fold_0" / "last" / str(after_step) / "_CHECKPOINT_METADATA"
    deadline = time.time() + 120
    while not seen.exists() and process.poll() is None and time.time() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    output, _ = process.communicate()
    assert seen.exists(), output.decode()[-2000:]
    assert not (workdir / "fold_0" / "finished.json").exists(), "it finished before it was killed"


def _checkpoint(workdir, name):
    """Step, arrays by name and settings of the newest checkpoint of fold 0."""
    checkpoints = Checkpoints(workdir / "fold_0" / name)
    step = checkpoints.latest()
    tree = checkpoints._manager.restore(step)["state"]
    settings = checkpoints.settings(step)
    checkpoints.close()
    return step, dict(_flatten(tree)), settings


def _flatten(tree, prefix=""):
    for key, value in sorted(tree.items()) if isinstance(tree, dict) else []:
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            yield from _flatten({str(i): v for i, v in enumerate(value)}, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value


@pytest.fixture(scope="module")
def unbroken(shards, tmp_path_factory):
    """A run that nobody stopped: patience ends it before epoch 6."""
    workdir = tmp_path_factory.mktemp("unbroken") / "run"
    verb(*_command(shards, workdir))
    finished = json.loads((workdir / "fold_0" / "finished.json").read_text())
    steps = [STEPS_PER_EPOCH * epochs for epochs in (BEST_EPOCH, BEST_EPOCH + PATIENCE)]
    assert [finished["best_step"], finished["steps"]] == steps, "the kills below suppose this"
    return workdir


def test_a_run_broken_twice_ends_as_an_unbroken_one(shards, unbroken, tmp_path, monkeypatch):
    """Asked to stop in the first epoch, of which nothing is known yet; then killed without a word
    in the second epoch after the best one.
    """
    broken = tmp_path / "broken"
    with monkeypatch.context() as patch:
        patch.setattr(watch.Pace, "step", lambda pace: os.kill(os.getpid(), signal.SIGTERM))
        verb(*_command(shards, broken), status=143)
    assert _checkpoint(broken, "last")[0] == 1
    best_step = STEPS_PER_EPOCH * BEST_EPOCH
    _train_and_kill(shards, broken, after_step=best_step + STEPS_PER_EPOCH + 1)
    # There is a best one to be carried over, and an epoch that was no better.
    step, _, settings = _checkpoint(broken, "last")
    course = settings["course"]
    # On a busy machine the kill may come a step or two late.
    assert step > best_step + STEPS_PER_EPOCH and course["stale_epochs"] >= 1
    assert course["best_step"] == best_step == _checkpoint(broken, "best")[0]
    assert course["best"] is not None
    verb(*_command(shards, broken))
    for name in ("last", "best"):
        step, ours, settings = _checkpoint(unbroken, name)
        step_again, theirs, settings_again = _checkpoint(broken, name)
        assert step == step_again and settings == settings_again
        kinds = {"params", "batch_stats"}
        if name == "last":
            kinds |= {"opt_state", "average", "key", "step"}
        assert {key.split(".")[0] for key in ours} == kinds
        assert ours.keys() == theirs.keys() and len(ours) > 50
        for key, value in ours.items():
            assert value.tobytes() == theirs[key].tobytes(), key
    for name in ("history.csv", "finished.json"):
        same = [(workdir / "fold_0" / name).read_text() for workdir in (unbroken, broken)]
        assert same[0] == same[1], name
