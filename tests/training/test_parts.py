"""Staged transfer: what is frozen stays, every phase has its own rate, a killed run ends alike."""

import dataclasses

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from msk_jax.data.shards.folds import load_folds
from msk_jax.errors import Stopped
from msk_jax.experiment import load
from msk_jax.study import training
from msk_jax.training.checkpoints import Checkpoints
from tests.conftest import TINY_SPINE


@pytest.fixture(scope="module")
def setting(spine_shards):
    """The trainer and what `fit` needs of the first fold."""
    experiment = load(TINY_SPINE)
    data = training.open_cohort(experiment, experiment.stages[0], spine_shards)
    folds = load_folds(spine_shards, data.patient_labels)
    trainer = training.make_trainer(data, folds, experiment.stages[0])
    parts = (training.members(folds, 0, role) for role in ("train", "validation"))
    return trainer, (data, *parts)


def _fit(setting, folder, begin, end):
    """Train on from step `begin`, asked to stop at step `end`."""
    trainer, data = setting
    done = [begin]
    trainer.fit(
        folder,
        0,
        *data,
        {},
        lambda step, total, note: done.append(step),
        asked_to_stop=lambda: done[-1] + 1 >= end,
    )


def _restored(folder, like):
    """Parameters, statistics and optimiser of the last checkpoint, as plain arrays."""
    with Checkpoints(folder / "last") as last:
        return last.latest(), jax.device_get(last.restore(last.latest(), like))


def test_phases_freeze_go_on_and_may_be_interrupted(setting, spine_run, tmp_path):
    """Stopped within the phase, at its end and after it; `spine_run` was never stopped."""
    trainer, whole = setting[0], spine_run / "fold_0"
    steps = trainer.steps_per_epoch
    assert [(part.begin, part.end) for part in trainer.parts] == [(0, steps), (steps, 3 * steps)]
    assert float(trainer.parts[0].rate(0)) == pytest.approx(1e-2)
    first = trainer.initial_state(0)
    for begin, end in ((0, 1), (1, steps)):
        with pytest.raises(Stopped):
            _fit(setting, tmp_path, begin, end)
    step, frozen = _restored(tmp_path, first)
    assert step == steps
    same = jax.tree.map(np.array_equal, jax.device_get(first.params), frozen.params)
    assert all(jax.tree.leaves(same["encoder"])), "frozen parameters are unchanged"
    assert not any(same["head.1"][name] for name in ("kernel", "bias"))
    with pytest.raises(Stopped):
        _fit(setting, tmp_path, steps, steps + 1)
    _fit(setting, tmp_path, steps + 1, np.inf)
    like = trainer.parts[-1].enter(first)
    (step, parts), (end, never_stopped) = (_restored(f, like) for f in (tmp_path, whole))
    assert step == end == 3 * steps
    equal = jax.tree.map(np.array_equal, parts, never_stopped)
    assert all(jax.tree.leaves(equal)), "bit for bit, optimiser included"
    moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), frozen.params, parts.params)
    assert moved["encoder"]["conv1"]["kernel"], "the last phase trains everything"
    for name in ("finished.json", "history.csv"):
        assert (tmp_path / name).read_text() == (whole / name).read_text()
    assert len((whole / "history.csv").read_text().splitlines()) == 1 + 2 * 3


def test_weights_are_loaded_for_the_pictures_that_the_network_sees(setting, tmp_path, monkeypatch):
    trainer, _ = setting
    path, asked = tmp_path / "w.safetensors", []
    save_file({"conv1.weight": np.ones(3, np.float32)}, path)

    def load_weights(variables, state, size):
        asked.append(([*state], size))
        return variables

    cropped = dataclasses.replace(trainer.step_settings.preprocess, crop=16, shrink=2)
    settings = dataclasses.replace(trainer.step_settings, preprocess=cropped)
    monkeypatch.setattr(trainer, "step_settings", settings)
    monkeypatch.setattr(trainer, "recipe", dataclasses.replace(trainer.recipe, init_from=path))
    monkeypatch.setattr(trainer, "_load", load_weights)
    monkeypatch.setattr("msk_jax.training.loop._UNTRAINED", lambda *given: {})
    monkeypatch.setattr("msk_jax.training.loop._FIRST", lambda settings, variables, key: variables)
    trainer.initial_state(0)
    assert asked == [(["conv1.weight"], (8, 8))]


def test_folds_of_very_different_size_take_their_own_steps(tiny):
    class Cohort:
        def steps_per_epoch(self, patients, batch_size, balanced):
            return len(patients)

    def steps(*sizes):
        folds = {f"{k}-{i}": k for k, size in enumerate(sizes) for i in range(size)}
        return training.steps_of_folds(Cohort(), folds, tiny.stages[0])

    # Fold k trains on all patients but those of folds k and k + 1.
    assert steps(10, 10, 10, 10) == [20] * 4
    assert steps(10, 12, 10, 10) == [20] * 4, "nearly the same: they share the compiled step"
    assert steps(40, 10, 10, 10) == [20, 50, 50, 20]
