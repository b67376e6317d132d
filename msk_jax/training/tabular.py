"""Models of the table of patients: logistic regression on what is known beside the image.

They are trained and asked as networks are: one per fold, on the training patients of that fold, and
those of no fold get the mean of all. So their tables of predictions are judged like any other.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from msk_jax.errors import UserError
from msk_jax.training.logistic_model import LogisticModel

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

_SEX = {"F": 1.0, "M": 0.0}
_EDGE = 1e-6
"""Probabilities nearer to 0 or 1 have the log-odds of this distance."""


@dataclass(frozen=True)
class Coefficients:
    """A fitted model in plain numbers, so that a checkpoint can carry it."""

    model: LogisticModel
    medians: tuple[float, ...]
    """Of its numbers, in the place of missing ones."""
    means: tuple[float, ...]
    scales: tuple[float, ...]
    """Mean and standard deviation of its numbers."""
    words: tuple[tuple[str, ...], ...]
    """Of each of its words, what the training patients have."""
    weights: tuple[float, ...]
    """Of the standardised numbers, of each word, and of the log-odds."""
    intercept: float

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """Probabilities of the second class [rows], see `design` for the columns."""
        table = design(self.model, rows)
        numbers = table[list(self.model.columns)].to_numpy(float)
        numbers = np.where(np.isnan(numbers), np.array(self.medians), numbers)
        columns = [(numbers - np.array(self.means)) / np.array(self.scales)]
        for name, known in zip(self.model.words, self.words, strict=True):
            columns.append(table[name].to_numpy()[:, None] == np.array(known))
        if self.model.image:
            columns.append(table[["prob"]].to_numpy())
        return expit(np.concatenate(columns, axis=1) @ np.array(self.weights) + self.intercept)


@dataclass(frozen=True)
class Fitted:
    """What the models of all folds say; tables as in `evaluation.predictions`."""

    test: pd.DataFrame
    validation: pd.DataFrame
    test_sets: dict[str, pd.DataFrame]
    models: tuple[Coefficients, ...] = ()
    """By fold."""


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
    tests, validations, models = [], [], []
    for k, roles in enumerate(parts):
        fitted = fit(model, known[known["patient_id"].map(roles) == "train"])
        tests.append(_predicted([fitted], known[known["fold"] == k]))
        validations.append(_predicted([fitted], seen[seen["fold"] == k]))
        models.append(fitted)
    return Fitted(
        pd.concat(tests),
        pd.concat(validations),
        {name: _predicted(models, table) for name, table in asked.items()},
        tuple(models),
    )


def fit(model: LogisticModel, rows: pd.DataFrame) -> Coefficients:
    """The model of these rows; see `fit_folds`."""
    if rows["label"].nunique() < 2:
        raise UserError(
            f"The {model.name} model needs training patients of both classes. Build with fewer "
            "--num-folds, or add patients."
        )
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    table = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
    )
    # Log-odds keep their scale: that of a fold's network may be so narrow that its standard
    # deviations carry the mean of all networks out of sight.
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = make_column_transformer(
        (table, list(model.columns)), (one_hot, list(model.words)), remainder="passthrough"
    )
    # A penalty of 1 on the weights of columns this narrow is one of 1 / strength on their own.
    narrow = math.sqrt(model.strength)
    columns.set_params(transformer_weights={"pipeline": narrow, "onehotencoder": narrow})
    steps = make_pipeline(columns, LogisticRegression(C=1.0, max_iter=1000))
    return _coefficients(model, steps.fit(design(model, rows), rows["label"].to_numpy()))


def _coefficients(model: LogisticModel, steps: "Pipeline") -> Coefficients:
    columns, regression = steps
    medians = means = scales = words = ()
    if model.columns:
        imputer, scaler = columns.named_transformers_["pipeline"]
        # A column without any number is taken as 0.
        medians, means, scales = np.nan_to_num(imputer.statistics_), scaler.mean_, scaler.scale_
    if model.words:
        words = columns.named_transformers_["onehotencoder"].categories_
    weights = regression.coef_[0] * math.sqrt(model.strength)
    if model.image:
        weights[-1] = regression.coef_[0, -1]
    return Coefficients(
        model,
        tuple(map(float, medians)),
        tuple(map(float, means)),
        tuple(map(float, scales)),
        tuple(tuple(map(str, known)) for known in words),
        tuple(weights.tolist()),
        float(regression.intercept_[0]),
    )


def design(model: LogisticModel, rows: pd.DataFrame) -> pd.DataFrame:
    """The columns of the model; NaN where a number is missing, '' where a word is."""
    missing = [name for name in (*model.columns, *model.words) if name not in rows]
    if missing:
        raise UserError(
            f"The {model.name} model wants {', '.join(missing)}, which the cohort does not keep. "
            "Name it in the cohort's clinical variables and build again."
        )
    cells = {name: rows[name].map(_SEX) if name == "sex" else rows[name] for name in model.columns}
    columns: dict[str, Any] = {
        name: pd.to_numeric(column, errors="coerce").astype(float) for name, column in cells.items()
    }
    columns |= {name: rows[name].fillna("").astype(str) for name in model.words}
    if model.image:
        columns["prob"] = logit(np.clip(rows["prob"].to_numpy(float), _EDGE, 1 - _EDGE))
    return pd.DataFrame(columns, index=rows.index)


def _predicted(models: Sequence[Coefficients], rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the mean of what these models say."""
    return rows.assign(prob=mean_of(models, rows)) if len(rows) else rows


def mean_of(models: Sequence[Coefficients], rows: pd.DataFrame) -> np.ndarray:
    """The mean probability [rows] of the models of several folds."""
    return np.mean([model.predict(rows) for model in models], axis=0)
