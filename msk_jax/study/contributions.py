"""How much each variable of a table moved what a stage says: Shapley values and local weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from msk_jax.errors import UserError
from msk_jax.experiment import Stage
from msk_jax.files import replacing
from msk_jax.methods.estimator import SVM
from msk_jax.methods.lime import local_weights
from msk_jax.methods.shapley import by_variable, contributions, ranking
from msk_jax.study.answers import Answers, known, stage_rows
from msk_jax.study.estimating import FittedStage, Patients
from msk_jax.table_reader import read_table

_MOST_OF_MACHINES = 12
"""Patients of a fold whom support vector machines are explained for: theirs take long."""
_MOST_LOCAL = 6
"""Patients of a fold who get local weights."""
_COLUMNS = ["patient_id", "fold", "kind", "unit"]


def explain_stage(
    stage: Stage, fitted: FittedStage, patients: Patients, heard: Mapping[str, Answers], seed: int
) -> pd.DataFrame:
    """Shapley values, and for some patients local weights, of each variable that a stage reads.

    Every patient is explained by the model that never saw them, beside its training patients.

    Args:
        stage: whose method is an estimator.
        fitted: its models.
        patients: all of them.
        heard: the answers of the stages above.
        seed: of everything random.

    Returns:
        `_COLUMNS` and a column a variable; `kind` is `shapley` or `local`.

    Raises:
        UserError: the library of Shapley values is not installed.
    """
    tables = []
    for k, member in enumerate(fitted.members):
        asked = patients.of_role(k, "test")
        if isinstance(stage.method.model, SVM):
            asked = asked[:_MOST_OF_MACHINES]
        rows = stage_rows(stage, patients.table, heard, asked, known)
        trained = patients.of_role(k, "train")
        background = stage_rows(stage, patients.table, heard, trained, known)
        shapley = contributions(member, rows, background, seed)
        tables.append(_table(by_variable(member, shapley.values), asked, k, shapley.unit))
        some = rows.iloc[:_MOST_LOCAL]
        weights = local_weights(member, some, background, seed)
        tables.append(_table(weights, asked[:_MOST_LOCAL], k, "probability", "local"))
    return pd.concat(tables, ignore_index=True)


def _table(
    values: pd.DataFrame, names: list[str], fold: int, unit: str, kind: str = "shapley"
) -> pd.DataFrame:
    about = pd.DataFrame({"patient_id": names, "fold": fold, "kind": kind, "unit": unit})
    return pd.concat([about, values.reset_index(drop=True)], axis=1)


def write_contributions(table: pd.DataFrame, path: Path) -> None:
    """Write what `read_contributions` reads."""
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)


def read_contributions(path: Path) -> dict[str, Any] | None:
    """The variables by their mean absolute values: what metrics.json holds of a stage.

    Returns:
        `n` and `unit` of the Shapley values and, greatest first, `variables` and `shapley`; and of
        the local weights `local_n` and `local`, in the same order. None where there is no table.

    Raises:
        UserError: the table is damaged.
    """
    if not path.is_file():
        return None
    table = read_table(path, f"There is no table {path}.")
    variables = [name for name in table if name not in _COLUMNS]
    lacking = [name for name in _COLUMNS if name not in table]
    values = table[variables].apply(pd.to_numeric, errors="coerce")
    if lacking or not np.isfinite(values.to_numpy()).all():
        raise UserError(f"{path} is damaged. Delete it and run `msk-jax train` again.")
    shapley, local = values[table["kind"] == "shapley"], values[table["kind"] == "local"]
    order = ranking(shapley)
    return {
        "n": len(shapley),
        "unit": str(table.loc[table["kind"] == "shapley", "unit"].iloc[0]),
        "variables": list(order.index),
        "shapley": order.tolist(),
        "local_n": len(local),
        "local": local.abs().mean()[order.index].tolist(),
    }
