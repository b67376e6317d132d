"""Boosted trees of xgboost and LightGBM, kept in the library's own text."""

import importlib
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal

import numpy as np
from scipy.special import expit, softmax

from msk_jax.errors import UserError
from msk_jax.methods.design import Column
from msk_jax.methods.estimator import LightGBM, XGBoost
from msk_jax.methods.inner_folds import inner_folds

_SET_ASIDE = 5
"""One in so many patients judges when to stop."""


def library(name: str) -> ModuleType:
    """A library of the extra `tables`.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"{name} cannot be loaded ({error}). Install it with `pip install 'msk_jax[tables]'`."
        ) from error


@dataclass(frozen=True, eq=False)
class Booster:
    """Boosted trees; two classes have one score, the log-odds of the second."""

    kind: Literal["xgboost", "lightgbm"]
    """The library."""
    text: str
    """The model as the library writes it: JSON of xgboost, text of LightGBM."""
    loaded: dict[str, Any] = field(default_factory=dict, repr=False)
    """The library's object, once it is used."""

    @property
    def model(self) -> Any:
        """`xgboost.Booster` or `lightgbm.Booster`.

        Raises:
            UserError: the library is not installed, or does not take the text.
        """
        if "model" not in self.loaded:
            module = library(self.kind)
            try:
                if self.kind == "lightgbm":
                    booster = module.Booster(model_str=self.text)
                else:
                    booster = module.Booster({"nthread": 1})
                    booster.load_model(bytearray(self.text.encode()))
            except Exception as error:  # each library raises a type of its own
                raise UserError(
                    f"{self.kind} cannot read the kept trees ({str(error)[:200]}). Train again, "
                    "or take them from where they are whole."
                ) from error
            self.loaded["model"] = booster
        return self.loaded["model"]

    def scores(self, values: np.ndarray) -> np.ndarray:
        """Scores [rows, scores]; xgboost's have single precision."""
        if self.kind == "lightgbm":
            scores = self.model.predict(values, raw_score=True, num_threads=1)
        else:
            scores = self.model.predict(_matrix(values), output_margin=True)
        scores = np.asarray(scores, float)
        return scores[:, None] if scores.ndim == 1 else scores

    def predict(self, values: np.ndarray) -> np.ndarray:
        """Probabilities [rows, classes]."""
        scores = self.scores(values)
        if scores.shape[1] > 1:
            return softmax(scores, axis=1)
        second = expit(scores[:, 0])
        return np.stack([1 - second, second], axis=1)

    def score(self, values: np.ndarray, of_class: int) -> np.ndarray:
        """Log-odds of a class of two, or its score before the softmax [rows]."""
        scores = self.scores(values)
        if scores.shape[1] > 1:
            return scores[:, of_class]
        return scores[:, 0] if of_class else -scores[:, 0]


def _matrix(values: np.ndarray, labels: np.ndarray | None = None) -> Any:
    return library("xgboost").DMatrix(values, label=labels, nthread=1)


def xgboost_of(
    model: XGBoost,
    values: np.ndarray,
    columns: tuple[Column, ...],
    labels: np.ndarray,
    groups: np.ndarray,
    seed: int,
) -> Booster:
    """The boosted trees of these rows (xgboost), see `learn`."""
    del columns
    xgboost = library("xgboost")
    settings = xgboost_settings(model, labels, seed)
    trees = model.trees
    if model.early_stopping is not None:
        fit, judge = inner_folds(labels, groups, _SET_ASIDE, seed)[0]
        trial = xgboost.train(
            settings,
            _matrix(values[fit], labels[fit]),
            model.trees,
            evals=[(_matrix(values[judge], labels[judge]), "aside")],
            early_stopping_rounds=model.early_stopping,
            verbose_eval=False,
        )
        trees = trial.best_iteration + 1
    booster = xgboost.train(settings, _matrix(values, labels), trees)
    return Booster("xgboost", bytes(booster.save_raw("json")).decode())


def xgboost_settings(model: XGBoost, labels: np.ndarray, seed: int) -> dict[str, Any]:
    """What `xgboost.train` is given, for labels [rows] of the training rows."""
    classes = int(labels.max()) + 1
    settings = {
        "learning_rate": model.learning_rate,
        "max_depth": model.max_depth,
        "subsample": model.subsample,
        "colsample_bytree": model.columns,
        "lambda": model.l2,
        "gamma": model.gamma,
        "tree_method": "hist",
        "nthread": 1,
        "seed": seed,
    }
    if classes > 2:
        return settings | {
            "objective": "multi:softprob",
            "num_class": classes,
            "eval_metric": "mlogloss",
        }
    # Releases differ in where they begin, so it is said.
    return settings | {
        "objective": "binary:logistic",
        "eval_metric": "logloss",
        "base_score": float(labels.mean()),
    }


def lightgbm_of(
    model: LightGBM,
    values: np.ndarray,
    columns: tuple[Column, ...],
    labels: np.ndarray,
    groups: np.ndarray,
    seed: int,
) -> Booster:
    """The boosted trees of these rows (LightGBM), see `learn`."""
    del columns
    lightgbm = library("lightgbm")
    settings = lightgbm_settings(model, labels, seed)
    trees = model.trees
    if model.early_stopping is not None:
        fit, judge = inner_folds(labels, groups, _SET_ASIDE, seed)[0]
        known = lightgbm.Dataset(values[fit], labels[fit], params=settings)
        trial = lightgbm.train(
            settings,
            known,
            model.trees,
            valid_sets=[lightgbm.Dataset(values[judge], labels[judge], reference=known)],
            callbacks=[lightgbm.early_stopping(model.early_stopping, verbose=False)],
        )
        trees = trial.best_iteration
    booster = lightgbm.train(settings, lightgbm.Dataset(values, labels, params=settings), trees)
    return Booster("lightgbm", booster.model_to_string())


def lightgbm_settings(model: LightGBM, labels: np.ndarray, seed: int) -> dict[str, Any]:
    """What `lightgbm.train` is given, for labels [rows] of the training rows."""
    classes = int(labels.max()) + 1
    kind = (
        {"objective": "multiclass", "num_class": classes}
        if classes > 2
        else {"objective": "binary"}
    )
    return kind | {
        "num_leaves": model.leaves,
        "learning_rate": model.learning_rate,
        "min_data_in_leaf": model.leaf,
        "bagging_fraction": model.subsample,
        "bagging_freq": 1,
        "feature_fraction": model.columns,
        "lambda_l2": model.l2,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "seed": seed,
        "verbosity": -1,
    }
