"""The models beside a network, asked about new patients by what a manifest says of them."""

import pandas as pd

from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.cohort.manifest import Manifest
from msk_jax.data.privacy.pseudonyms import pseudonym
from msk_jax.study.listener import Listener
from msk_jax.study.package import SavedModel
from msk_jax.training.tabular import Coefficients, mean_of


def patients_of(places: Manifest, cohort: Cohort, secret: bytes) -> pd.DataFrame:
    """What a manifest says of its patients, by pseudonym; only columns that it has."""
    names = [variable.name for variable in cohort.variables]
    rows = [
        {"patient_id": pseudonym(row.patient_id, secret), "age": row.age, "sex": row.sex}
        | dict(zip(names, row.variables, strict=True))
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
