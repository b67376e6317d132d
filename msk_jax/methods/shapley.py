"""Shapley values of an estimator: what each column adds to the answer for one row.

The value of some columns is the mean answer over background rows whose other columns stay their own
(interventional). Source: S. Lundberg and S.-I. Lee, NeurIPS 2017; of trees S. Lundberg et al., Nat
Mach Intell 2020;2:56. Those of trees are computed by shap.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from msk_jax.errors import UserError
from msk_jax.methods.classifiers import Classifier
from msk_jax.methods.classifiers.boosting import Booster, library
from msk_jax.methods.classifiers.forest import Forest
from msk_jax.methods.classifiers.logistic import LogisticWeights
from msk_jax.methods.fitting import Fitted

MOST_BACKGROUND = 100
"""Background rows at most; of more so many are drawn."""
_ORDERS = 10
"""Orders of columns that are walked where no formula is known."""
_TOLERANCE = 1e-3
"""By how much a sum may miss the answer, next to the greatest answer and 1."""


@dataclass(frozen=True, eq=False)
class Contributions:
    """Shapley values of one class; they and `expected` add up to the answer."""

    values: pd.DataFrame
    """[rows, columns of the design]; of a column that reaches no model 0."""
    expected: float
    """Mean answer of the background."""
    unit: str
    """`log-odds`, `score before the softmax` or `probability`."""


def contributions(
    fitted: Fitted,
    rows: pd.DataFrame,
    background: pd.DataFrame,
    seed: int,
    of_class: int = 1,
) -> Contributions:
    """Shapley values of each row.

    Args:
        fitted: the estimator.
        rows: to be explained, with the columns of the training.
        background: rows to compare with, as those of the training; 100 are drawn of more.
        seed: of what is drawn.
        of_class: whose answer.

    Returns:
        Log-odds (of more than two classes scores before the softmax) of logistic and boosted
        models; probabilities of forests and support vector machines, whose values come from
        random orders of columns and add up whatever they are.

    Raises:
        UserError: a row is refused, there is no background, shap is not installed, or what it
            gives does not add up.
    """
    if not len(background):
        raise UserError("Shapley values need background rows. Give those of the training.")
    if not 0 <= of_class < fitted.num_classes:
        raise ValueError(f"class {of_class} of {fitted.num_classes}")
    rng = np.random.default_rng(seed)
    if len(background) > MOST_BACKGROUND:
        drawn = rng.choice(len(background), MOST_BACKGROUND, replace=False)
        background = background.iloc[np.sort(drawn)]
    asked, base = fitted.prepared(rows), fitted.prepared(background)
    model = fitted.classifier
    expected = float(model.score(base, of_class).mean())
    if not len(rows):
        values = np.zeros(asked.shape)
    elif isinstance(model, LogisticWeights):
        values = model.of_class(of_class)[0] * (asked - base.mean(axis=0))
    elif isinstance(model, Booster):
        values = _of_booster(model, asked, base, of_class)
    elif isinstance(model, Forest):
        values = _of_forest(model, asked, base, of_class)
    else:
        values = _by_permutation(model, asked, base, of_class, int(rng.integers(2**31)))
    _check_sums(values, model.score(asked, of_class) - expected)
    table = pd.DataFrame(
        0.0, index=rows.index, columns=[column.name for column in fitted.design_columns]
    )
    table[list(fitted.selected)] = values
    return Contributions(table, expected, _unit(fitted))


def by_variable(fitted: Fitted, values: pd.DataFrame) -> pd.DataFrame:
    """Shapley values [rows, variables] of `Contributions.values`: the sums over a variable's
    columns, as those of its words."""
    variable = {column.name: column.variable for column in fitted.design_columns}
    sums = values.T.groupby([variable[name] for name in values.columns], sort=False).sum().T
    return sums.reindex(columns=list(fitted.variables), fill_value=0.0)


def ranking(values: pd.DataFrame) -> pd.Series:
    """Mean absolute Shapley value of each column or variable, greatest first."""
    return values.abs().mean().sort_values(ascending=False, kind="stable")


def _unit(fitted: Fitted) -> str:
    if not isinstance(fitted.classifier, LogisticWeights | Booster):
        return "probability"
    return "log-odds" if fitted.num_classes == 2 else "score before the softmax"


def _of_booster(model: Booster, asked: np.ndarray, base: np.ndarray, of_class: int) -> np.ndarray:
    """Shapley values [rows, columns] of the score of a class."""
    source = model.model
    if model.kind == "lightgbm" and source.num_model_per_iteration() > 1:
        # shap takes the trees of all classes for those of one.
        trees = source.dump_model()["tree_info"]
        source = {"trees": trees[of_class :: source.num_model_per_iteration()]}
        return _of_trees(source, asked, base).reshape(asked.shape)
    values = _of_trees(source, asked, base)
    if values.ndim == 3:
        return values[:, :, of_class]
    return values if of_class else -values


def _of_trees(source: Any, asked: np.ndarray, base: np.ndarray) -> np.ndarray:
    """What shap says of trees, without its check of sums, which errs."""
    explainer = library("shap").TreeExplainer(source, base, feature_perturbation="interventional")
    return np.asarray(explainer.shap_values(asked, check_additivity=False), float)


def _of_forest(model: Forest, asked: np.ndarray, base: np.ndarray, of_class: int) -> np.ndarray:
    """Shapley values [rows, columns] of the probability of a class."""
    ends = np.append(model.roots[1:], len(model.left))
    trees = []
    for first, end in zip(model.roots, ends, strict=True):
        nodes = slice(first, end)
        leaves = model.left[nodes] == np.arange(first, end)
        left, right = (
            np.where(leaves, -1, child[nodes] - first) for child in (model.left, model.right)
        )
        trees.append(
            {
                "children_left": left,
                "children_right": right,
                "children_default": left,
                "features": np.where(leaves, -2, model.columns[nodes]),
                "thresholds": np.where(leaves, -2.0, _in_single(model.thresholds[nodes])),
                "values": model.shares[nodes, of_class : of_class + 1] / len(model.roots),
                # Read where there is no background.
                "node_sample_weight": np.ones(end - first),
            }
        )
    # As the forest compares.
    asked, base = (np.asarray(x, np.float32).astype(float) for x in (asked, base))
    return _of_trees({"trees": trees}, asked, base).reshape(asked.shape)


def _in_single(thresholds: np.ndarray) -> np.ndarray:
    """The greatest numbers of single precision up to the thresholds: values of single precision lie
    on the same side of both, whatever precision they are compared in."""
    single = thresholds.astype(np.float32)
    lower = np.nextafter(single, np.float32(-np.inf))
    return np.where(single > thresholds, lower, single).astype(float)


def _by_permutation(
    model: Classifier, asked: np.ndarray, base: np.ndarray, of_class: int, seed: int
) -> np.ndarray:
    """Shapley values [rows, columns] from random orders of columns, each walked to and fro.

    shap has the same, row by row and column by column, which took minutes for a table.
    """
    rng = np.random.default_rng(seed)
    count = asked.shape[1]
    values = np.zeros(asked.shape)
    for i, row in enumerate(asked):
        for order in (rng.permutation(count) for _ in range(_ORDERS)):
            for walk in (order, order[::-1]):
                # After k steps the first k columns of the walk are the row's.
                taken = np.argsort(walk) < np.arange(count + 1)[:, None]
                mixed = np.where(taken[:, None], row, base).reshape(-1, count)
                means = model.score(mixed, of_class).reshape(count + 1, -1).mean(axis=1)
                values[i, walk] += np.diff(means)
    return values / (2 * _ORDERS)


def _check_sums(values: np.ndarray, wanted: np.ndarray) -> None:
    """Trees of some releases were read wrongly, and nothing but the sum shows it."""
    miss = np.abs(values.sum(axis=1) - wanted).max(initial=0.0)
    if not miss <= _TOLERANCE * max(1.0, np.abs(wanted).max(initial=0.0)):
        raise UserError(
            f"The Shapley values miss the model's answer by {miss:.3g}: this version of shap does "
            "not read its trees rightly. Install the versions that the extra names, "
            "`pip install 'msk_jax[tables]'`."
        )
