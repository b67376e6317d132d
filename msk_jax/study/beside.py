"""The models beside a network: fitted on its tables, and asked about new patients."""

from collections.abc import Mapping

import pandas as pd

from msk_jax.data.cohort import Cohort, Manifest
from msk_jax.data.deidentify import pseudonym
from msk_jax.data.folds import roles
from msk_jax.experiment import Experiment
from msk_jax.study.listener import Listener
from msk_jax.study.outputs import Tables
from msk_jax.study.package import SavedModel
from msk_jax.training.tabular import Coefficients, fit_folds, mean_of


def beside_prefix(name: str) -> str:
    """What the names of a model's tables begin with."""
    return f"{name}_"


def fit_beside(
    tables: Tables, folds: Mapping[str, int], experiment: Experiment
) -> dict[str, tuple[Tables, tuple[Coefficients, ...]]]:
    """Each model's tables and, by fold, what it has learned, by its name."""
    parts = [roles(folds, k) for k in range(max(folds.values()) + 1)]
    known = (tables.test, tables.validation, tables.test_sets, experiment.cohort.levels[-1])
    fitted = {model.name: fit_folds(model, parts, *known) for model in experiment.beside}
    return {
        name: (Tables(model.test, model.validation, test_sets=model.test_sets), model.models)
        for name, model in fitted.items()
    }


def patients_of(places: Manifest, cohort: Cohort, secret: bytes) -> pd.DataFrame:
    """What a manifest says of its patients, by pseudonym; only columns that it has."""
    names = [variable.name for variable in cohort.clinical]
    rows = [
        {"patient_id": pseudonym(row.patient_id, secret), "age": row.age, "sex": row.sex}
        | dict(zip(names, row.clinical, strict=True))
        for row in places.rows
    ]
    # The first cell of a patient that says something: rows of one do not contradict each other.
    table = pd.DataFrame(rows).replace("", None).groupby("patient_id").first()
    return table[[name for name in table if name in places.columns]]


def askable(
    saved: SavedModel, patients: pd.DataFrame | None, listener: Listener
) -> dict[str, tuple[Coefficients, ...]]:
    """The models whose columns are known; says which are not asked, and why."""
    known = () if patients is None else tuple(patients)
    kept = {}
    for name, models in saved.beside.items():
        wanted = (*models[0].model.columns, *models[0].model.words)
        missing = [column for column in wanted if column not in known]
        if not missing:
            kept[name] = models
        elif patients is None:
            listener.say(
                f"The {name} model is not asked: it wants {', '.join(wanted)}. Give --manifest "
                "with patient_id and these columns."
            )
        else:
            listener.say(
                f"The {name} model is not asked: the manifest has no column {', '.join(missing)}."
            )
    return kept


def with_beside(
    saved: SavedModel, table: pd.DataFrame, patients: pd.DataFrame | None
) -> pd.DataFrame:
    """The table with a column `prob_<model>`, filled in the rows of patients."""
    if not saved.beside:
        return table
    table = table.reset_index(drop=True)
    rows = table[table["level"] == saved.experiment.cohort.levels[-1]]
    asked = rows if patients is None else rows.join(patients, on="patient_id")
    for name, models in saved.beside.items():
        table.loc[rows.index, f"prob_{name}"] = mean_of(models, asked)
    return table
