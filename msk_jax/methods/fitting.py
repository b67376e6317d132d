"""Fitting an `Estimator` on training rows, and what it has learned, kept without pickle."""

import zipfile
from collections.abc import Mapping, Set
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from msk_jax.config import from_json, to_json
from msk_jax.errors import UserError
from msk_jax.files import place, read_json, replacing_folder, write_json
from msk_jax.methods.classifiers import Classifier, learn
from msk_jax.methods.classifiers.boosting import Booster
from msk_jax.methods.classifiers.forest import Forest
from msk_jax.methods.classifiers.logistic import LogisticWeights
from msk_jax.methods.classifiers.machine import Machines
from msk_jax.methods.design import Column, design, design_columns
from msk_jax.methods.estimator import Estimator, Preparation
from msk_jax.methods.preparing import Filler, Odds, Scaler, prepare
from msk_jax.methods.selection import Kept, select

FittedStep = Odds | Filler | Scaler | Kept

_KINDS = {kind.__name__: kind for kind in (Odds, Filler, Scaler, Kept)}
_CLASSIFIERS = {kind.__name__: kind for kind in (LogisticWeights, Forest, Machines)}
_WAY_OUT = "Train again, or take the folder from where it is whole."


@dataclass(frozen=True, eq=False)
class Fitted:
    """An estimator that has learned."""

    estimator: Estimator
    """What was fitted."""
    num_classes: int
    """Classes."""
    variables: tuple[str, ...]
    """Columns of the table, in their order."""
    words: Mapping[str, tuple[str, ...]]
    """By column of words, the allowed ones in order."""
    ordered: frozenset[str]
    """Columns of words with an order."""
    steps: tuple[FittedStep, ...]
    """Preparations and selections."""
    classifier: Classifier
    """The model."""

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """Probabilities [rows, classes] of rows with the same columns, in any order.

        Raises:
            UserError: a column is missing or was not there at the fit, or a cell is refused, see
                `design.design`.
        """
        values = self.prepared(rows)
        if not len(values):  # which some libraries do not take
            return np.zeros((0, self.num_classes))
        return self.classifier.predict(values)

    def prepared(self, rows: pd.DataFrame) -> np.ndarray:
        """Values [rows, selected columns] as the model reads them; raises as `predict`."""
        return self.apply(self.design(rows).to_numpy())

    def design(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The design [rows, columns], see `design.design`; raises as `predict`."""
        missing = [name for name in self.variables if name not in rows.columns]
        unknown = [str(name) for name in rows.columns if name not in self.variables]
        if missing or unknown:
            faults = [f"lacks {', '.join(missing)}"] if missing else []
            faults += [f"has {', '.join(unknown)}, which was never learned"] if unknown else []
            raise UserError(
                f"The table {' and '.join(faults)}. It must have the columns of the training: "
                f"{', '.join(self.variables)}."
            )
        return design(
            rows[list(self.variables)], self.words, self.ordered, self.estimator.indicators
        )

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Values of the design [rows, columns] after all steps [rows, selected columns]."""
        for step in self.steps:
            values = step.apply(values)
        return values

    @property
    def design_columns(self) -> tuple[Column, ...]:
        """Columns of the design, and behind them those that `Impute(missing=True)` added."""
        columns = design_columns(
            self.variables, self.words, self.ordered, self.estimator.indicators
        )
        after = columns
        for step in self.steps:
            after = step.columns(after)
            columns += tuple(c for c in after if c.kind == "missing" and c not in columns)
        return columns

    @property
    def columns(self) -> tuple[Column, ...]:
        """Columns that reach the model."""
        columns = design_columns(
            self.variables, self.words, self.ordered, self.estimator.indicators
        )
        for step in self.steps:
            columns = step.columns(columns)
        return columns

    @property
    def selected(self) -> tuple[str, ...]:
        """Names of the columns that reach the model."""
        return tuple(column.name for column in self.columns)

    def save(self, folder: Path) -> None:
        """Write `estimator.json`, `arrays.npz`, and `booster.txt` where trees are boosted.

        Raises:
            UserError: the folder could not be written.
        """
        settings = {
            "estimator": to_json(self.estimator),
            "num_classes": self.num_classes,
            "variables": list(self.variables),
            "words": {name: list(allowed) for name, allowed in self.words.items()},
            "ordered": sorted(self.ordered),
            "steps": [type(step).__name__ for step in self.steps],
            "classifier": getattr(self.classifier, "kind", type(self.classifier).__name__),
        }
        arrays = {
            f"{i}.{name}": array
            for i, step in enumerate(self.steps)
            for name, array in _arrays(step).items()
        }
        with replacing_folder(folder) as temporary:
            if isinstance(self.classifier, Booster):
                (temporary / "booster.txt").write_text(self.classifier.text, encoding="utf-8")
            else:
                arrays |= {
                    f"model.{name}": array for name, array in _arrays(self.classifier).items()
                }
            np.savez(temporary / "arrays.npz", **arrays)
            write_json(temporary / "estimator.json", settings)


def fit(
    estimator: Estimator,
    rows: pd.DataFrame,
    labels: np.ndarray,
    num_classes: int,
    words: Mapping[str, tuple[str, ...]],
    ordered: Set[str],
    groups: np.ndarray,
    seed: int,
) -> Fitted:
    """Fit every step on training rows alone.

    Args:
        estimator: what to fit.
        rows: numbers, NaN where missing, and words, '' where missing [rows].
        labels: class of each row, from 0 on [rows].
        num_classes: classes.
        words: by column of words, the allowed ones in order.
        ordered: columns of words with an order.
        groups: patient of each row [rows]; inner folds never split one.
        seed: of everything random. The same seed and rows give the same bits.

    Raises:
        UserError: the steps do not fit each other, a cell is refused, a class has no training
            row, inner folds cannot be made, or a library is not installed.
    """
    estimator.check()
    labels, groups = np.asarray(labels), np.asarray(groups).astype(str)
    _check_rows(rows, labels, groups, num_classes)
    labels = labels.astype(np.int64)
    variables = tuple(map(str, rows.columns))
    words = {name: tuple(allowed) for name, allowed in words.items() if name in variables}
    ordered = frozenset(ordered) & frozenset(words)
    values = design(rows, words, ordered, estimator.indicators).to_numpy()
    columns = design_columns(variables, words, ordered, estimator.indicators)
    if not columns:
        raise UserError(
            f"The table of {', '.join(variables) or 'no columns'} has nothing that differs between "
            "rows. Name more of what the stage reads, or allow more words."
        )
    seeds = np.random.SeedSequence(seed).generate_state(len(estimator.steps)) >> 1
    steps: list[FittedStep] = []
    for step, own in zip(estimator.steps[:-1], seeds, strict=False):
        if isinstance(step, Preparation):
            fitted = prepare(step, values, columns)
        else:
            fitted = select(step, values, columns, labels, groups, int(own))
        values, columns = fitted.apply(values), fitted.columns(columns)
        steps.append(fitted)
    classifier = learn(estimator.model, values, columns, labels, groups, int(seeds[-1]))
    return Fitted(estimator, num_classes, variables, words, ordered, tuple(steps), classifier)


def _check_rows(
    rows: pd.DataFrame, labels: np.ndarray, groups: np.ndarray, num_classes: int
) -> None:
    if not len(rows) == len(labels) == len(groups):
        raise ValueError(f"{len(rows)} rows, {len(labels)} labels, {len(groups)} groups")
    absent = sorted(set(range(num_classes)) - set(labels.tolist()))
    if absent:
        raise UserError(
            "The training patients must be of every class; there is none of class "
            f"{', '.join(map(str, absent))}. Use fewer folds, or add patients."
        )
    if set(labels.tolist()) - set(range(num_classes)):
        raise ValueError(f"labels must be whole numbers from 0 to {num_classes - 1}")


def load(folder: Path) -> Fitted:
    """What `Fitted.save` wrote; it predicts the same bits.

    Raises:
        UserError: something is missing, damaged, or of another version.
    """
    folder = place(folder)
    kept = read_json(
        folder / "estimator.json",
        {
            "estimator": dict,
            "num_classes": int,
            "variables": [str],
            "words": {str: [str]},
            "ordered": [str],
            "steps": [str],
            "classifier": str,
        },
        _WAY_OUT,
    )
    try:
        with place(folder / "arrays.npz").open("rb") as file:
            arrays = dict(np.load(file, allow_pickle=False))
        steps = tuple(
            _restored(_KINDS[name], arrays, str(i)) for i, name in enumerate(kept["steps"])
        )
        if kept["classifier"] in ("xgboost", "lightgbm"):
            text = (folder / "booster.txt").read_text(encoding="utf-8")
            classifier: Classifier = Booster(kept["classifier"], text)
        else:
            classifier = _restored(_CLASSIFIERS[kept["classifier"]], arrays, "model")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{folder} cannot be read ({error}). {_WAY_OUT}") from error
    return Fitted(
        from_json(kept["estimator"], Estimator, folder / "estimator.json"),
        kept["num_classes"],
        tuple(kept["variables"]),
        {name: tuple(allowed) for name, allowed in kept["words"].items()},
        frozenset(kept["ordered"]),
        steps,
        classifier,
    )


def _arrays(part: Any) -> dict[str, np.ndarray]:
    return {field.name: getattr(part, field.name) for field in fields(part)}


def _restored(kind: type, arrays: Mapping[str, np.ndarray], prefix: str) -> Any:
    return kind(**{field.name: arrays[f"{prefix}.{field.name}"] for field in fields(kind)})
