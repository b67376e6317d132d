"""Stages that learn from tables, asked about new patients by what a manifest says of them."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from msk_jax.data.cohort.cohort import Cohort
from msk_jax.evaluation.tables.predictions import probability_columns
from msk_jax.experiment import Stage
from msk_jax.study.answers import Answers, answer_columns, handed_on, said_by, stage_rows
from msk_jax.study.listener import Listener
from msk_jax.study.package import SavedModel
from msk_jax.study.patients import allowed_words


def askable(saved: SavedModel, patients: pd.DataFrame | None, listener: Listener) -> SavedModel:
    """The model with those stages alone whose fields are known; says which are not asked, and why.

    Args:
        saved: the model of a run.
        patients: of the manifest, see `patients.patients_of_manifest`; None: there is none.
        listener: is told.
    """
    fields = {"site", "age", "sex"} | {one.name for one in saved.experiment.cohort.variables}
    known = set() if patients is None else set(patients)
    kept, left_out = {}, set()
    for name, members in saved.estimators.items():
        reads = saved.experiment.stage(name).reads
        missing = [read for read in reads if read in fields and read not in known]
        unheard = [read.partition(".")[0] for read in reads if read.partition(".")[0] in left_out]
        if not missing and not unheard:
            kept[name] = members
            continue
        left_out.add(name)
        if unheard:
            why = f"it hears {unheard[0]}, which is not asked either"
        elif patients is None:
            wanted = ", ".join(read for read in reads if read in fields)
            why = f"it wants {wanted}. Give --manifest with patient_id and these columns"
        else:
            why = f"the manifest has no column {', '.join(missing)}"
        listener.say(f"The {name} model is not asked: {why}.")
    return dataclasses.replace(saved, estimators=kept)


def with_estimators(
    saved: SavedModel,
    table: pd.DataFrame,
    by_member: Sequence[pd.DataFrame],
    patients: pd.DataFrame | None,
) -> pd.DataFrame:
    """The table with a column `prob_<stage>` (of several classes `prob_<stage>_<class>`), filled in
    the rows of patients.

    Args:
        saved: the model.
        table: rows of all levels, by the mean of the networks.
        by_member: the same by each network.
        patients: of the manifest.
    """
    if not saved.estimators:
        return table
    table = table.reset_index(drop=True)
    rows = table[table["level"] == saved.experiment.cohort.levels[-1]]
    named = pd.DataFrame(index=rows["patient_id"]) if patients is None else patients
    asked = named.reindex(rows["patient_id"].to_numpy()).set_axis(rows["unit_id"], axis=0)
    heard = _heard(saved, rows, by_member)
    for name, said in estimated(saved, asked, heard).items():
        classes = saved.experiment.stage(name).task.classes(saved.experiment.cohort)
        columns = [f"prob_{name}"] if len(classes) == 2 else [f"prob_{name}_{c}" for c in classes]
        table.loc[rows.index, columns] = said[:, 1:] if len(classes) == 2 else said
    return table


def predict_table(saved: SavedModel, patients: pd.DataFrame) -> pd.DataFrame:
    """A row a patient: of each stage a probability, and of two classes, by the first stage's
    operating point, whether the patient is called positive.

    Args:
        saved: the model of a run that reads a table alone.
        patients: see `patients.patients_of_manifest`.
    """
    cohort = saved.experiment.cohort
    columns: dict[str, np.ndarray] = {"patient_id": patients.index.to_numpy()}
    first = saved.experiment.stages[0].name
    for name, said in estimated(saved, patients, {}).items():
        classes = saved.experiment.stage(name).task.classes(cohort)
        for k, label in enumerate(classes):
            if len(classes) > 2:
                columns[f"prob_{name}_{label}"] = said[:, k]
        if len(classes) == 2:
            columns["prob" if name == first else f"prob_{name}"] = said[:, 1]
    table = pd.DataFrame(columns)
    limit = saved.thresholds[cohort.levels[-1]]
    if limit is not None and "prob" in table:
        table.insert(2, "threshold", limit)
        table.insert(3, "positive", (table["prob"] >= limit).astype(int))
    return table


def estimated(
    saved: SavedModel, patients: pd.DataFrame, heard: Mapping[str, Answers]
) -> dict[str, np.ndarray]:
    """The mean probabilities [patients, classes] of each stage that learned from a table.

    Args:
        saved: the model.
        patients: what is known of them, see `patients.patients_of_manifest`.
        heard: what the network's members say of them.
    """
    heard, means = dict(heard), {}
    cohort = saved.experiment.cohort
    patients = _whole(cohort, patients)
    for name, members in saved.estimators.items():
        stage = saved.experiment.stage(name)
        each = [
            member.predict(stage_rows(stage, patients, heard, patients.index, said_by(k)))
            for k, member in enumerate(members)
        ]
        means[name] = np.mean(each, axis=0)
        heard[name] = _answers(stage, cohort, patients.index, each)
    return means


def _whole(cohort: Cohort, patients: pd.DataFrame) -> pd.DataFrame:
    """The table with '' for unknown words; those of patients who are not in the manifest are."""
    words = allowed_words(cohort)
    return patients.assign(
        **{name: patients[name].fillna("") for name in patients if name in words}
    )


def _answers(stage: Stage, cohort: Cohort, names: pd.Index, each: Sequence[np.ndarray]) -> Answers:
    classes = stage.task.classes(cohort)
    tables = tuple(handed_on(stage.name, classes, pd.DataFrame(one, index=names)) for one in each)
    return Answers(pd.DataFrame(), (), tables)


def _heard(
    saved: SavedModel, rows: pd.DataFrame, by_member: Sequence[pd.DataFrame]
) -> dict[str, Answers]:
    """The answers of the network's members, by patient."""
    stage = saved.experiment.network_stage
    if stage is None:
        return {}
    classes = stage.task.classes(saved.experiment.cohort)
    columns = answer_columns(stage.name, classes)
    last = saved.experiment.cohort.levels[-1]
    tables = []
    for table in by_member:
        own = table[table["level"] == last].set_index("unit_id").loc[rows["unit_id"]]
        tables.append(own[probability_columns(classes)].set_axis(columns, axis=1))
    return {stage.name: Answers(pd.DataFrame(), (), tuple(tables))}
