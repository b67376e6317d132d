"""The table of patients: what is known of each beside the images, a row a patient."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.cohort.manifest import Manifest
from msk_jax.data.fields import Word
from msk_jax.data.privacy.pseudonyms import pseudonym

SEXES = ("M", "F")
"""What a table of patients knows of sex; anything else is unknown there."""


def patients_of_records(cohort: Cohort, records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The patients of a built cohort.

    Args:
        cohort: what is known of them.
        records: of the cohort, with or without their pixels.

    Returns:
        By pseudonym: `label`, `site`, `age` (years, NaN where unknown), `sex` (one of `SEXES`, ''
        where unknown), and the numbers (NaN) and words ('') of the cohort.
    """
    names = ["site", "age", "sex", *(variable.name for variable in cohort.variables)]
    rows = pd.DataFrame(
        {
            "patient_id": record["patient_id"],
            "label": int(record["patient_label"]),
            **{name: record[name] for name in names},
        }
        for record in records
    )
    return _one_each(cohort, rows)


def patients_of_manifest(cohort: Cohort, manifest: Manifest, secret: bytes) -> pd.DataFrame:
    """The patients of a manifest, as `patients_of_records`; only columns that it has."""
    names = [variable.name for variable in cohort.variables]
    rows = pd.DataFrame(
        {
            "patient_id": pseudonym(row.patient_id, secret),
            "label": row.patient_label,
            "site": row.site,
            "age": np.nan if row.age is None else row.age,
            "sex": row.sex,
            **dict(zip(names, row.variables, strict=True)),
        }
        for row in manifest.rows
    )
    table = _one_each(cohort, rows)
    return table[["label", *(name for name in table if name in manifest.columns)]]


def _one_each(cohort: Cohort, rows: pd.DataFrame) -> pd.DataFrame:
    """A row a patient: the first that says something, for those of one do not contradict."""
    table = rows.replace("", None).groupby("patient_id", sort=True).first()
    words = allowed_words(cohort)
    for name in table.columns:
        if name == "site" or name in words:
            column = table[name].astype(object).where(table[name].notna(), "").astype(str)
            table[name] = column.where(column.isin(words[name]), "") if name in words else column
        elif name != "label":
            # Shards hold single precision: 154.8 there is 154.80000305.
            table[name] = [float(f"{value:.7g}") for value in table[name].astype(float)]
    return table


def allowed_words(cohort: Cohort) -> dict[str, tuple[str, ...]]:
    """What may stand in each column of words."""
    words = {one.name: one.words for one in cohort.variables if isinstance(one, Word)}
    return {"sex": SEXES, **words}


def ordered_words(cohort: Cohort) -> frozenset[str]:
    """Columns of words that are steps of a scale."""
    variables = cohort.variables
    return frozenset(one.name for one in variables if isinstance(one, Word) and one.ordered)
