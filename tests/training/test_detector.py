"""A detector through the ordinary trainer: built, trained, validated, resumed and asked."""

import csv

import numpy as np
import pytest

from msk_jax.data.build.builder import build_cohort
from msk_jax.data.feed.sharded_cohort import ShardedCohort
from msk_jax.data.shards.folds import load_folds
from msk_jax.dotted import changed
from msk_jax.experiment import load
from msk_jax.phantoms import write_cohort
from msk_jax.study.training import best_variables, make_trainer, members
from msk_jax.tasks.detection import detections_of, precision_of_classes
from tests.tiny_lacunae import experiment


def built(experiment, folder):
    source = folder / "cohort"
    write_cohort(source, experiment.phantom)
    target = folder / "shards"
    manifest = source / "manifest.csv"
    build_cohort(
        experiment.cohort, source / "dicom", manifest, target, num_folds=experiment.split.folds
    )
    data = ShardedCohort(target, 3, 1)
    return data, load_folds(target, data.patient_labels)


def fit(trainer, folder, data, folds):
    train, validation = (members(folds, 0, role) for role in ("train", "validation"))
    trainer.fit(folder / "fold_0", 0, data, train, validation, {}, lambda *_: None)
    with (folder / "fold_0" / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return built(experiment, tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize("epochs", [2])
def test_it_is_trained_as_any_network_and_its_history_is_kept(cohort, tmp_path, epochs):
    data, folds = cohort
    stage = changed(experiment, {"detect.recipe.epochs": epochs}).stages[0]
    trainer = make_trainer(data, folds, stage)
    rows = fit(trainer, tmp_path, data, folds)
    assert [row["split"] for row in rows] == ["train", "validation"] * epochs
    # Training knows a loss and no precision, validation the other.
    assert all(float(row["loss"]) > 0 and not row["ap50"] for row in rows[::2])
    assert all(not row["loss"] and 0 <= float(row["ap50"]) <= 1 for row in rows[1::2])
    # Validation has no loss; a run that goes on keeps its rows all the same.
    (tmp_path / "fold_0" / "finished.json").unlink()
    assert fit(make_trainer(data, folds, stage), tmp_path, data, folds) == rows

    variables = best_variables(tmp_path, 0, trainer.trained_like())
    table = data.table(members(folds, 0, "test"))
    answers = trainer.predict(variables, data.evaluation_batches(set(table.patient_id), 4))
    assert answers["boxes"].shape == (4, 16, 4) and answers["labels"].shape == (4, 16)
    for row in range(4):
        boxes, scores, classes = detections_of(answers, row)
        assert ((boxes >= 0) & (boxes <= 64)).all() and set(classes) <= {0, 1, 2}
        assert (np.diff(scores) <= 0).all()
    assert precision_of_classes(trainer.task, table, answers).shape == (3,)


SMALL = load("empty_lacunae").at_small_size()


@pytest.mark.slow
def test_it_finds_lacunae_of_animals_that_it_never_saw(tmp_path):
    """Of three classes, and as many empty ones as there are."""
    data, folds = built(SMALL, tmp_path)
    trainer = make_trainer(data, folds, SMALL.stages[0])
    fit(trainer, tmp_path, data, folds)
    variables = best_variables(tmp_path, 0, trainer.trained_like())
    table = data.table(members(folds, 0, "test"))
    answers = trainer.predict(variables, data.evaluation_batches(set(table.patient_id), 4))
    assert trainer.task.validation(table, answers)["ap50"] > 0.7
    counts = []
    for row, number in enumerate(table.record):
        _, scores, classes = detections_of(answers, row)
        counts.append(
            [(classes[scores >= 0.5] == 2).sum(), (data.records[number]["cells_class"] == 2).sum()]
        )
    assert np.corrcoef(np.transpose(counts))[0, 1] > 0.9
