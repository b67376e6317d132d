"""Staged transfer: what is frozen stays, every phase has its own rate, a killed run ends alike."""

import json

import jax
import numpy as np
import pytest

from msk_jax.data.folds import load_folds
from msk_jax.errors import Stopped
from msk_jax.experiment import load
from msk_jax.verbs import train
from tests.conftest import TINY_SPINE


@pytest.fixture(scope="module")
def setting(spine_shards):
    """The trainer and what `fit` needs of the first fold."""
    experiment = load(TINY_SPINE)
    data = train.open_cohort(experiment, experiment.stage, spine_shards)
    folds = load_folds(spine_shards, data.patient_labels)
    trainer = train.make_trainer(data, folds, experiment.stage)
    return trainer, (data, train.members(folds, 0, "train"), train.members(folds, 0, "validation"))


def _fit(setting, folder, stop_at=None):
    trainer, data = setting
    seen = []

    def stop():
        return stop_at is not None and len(seen) >= stop_at

    def progress(done, total, note):
        seen.append(done)

    trainer.fit(folder, 0, *data, {}, progress, asked_to_stop=stop)
    return seen


def _state(setting, folder):
    """Parameters, statistics and optimiser of the last checkpoint, as plain arrays."""
    from msk_jax.training.checkpoints import Checkpoints

    trainer = setting[0]
    with Checkpoints(folder / "last") as last:
        like = trainer.parts[-1].enter(trainer.initial_state(0))
        return jax.device_get(last.restore(last.latest(), like))


def test_phases_freeze_and_go_on(setting, tmp_path):
    trainer = setting[0]
    steps = trainer.steps_per_epoch
    assert [(part.begin, part.end) for part in trainer.parts] == [(0, steps), (steps, 3 * steps)]
    assert float(trainer.parts[0].rate(0)) == pytest.approx(1e-2)
    first = jax.device_get(trainer.initial_state(0))
    with pytest.raises(Stopped):
        _fit(setting, tmp_path, stop_at=steps - 1)  # asked during the phase's last step but one
    from msk_jax.training.checkpoints import Checkpoints

    with Checkpoints(tmp_path / "last") as last:
        assert last.latest() == steps
        frozen = jax.device_get(last.restore(steps, trainer.initial_state(0)))
    same = jax.tree.map(np.array_equal, first.params, frozen.params)
    assert all(jax.tree.leaves(same["encoder"])), "frozen parameters are unchanged"
    assert not any(same["head.1"][name] for name in ("kernel", "bias"))
    _fit(setting, tmp_path)
    after = _state(setting, tmp_path)
    moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), first.params, after.params)
    assert moved["encoder"]["conv1"]["kernel"], "the last phase trains everything"
    history = (tmp_path / "history.csv").read_text().splitlines()
    assert len(history) == 1 + 2 * 3


def test_stopped_in_either_phase_ends_alike(setting, tmp_path):
    steps = setting[0].steps_per_epoch
    _fit(setting, tmp_path / "whole")
    for stop_at in (0, steps - 1, 0):
        with pytest.raises(Stopped):
            _fit(setting, tmp_path / "parts", stop_at=stop_at)
    _fit(setting, tmp_path / "parts")
    whole, parts = (_state(setting, tmp_path / name) for name in ("whole", "parts"))
    equal = jax.tree.map(np.array_equal, whole, parts)
    assert all(jax.tree.leaves(equal)), "bit for bit, optimiser included"
    finished = [
        json.loads((tmp_path / n / "finished.json").read_text()) for n in ("whole", "parts")
    ]
    assert finished[0] == finished[1]
