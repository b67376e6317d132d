"""Models of the table of patients: logistic regression on what is known beside the image.

They are trained and asked as networks are: one per fold, on the training patients of that fold, and
those of no fold get the mean of all. So their tables of predictions are judged like any other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import logit
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from msk_jax.errors import UserError

_SEX = {"F": 1.0, "M": 0.0}
_EDGE = 1e-6
"""Probabilities nearer to 0 or 1 have the log-odds of this distance."""


@dataclass(frozen=True)
class LogisticModel:
    """A logistic regression on columns of the table of predictions."""

    name: str
    columns: tuple[str, ...]
    """Of `age`, `sex` (F is 1, M is 0) and the cohort's clinical variables. What is missing is
    taken as the training patients' median."""
    image: bool = False
    """Whether the log-odds of the network's probability, of a network that never saw the patient,
    are a column too (stacking)."""
    strength: float = 1.0
    """Inverse of the ridge penalty on standardised columns and log-odds, `C` of scikit-learn."""


@dataclass(frozen=True)
class Fitted:
    """What the models of all folds say; tables as in `evaluation.predictions`."""

    test: pd.DataFrame
    validation: pd.DataFrame
    test_sets: dict[str, pd.DataFrame]


def fit_folds(
    model: LogisticModel,
    parts: Sequence[Mapping[str, str]],
    test: pd.DataFrame,
    validation: pd.DataFrame,
    test_sets: Mapping[str, pd.DataFrame],
    level: str,
) -> Fitted:
    """Fit one model per fold on the out-of-fold rows of its training patients.

    Args:
        model: what to fit.
        parts: role (`train`, `validation`, `test`) of each patient, by fold.
        test: out-of-fold predictions of the network, with the columns of the model.
        validation: predictions of the validation folds.
        test_sets: by name, predictions for patients in no fold.
        level: whose rows are fitted, that of patients.

    Returns:
        The same tables, of this level alone, with the model's probabilities.

    Raises:
        UserError: a column is missing, or the training patients of a fold are of one class.
    """
    known, seen = test[test["level"] == level], validation[validation["level"] == level]
    asked = {name: table[table["level"] == level] for name, table in test_sets.items()}
    tests, validations, means = [], [], {name: [] for name in asked}
    for k, roles in enumerate(parts):
        fitted = fit(model, known[known["patient_id"].map(roles) == "train"])
        tests.append(_predicted(model, fitted, known[known["fold"] == k]))
        validations.append(_predicted(model, fitted, seen[seen["fold"] == k]))
        for name, table in asked.items():
            means[name].append(_predicted(model, fitted, table)["prob"].to_numpy())
    return Fitted(
        pd.concat(tests),
        pd.concat(validations),
        {name: table.assign(prob=np.mean(means[name], axis=0)) for name, table in asked.items()},
    )


def fit(model: LogisticModel, rows: pd.DataFrame) -> Pipeline:
    """The model of these rows; see `fit_folds`."""
    if rows["label"].nunique() < 2:
        raise UserError(
            f"The {model.name} model needs training patients of both classes. Build with fewer "
            "--num-folds, or add patients."
        )
    table = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
    )
    # Log-odds keep their scale: that of a fold's network may be so narrow that its standard
    # deviations carry the mean of all networks out of sight.
    columns = make_column_transformer((table, slice(len(model.columns))), remainder="passthrough")
    steps = make_pipeline(columns, LogisticRegression(C=model.strength, max_iter=1000))
    return steps.fit(design(model, rows), rows["label"].to_numpy())


def design(model: LogisticModel, rows: pd.DataFrame) -> np.ndarray:
    """The columns of the model [rows, columns]; NaN where a cell is empty."""
    missing = [name for name in model.columns if name not in rows]
    if missing:
        raise UserError(
            f"The {model.name} model wants {', '.join(missing)}, which the cohort does not keep. "
            "Name it in the cohort's clinical variables and build again."
        )
    cells = [rows[name].map(_SEX) if name == "sex" else rows[name] for name in model.columns]
    columns = [pd.to_numeric(column, errors="coerce").to_numpy(float) for column in cells]
    if model.image:
        columns.append(logit(np.clip(rows["prob"].to_numpy(float), _EDGE, 1 - _EDGE)))
    return np.stack(columns, axis=1)


def _predicted(model: LogisticModel, fitted: Pipeline, rows: pd.DataFrame) -> pd.DataFrame:
    if not len(rows):
        return rows
    return rows.assign(prob=fitted.predict_proba(design(model, rows))[:, 1])
