"""A run killed in mid-epoch and started again ends as one that was not, bit for bit."""

import json
import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from msk_jax.training.checkpoints import Checkpoints
from tests.conftest import REPOSITORY, TINY


def _command(shards, workdir):
    return [
        sys.executable, "-m", "msk_jax", "train", TINY, "--data-dir", str(shards),
        "--workdir", str(workdir), "--fold", "0", "--checkpoint-every", "2", "--epochs", "3",
        "--average-decay", "0.9",
    ]  # fmt: skip


def _environment():
    # One device: the question is what a kill changes, not how many devices there are.
    return {**os.environ, "XLA_FLAGS": ""}


def _final_parameters(workdir):
    folder = workdir / "fold_0"
    steps = json.loads((folder / "finished.json").read_text())["steps"]
    arrays = []
    for name, step in (("last", steps), ("best", None)):
        checkpoints = Checkpoints(folder / name)
        step = checkpoints.latest() if step is None else step
        tree = checkpoints._manager.restore(step)["state"]
        arrays.append((step, tree))
        checkpoints.close()
    return arrays


def _flatten(tree, prefix=""):
    for key, value in sorted(tree.items()) if isinstance(tree, dict) else []:
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            yield from _flatten({str(i): v for i, v in enumerate(value)}, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value


def _bytes(value):
    if jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    return np.asarray(value).tobytes()


def _run_and_kill(command, workdir, after_step):
    """Start, wait for a checkpoint in mid-epoch, and kill without warning."""
    process = subprocess.Popen(
        command,
        env=_environment(),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    seen = workdir / "fold_0" / "last" / str(after_step) / "_CHECKPOINT_METADATA"
    deadline = time.time() + 120
    while not seen.exists() and process.poll() is None and time.time() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert seen.exists(), process.stdout.read().decode()[-2000:]


@pytest.mark.parametrize("after_step", [2])
def test_killed_run_ends_as_an_unbroken_one(shards, tmp_path, after_step):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(
        _command(shards, whole), env=_environment(), cwd=REPOSITORY, check=True, capture_output=True
    )
    steps = json.loads((whole / "fold_0" / "finished.json").read_text())["steps"]
    assert (steps // 3) % after_step or after_step < steps // 3, (
        "the kill must fall inside an epoch"
    )
    _run_and_kill(_command(shards, broken), broken, after_step)
    assert not (broken / "fold_0" / "finished.json").exists(), "it finished before it was killed"
    subprocess.run(
        _command(shards, broken),
        env=_environment(),
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    for (step_a, a), (step_b, b) in zip(
        _final_parameters(whole), _final_parameters(broken), strict=True
    ):
        assert step_a == step_b
        ours, theirs = dict(_flatten(a)), dict(_flatten(b))
        assert ours.keys() == theirs.keys() and len(ours) > 50
        for name, value in ours.items():
            assert _bytes(value) == _bytes(theirs[name]), name
    assert (whole / "fold_0/history.csv").read_text() == (broken / "fold_0/history.csv").read_text()
