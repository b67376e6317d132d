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

from msk_jax.data.feed.sharded_cohort import StackTable
from msk_jax.data.fields import Word
from msk_jax.errors import UserError
from msk_jax.evaluation.settings import EvaluationSettings
from msk_jax.evaluation.tables.predictions import (
    ENSEMBLE,
    pool,
    probability_cells,
    probability_columns,
)
from msk_jax.files import read_json, replacing, write_json
from msk_jax.study.answers import Answers, answer_columns
from msk_jax.study.chain import Chain
from msk_jax.study.feature_map import Features, patient_features
from msk_jax.study.listener import SILENT, Listener
from msk_jax.study.tables import Tables
from msk_jax.study.training import Training, best_step, best_variables, make_trainer, members
from msk_jax.training import parallel
from msk_jax.training.loop import Trainer

OUTPUTS_NAME = "outputs.json"
_FEATURES_NAME = "features.npz"
_ANSWERS = ("probabilities", "features")
_OUTPUTS = {"best_steps": [int], "unit_pool": str, "patient_pool": str, "masks": bool}
_AGAIN = "Run `msk-jax train` again with the same --workdir."


@dataclasses.dataclass(frozen=True)
class Predicted:
    """What a finished training says."""

    tables: Tables
    answers: Answers
    """Of patients, for the stages that follow."""
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
    outside: list[list[pd.DataFrame]] = [[] for _ in range(training.num_folds)]
    tables: dict[str, list[pd.DataFrame]] = {role: [] for role in wanted}
    with listener.progress("Predicting folds") as update:
        for k in range(training.num_folds):
            ensemble.append(parallel.on_this_host(best_variables(workdir, k, like)))
            for role in wanted:
                patients = members(folds, k, role)
                said = _ask(training, trainer, ensemble[-1:], patients)
                tables[role].append(said.by_mean(training, k))
                if role == "test" and k == 0:
                    by_set[Features.OWN] = said.features()
            update(k + 1, training.num_folds, "")
    for name, patients in training.test_sets.items():
        said = _ask(training, trainer, ensemble, patients)
        sets[name], by_set[name] = said.by_mean(training, ENSEMBLE), said.features()
        for k in range(training.num_folds):
            outside[k].append(said.by_member(training, k))
    joined = {role: pd.concat(rows) for role, rows in tables.items()}
    everybody = Tables(
        joined["test"], joined["validation"], joined.get("train", pd.DataFrame()), sets
    )
    answers = _answers(training, everybody, outside)
    return Predicted(everybody, answers, Features.of(by_set, data.patient_labels), ensemble)


@dataclasses.dataclass(frozen=True)
class _Said:
    """What some networks say of the images of some patients."""

    table: StackTable
    answers: list[dict[str, np.ndarray]]
    """By network."""

    def by_mean(self, training: Training, fold: int) -> pd.DataFrame:
        """Rows of all levels by the mean of the networks."""
        each = [answers["probabilities"] for answers in self.answers]
        mean = np.mean(each, axis=0) if len(each) > 1 else each[0]
        return _all_levels(training, self.table, mean, fold)

    def by_member(self, training: Training, k: int) -> pd.DataFrame:
        """Rows of all levels by one network."""
        return _all_levels(training, self.table, self.answers[k]["probabilities"], k)

    def features(self) -> dict[str, np.ndarray]:
        """Each patient's features by the first network."""
        return patient_features(self.table.patient_id, self.answers[0]["features"])


def _ask(training: Training, trainer: Trainer, networks: list, patients: set[str]) -> _Said:
    data = training.data
    batches = data.evaluation_batches(patients, trainer.batch_size)
    each = [parallel.gather_answers(trainer.predict(one, batches), _ANSWERS) for one in networks]
    return _Said(data.table(patients), each)


def _answers(training: Training, tables: Tables, outside: list[list[pd.DataFrame]]) -> Answers:
    """The answers about patients, of no fold by each network."""
    cohort, stage = training.experiment.cohort, training.stage
    classes = stage.task.classes(cohort)
    names = answer_columns(stage.name, classes)

    def of_patients(table: pd.DataFrame) -> pd.DataFrame:
        if not len(table):
            return pd.DataFrame(columns=names, dtype=float)
        rows = table[table["level"] == cohort.levels[-1]].set_index("patient_id")
        return rows[probability_columns(classes)].set_axis(names, axis=1)

    folds = range(training.num_folds)
    validation = tables.validation
    return Answers(
        of_patients(tables.test),
        tuple(of_patients(validation[validation["fold"] == k]) for k in folds),
        tuple(of_patients(pd.concat(rows) if rows else pd.DataFrame()) for rows in outside),
    )


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


def mark_written(chain: Chain, workdir: Path, masks: bool) -> None:
    """Say, when all else is written, what the outputs were made from."""
    write_json(workdir / OUTPUTS_NAME, _made_from(chain, workdir, masks))


def are_written(chain: Chain, workdir: Path, masks: bool) -> bool:
    """Whether the outputs of these very networks are there; with maps on masks if asked for."""
    if not (workdir / OUTPUTS_NAME).is_file():
        return False
    made = read_json(workdir / OUTPUTS_NAME, _OUTPUTS, f"Delete it. {_AGAIN}")
    return made in (_made_from(chain, workdir, True), _made_from(chain, workdir, masks))


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


def _made_from(chain: Chain, workdir: Path, masks: bool) -> dict[str, Any]:
    evaluation = chain.experiment.judging.evaluation
    networks = 0 if chain.training is None else chain.training.num_folds
    return {
        "best_steps": [best_step(workdir, k) for k in range(networks)],
        "unit_pool": evaluation.unit_pool,
        "patient_pool": evaluation.patient_pool,
        "masks": masks,
    }
