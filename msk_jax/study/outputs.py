"""What the networks of all folds say of every patient, as tables that need no network to be read.

`train` ends with them: `predictions.csv` (each patient by the network that never saw them),
`validation_predictions.csv`, `test_set_predictions.csv` (patients of no fold, by the mean of all
networks), of three and more classes `training_predictions.csv`, `features.npz`, and last of all
`outputs.json`, which says what they were made from.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from msk_jax.data.fields import Word
from msk_jax.errors import UserError
from msk_jax.evaluation.settings import EvaluationSettings
from msk_jax.evaluation.tables.predictions import (
    ENSEMBLE,
    pool,
    probability_cells,
    read_predictions,
    write_predictions,
)
from msk_jax.experiment import Experiment
from msk_jax.files import read_json, replacing, write_json
from msk_jax.study.feature_map import Features, patient_features
from msk_jax.study.listener import SILENT, Listener
from msk_jax.study.training import Training, best_step, best_variables, make_trainer, members
from msk_jax.training import parallel
from msk_jax.training.loop import Trainer

OUTPUTS_NAME = "outputs.json"
_FEATURES_NAME = "features.npz"
_ANSWERS = ("probabilities", "features")
_OUTPUTS = {"best_steps": [int], "unit_pool": str, "patient_pool": str, "masks": bool}
_AGAIN = "Run `msk-jax train` again with the same --workdir."


@dataclasses.dataclass(frozen=True)
class Tables:
    """What is said of all patients; tables as in `evaluation.predictions`."""

    test: pd.DataFrame
    """Each patient by the network that never saw them."""
    validation: pd.DataFrame
    training: pd.DataFrame = dataclasses.field(default_factory=pd.DataFrame)
    """Patients by the networks that were trained on them; empty where nobody asked."""
    test_sets: dict[str, pd.DataFrame] = dataclasses.field(default_factory=dict)
    """By name, patients of no fold by the mean of all networks."""


@dataclasses.dataclass(frozen=True)
class Predicted:
    """What a finished training says."""

    tables: Tables
    features: Features
    """Of the first fold's network: its test patients and the test sets."""
    ensemble: list[Any]
    """The networks, by fold, for the devices of this host."""


def predict_everybody(training: Training, workdir: Path, listener: Listener = SILENT) -> Predicted:
    """Ask the networks of all folds about those whom they never saw, and about others.

    Every host asks about its own share of the patients.

    Raises:
        UserError: a fold is not finished, or a checkpoint is damaged.
    """
    data, folds = training.data, training.folds
    trainer = make_trainer(data, folds, training.stage)
    like = trainer.trained_like()
    several_classes = len(training.experiment.cohort.classes) > 2
    wanted = ("test", "validation", "train") if several_classes else ("test", "validation")
    ensemble, by_set, sets = [], {}, {}
    tables: dict[str, list[pd.DataFrame]] = {role: [] for role in wanted}
    with listener.progress("Predicting folds") as update:
        for k in range(training.num_folds):
            ensemble.append(parallel.on_this_host(best_variables(workdir, k, like)))
            for role in wanted:
                patients = members(folds, k, role)
                table, seen = _predict(training, trainer, ensemble[-1:], patients, k)
                tables[role].append(table)
                if role == "test" and k == 0:
                    by_set[Features.OWN] = seen
            update(k + 1, training.num_folds, "")
    for name, patients in training.test_sets.items():
        sets[name], by_set[name] = _predict(training, trainer, ensemble, patients, ENSEMBLE)
    joined = {role: pd.concat(rows) for role, rows in tables.items()}
    said = Tables(joined["test"], joined["validation"], joined.get("train", pd.DataFrame()), sets)
    return Predicted(said, Features.of(by_set, data.patient_labels), ensemble)


def _predict(
    training: Training, trainer: Trainer, networks: list, patients: set[str], fold: int
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Rows of all levels for these patients by the mean of some networks, and each patient's
    features by the first of them."""
    data = training.data
    table = data.table(patients)
    batches = data.evaluation_batches(patients, trainer.batch_size)
    each = [parallel.gather_answers(trainer.predict(one, batches), _ANSWERS) for one in networks]
    probabilities, features = ([answers[name] for answers in each] for name in _ANSWERS)
    mean = np.mean(probabilities, axis=0) if len(each) > 1 else probabilities[0]
    pooled = _all_levels(training, table, mean, fold)
    return pooled, patient_features(table.patient_id, features[0])


def _all_levels(training: Training, table, probabilities: np.ndarray, fold: int) -> pd.DataFrame:
    """Rows of images with what the cohort keeps of their patients, of units and of patients."""
    experiment = training.experiment
    cohort, evaluation = experiment.cohort, experiment.judging.evaluation
    owners = [training.data.records[k] for k in table.record]
    rows = pd.DataFrame(
        {
            "patient_id": table.patient_id,
            "unit_id": table.unit_id,
            "level": cohort.levels[0],
            "fold": fold,
            "label": table.label,
            **probability_cells(cohort.classes, probabilities),
            **{name: [owner[name] for owner in owners] for name in ("site", "age", "sex")},
            **{
                v.name: [
                    # Shards hold single precision: 154.8 there is 154.80000305.
                    owner[v.name] if isinstance(v, Word) else float(f"{owner[v.name]:.7g}")
                    for owner in owners
                ]
                for v in cohort.variables
            },
        }
    )
    return pool(
        rows,
        {owner["unit_id"]: int(owner["label"]) for owner in owners},
        {owner["patient_id"]: int(owner["patient_label"]) for owner in owners},
        unit=evaluation.unit_pool,
        patient=evaluation.patient_pool,
        levels=cohort.levels,
    )


def write_tables(tables: Tables, workdir: Path, prefix: str = "") -> None:
    """Write the tables; those that are empty are not there afterwards."""
    test_sets = [table.assign(test_set=name) for name, table in tables.test_sets.items()]
    for name, table in {
        "predictions": tables.test,
        "validation_predictions": tables.validation,
        "training_predictions": tables.training,
        "test_set_predictions": pd.concat(test_sets) if test_sets else pd.DataFrame(),
    }.items():
        path = workdir / f"{prefix}{name}.csv"
        if len(table):
            write_predictions(table, path)
        else:
            path.unlink(missing_ok=True)


def read_tables(workdir: Path, levels: tuple[str, ...], prefix: str = "") -> Tables:
    """The tables that `write_tables` wrote.

    Raises:
        UserError: one is missing or faulty.
    """

    def read(name, role, needed=False):
        path = workdir / f"{prefix}{name}.csv"
        if needed or path.is_file():
            return read_predictions(path, role, levels)
        return pd.DataFrame()

    tested = read("test_set_predictions", "test")
    sets = dict(list(tested.groupby("test_set", sort=False))) if len(tested) else {}
    return Tables(
        read("predictions", "test", needed=True),
        read("validation_predictions", "validation"),
        read("training_predictions", "validation"),
        {str(name): table.drop(columns="test_set") for name, table in sets.items()},
    )


def pooled_anew(tables: Tables, experiment: Experiment) -> Tables:
    """The tables with units and patients pooled from their images as the experiment now says."""

    def anew(table: pd.DataFrame) -> pd.DataFrame:
        if not len(table):
            return table
        images, units, patients = (
            table[table["level"] == level] for level in experiment.cohort.levels
        )
        return pool(
            images,
            dict(zip(units["unit_id"], units["label"], strict=True)),
            dict(zip(patients["unit_id"], patients["label"], strict=True)),
            unit=experiment.judging.evaluation.unit_pool,
            patient=experiment.judging.evaluation.patient_pool,
            levels=experiment.cohort.levels,
        )

    return Tables(
        anew(tables.test),
        anew(tables.validation),
        anew(tables.training),
        {name: anew(table) for name, table in tables.test_sets.items()},
    )


def write_features(features: Features, workdir: Path) -> None:
    """Write what `read_features` reads, without pickles."""
    with replacing(workdir / _FEATURES_NAME) as temporary, temporary.open("wb") as file:
        np.savez(file, **dataclasses.asdict(features))


def read_features(workdir: Path) -> Features:
    """The features of patients.

    Raises:
        UserError: they are missing or damaged.
    """
    path = workdir / _FEATURES_NAME
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return Features(**{name: stored[name] for name in stored.files})
    except Exception as error:  # what a damaged archive raises depends on where it is damaged
        raise UserError(f"{path} cannot be read ({type(error).__name__}). {_AGAIN}") from error


def mark_written(training: Training, workdir: Path, masks: bool) -> None:
    """Say, when all else is written, what the outputs were made from."""
    write_json(workdir / OUTPUTS_NAME, _made_from(training, workdir, masks))


def are_written(training: Training, workdir: Path, masks: bool) -> bool:
    """Whether the outputs of these very networks are there; with maps on masks if asked for."""
    if not (workdir / OUTPUTS_NAME).is_file():
        return False
    made = read_json(workdir / OUTPUTS_NAME, _OUTPUTS, f"Delete it. {_AGAIN}")
    return made in (_made_from(training, workdir, True), _made_from(training, workdir, masks))


def check_written(workdir: Path) -> Mapping[str, Any]:
    """What the outputs of a training were made from.

    Raises:
        UserError: it has none, for it is not finished.
    """
    path = workdir / OUTPUTS_NAME
    if not path.is_file():
        raise UserError(
            f"There are no predictions in {workdir}: its training is not finished. {_AGAIN} It "
            "goes on from the last checkpoint."
        )
    return read_json(path, _OUTPUTS, f"Delete it. {_AGAIN}")


def note_pooling(workdir: Path, made: Mapping[str, Any], evaluation: EvaluationSettings) -> None:
    """Say that the tables, made as `made` says, are pooled as `evaluation` says by now."""
    pools = {"unit_pool": evaluation.unit_pool, "patient_pool": evaluation.patient_pool}
    write_json(workdir / OUTPUTS_NAME, {**made, **pools})


def _made_from(training: Training, workdir: Path, masks: bool) -> dict[str, Any]:
    evaluation = training.experiment.judging.evaluation
    return {
        "best_steps": [best_step(workdir, k) for k in range(training.num_folds)],
        "unit_pool": evaluation.unit_pool,
        "patient_pool": evaluation.patient_pool,
        "masks": masks,
    }
