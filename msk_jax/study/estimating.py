"""Estimators of tables over the folds: fitted, asked, and their answers handed on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from msk_jax.data.shards.folds import roles
from msk_jax.evaluation.tables.predictions import ENSEMBLE, probability_cells
from msk_jax.experiment import Experiment, Stage
from msk_jax.methods.fitting import Fitted, fit
from msk_jax.study.answers import (
    Answers,
    Hearing,
    handed_on,
    known,
    said_by,
    stage_rows,
    validated_by,
)
from msk_jax.study.patients import allowed_words, ordered_words
from msk_jax.study.tables import Tables


@dataclass(frozen=True)
class Patients:
    """Who is known, and what part each has."""

    table: pd.DataFrame
    """See `patients.patients_of_records`."""
    folds: Mapping[str, int]
    """Of each patient who is in one."""
    test_sets: Mapping[str, set[str]]
    """By name, patients who are in no fold."""
    trained: int | None = None
    """See `experiment.Split.trained`."""

    @property
    def num_folds(self) -> int:
        """Folds that are trained, and so members of a stage."""
        every = max(self.folds.values()) + 1
        return min(every, self.trained or every)

    def of_role(self, k: int, role: str) -> list[str]:
        """The patients of one role in split k, in the order of the table."""
        by_role = roles(self.folds, k)
        return [name for name in self.table.index if by_role.get(name) == role]

    def outside(self) -> list[str]:
        """The patients of all test sets."""
        of_sets = set().union(*self.test_sets.values())
        return [name for name in self.table.index if name in of_sets]


@dataclass(frozen=True)
class FittedStage:
    """An estimator over all folds."""

    tables: Tables
    """Rows of patients alone."""
    answers: Answers
    members: tuple[Fitted, ...]
    """By fold."""


def fit_stage(
    experiment: Experiment,
    stage: Stage,
    patients: Patients,
    answers: Mapping[str, Answers],
    seed: int,
) -> FittedStage:
    """Fit one model per fold on its training patients, and ask all of them.

    Args:
        experiment: of the stage.
        stage: whose method is an `Estimator`.
        patients: all of them.
        answers: of the stages above, by name.
        seed: of everything random.

    Raises:
        UserError: see `methods.fitting.fit`.
    """
    cohort = experiment.cohort
    classes, words = stage.task.classes(cohort), allowed_words(cohort)
    members, tests, validations, outside = [], [], [], []
    place = [one.name for one in experiment.stages].index(stage.name)
    for k in range(patients.num_folds):
        trained = patients.of_role(k, "train")
        own = np.random.SeedSequence((seed, place, k)).generate_state(1)[0] >> 1
        member = fit(
            stage.method,
            stage_rows(stage, patients.table, answers, trained, known),
            patients.table.loc[trained, "label"].to_numpy(),
            len(classes),
            words,
            ordered_words(cohort),
            np.array(trained),
            int(own),
        )

        def ask(names: Sequence[str], hearing: Hearing, member: Fitted = member) -> pd.DataFrame:
            rows = stage_rows(stage, patients.table, answers, names, hearing)
            return pd.DataFrame(member.predict(rows), index=list(names), columns=list(classes))

        members.append(member)
        tests.append(ask(patients.of_role(k, "test"), known))
        validations.append(ask(patients.of_role(k, "validation"), validated_by(k)))
        outside.append(ask(patients.outside(), said_by(k)))
    return FittedStage(
        _tables(experiment, stage, patients, tests, validations, outside),
        answers_of(stage.name, classes, pd.concat(tests), validations, outside),
        tuple(members),
    )


def answers_of(
    stage: str,
    classes: tuple[str, ...],
    out_of_fold: pd.DataFrame,
    validations: Sequence[pd.DataFrame],
    outside: Sequence[pd.DataFrame],
) -> Answers:
    """Answers from tables of probabilities [patients, classes]."""
    shown = partial(handed_on, stage, classes)
    return Answers(shown(out_of_fold), tuple(map(shown, validations)), tuple(map(shown, outside)))


def _tables(
    experiment: Experiment,
    stage: Stage,
    patients: Patients,
    tests: Sequence[pd.DataFrame],
    validations: Sequence[pd.DataFrame],
    outside: Sequence[pd.DataFrame],
) -> Tables:
    """What was said as tables of predictions; of patients of no fold the mean of all members."""

    def rows(probabilities: pd.DataFrame, fold: int) -> pd.DataFrame:
        return prediction_rows(experiment, stage, patients.table, probabilities, fold)

    mean = sum(outside[1:], outside[0]) / len(outside)
    sets = {name: mean.loc[[p for p in mean.index if p in of_set]]
            for name, of_set in patients.test_sets.items()}  # fmt: skip
    return Tables(
        pd.concat([rows(table, k) for k, table in enumerate(tests)], ignore_index=True),
        pd.concat([rows(table, k) for k, table in enumerate(validations)], ignore_index=True),
        test_sets={name: rows(table, ENSEMBLE) for name, table in sets.items() if len(table)},
    )


def prediction_rows(
    experiment: Experiment,
    stage: Stage,
    patients: pd.DataFrame,
    probabilities: pd.DataFrame,
    fold: int,
) -> pd.DataFrame:
    """Rows of a table of predictions for these patients [patients, classes]."""
    names = list(probabilities.index)
    about = patients.loc[names].drop(columns="label")
    return pd.DataFrame(
        {
            "patient_id": names,
            "unit_id": names,
            "level": experiment.cohort.levels[-1],
            "fold": fold,
            "label": patients.loc[names, "label"].to_numpy(),
            **probability_cells(stage.task.classes(experiment.cohort), probabilities.to_numpy()),
            **{name: about[name].to_numpy() for name in about},
        }
    )
