"""The tables of a stage: what is said of all patients, written and read, and pooled anew."""

import dataclasses
from pathlib import Path

import pandas as pd

from msk_jax.evaluation.tables.predictions import pool, read_predictions, write_predictions
from msk_jax.experiment import Experiment, Stage


@dataclasses.dataclass(frozen=True)
class Tables:
    """What is said of all patients; tables as in `evaluation.predictions`."""

    test: pd.DataFrame
    """Each patient by the model that never saw them."""
    validation: pd.DataFrame
    training: pd.DataFrame = dataclasses.field(default_factory=pd.DataFrame)
    """Patients by the models that were trained on them; empty where nobody asked."""
    test_sets: dict[str, pd.DataFrame] = dataclasses.field(default_factory=dict)
    """By name, patients of no fold by the mean of all models."""


def prefix(experiment: Experiment, stage: Stage) -> str:
    """What the names of a stage's tables begin with; nothing for the first, whose tables are those
    of the study."""
    return "" if stage == experiment.stages[0] else f"{stage.name}_"


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
