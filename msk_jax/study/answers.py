"""What a stage says of patients, handed on so that nobody leaks (docs/decisions/0043)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from msk_jax.experiment import Stage

Hearing = Callable[["Answers"], pd.DataFrame]


@dataclass(frozen=True)
class Answers:
    """The answers of one stage: tables by patient, whose columns are what other stages read.

    They are handed on out of fold: a patient of a fold gets them from the model that never saw
    that patient. For patients of no fold, member k of a later stage hears member k of this one.
    """

    out_of_fold: pd.DataFrame
    """Patients of the folds, each by the model that was to be tested on them."""
    validation: tuple[pd.DataFrame, ...]
    """By fold k, its validation patients by model k."""
    outside: tuple[pd.DataFrame, ...]
    """By fold k, patients of no fold by model k."""


def known(answers: Answers) -> pd.DataFrame:
    """What is heard of patients who are trained on or tested."""
    return answers.out_of_fold


def validated_by(k: int) -> Hearing:
    """What is heard of the validation patients of fold k."""
    return lambda answers: answers.validation[k]


def said_by(k: int) -> Hearing:
    """What member k is told of patients of no fold."""
    return lambda answers: answers.outside[k]


def stage_rows(
    stage: Stage,
    patients: pd.DataFrame,
    answers: Mapping[str, Answers],
    names: Iterable[str],
    hearing: Hearing,
) -> pd.DataFrame:
    """What a stage reads of some patients.

    Args:
        stage: which reads fields, and answers of stages above it.
        patients: the table of all.
        answers: by the names of stages.
        names: pseudonyms, in the order of the rows.
        hearing: which answers are heard.

    Returns:
        A row a patient, a column for each number, word or probability.
    """
    columns, names = [], list(names)
    for read in stage.reads:
        source = read.partition(".")[0]
        if source in answers and "." in read:
            heard = hearing(answers[source])
            columns.append(heard.loc[names, [c for c in heard if of_output(c, read)]])
        else:
            columns.append(patients.loc[names, [read]])
    return pd.concat(columns, axis=1)


def of_output(column: str, output: str) -> bool:
    """Whether a column is part of an output, as `grade.probability.A2` of `grade.probability`."""
    return column == output or column.startswith(f"{output}.")


def answer_columns(stage: str, classes: tuple[str, ...]) -> list[str]:
    """The columns of a stage's probabilities: that of the second class, or of each of several."""
    name = f"{stage}.probability"
    return [name] if len(classes) == 2 else [f"{name}.{label}" for label in classes]


def handed_on(stage: str, classes: tuple[str, ...], probabilities: pd.DataFrame) -> pd.DataFrame:
    """What later stages read of probabilities [patients, classes]: `answer_columns` by patient."""
    shown = probabilities.iloc[:, 1:] if len(classes) == 2 else probabilities
    return shown.set_axis(answer_columns(stage, classes), axis=1)
