"""Estimators of tables: the settings of what prepares, selects and learns; `fitting` fits them.

    Estimator((Impute(), Standardise(), Lasso(folds=10), XGBoost(max_depth=4)))

Every step is fitted on the training rows of a fold alone, selection included.
"""

import math
from dataclasses import dataclass
from typing import Literal

from msk_jax.config import check_limits
from msk_jax.errors import UserError


@dataclass(frozen=True)
class LogOdds:
    """Probabilities, as those of a network, become their log-odds."""

    columns: tuple[str, ...]
    """Columns between 0 and 1. Those nearer to 0 or 1 than 1e-6 have the log-odds of this
    distance."""


@dataclass(frozen=True)
class Impute:
    """Missing numbers become the median, missing words the most frequent, of the training rows.

    Of words that are equally frequent it is the first allowed. A variable that no training row has
    is 0 in all its columns.
    """

    missing: bool = False
    """Whether each variable that some training row lacks has a further column, 1 where missing."""


@dataclass(frozen=True)
class Standardise:
    """Columns less their mean, over their standard deviation (that of n), of the training rows.

    A constant column stays 0. Indicators of words are columns too, unless left.
    """

    leave: tuple[str, ...] = ()
    """Variables, or single columns, that stay as they are."""


@dataclass(frozen=True)
class Uncorrelated:
    """Columns of which no two have a greater Spearman correlation.

    Of the pair that correlates most, the one with the greater mean correlation with all that are
    left goes (the later one if they are equal), until no pair is above the limit. Labels are not
    looked at.
    """

    limit: float = 0.9
    """Greatest absolute correlation that two columns may have."""


@dataclass(frozen=True)
class Lasso:
    """Columns with a weight in a logistic regression under an L1 penalty.

    The penalty is chosen by the deviance of inner folds, which are stratified and never split a
    patient. Columns are standardised within, as glmnet does. Where no column has a weight, the one
    that enters the path first is kept, so that a fold of noise has a model too.
    """

    folds: int = 10
    """Inner folds; fewer where the rarest class has fewer patients."""
    rule: Literal["min", "1se"] = "min"
    """`min` takes the penalty of the least mean deviance, `1se` the greatest whose mean deviance
    is within one standard error of it."""
    keep: int | None = None
    """Most columns to keep: the path is walked from the chosen penalty to greater ones until so
    many are left."""
    penalties: int = 50
    """Penalties on the path, equally spaced in their logarithm."""


@dataclass(frozen=True)
class SVMRFE:
    """Columns that recursive elimination by a linear support vector machine leaves.

    Each round drops the columns of the least squared weight (Guyon et al., Mach Learn
    2002;46:389). The number that stays is the one with the best balanced accuracy in inner folds,
    inside which all is eliminated anew; of equally good ones the smallest.
    """

    folds: int = 5
    """Inner folds; fewer where the rarest class has fewer patients."""
    keep: int | None = None
    """Most columns to keep."""
    strength: float = 1.0
    """Inverse of the machine's ridge penalty (scikit-learn's C)."""
    drop: float = 0.1
    """Share of the columns left that a round drops, at least one."""


@dataclass(frozen=True)
class Chosen:
    """Columns that several selections choose, as "LASSO and SVM-RFE"."""

    by: tuple[Lasso | SVMRFE, ...] = (Lasso(), SVMRFE())
    """Selections, each on all columns."""
    rule: Literal["both", "either"] = "both"
    """`both` keeps what all of them choose, and where that is nothing the strongest column of the
    first; `either` what any of them chooses."""


@dataclass(frozen=True)
class Logistic:
    """Logistic regression with a ridge penalty; of several classes multinomial."""

    strength: float | None = 1.0
    """Inverse of the penalty (scikit-learn's C); None is no penalty."""
    unshrunk: tuple[str, ...] = ()
    """Columns whose penalty is 1 on their scale, which is next to none, whatever `strength`:
    the log-odds of a network, so that little strength leaves the model close to it."""


@dataclass(frozen=True)
class RandomForest:
    """Random forest (scikit-learn); a probability is the mean of its trees' leaves."""

    trees: int = 500
    """Trees."""
    leaf: int = 1
    """Fewest training rows in a leaf."""
    max_depth: int | None = None
    """Most splits above a leaf; None grows until leaves are pure."""
    columns: Literal["sqrt", "log2"] | float = "sqrt"
    """How many columns a split may choose among: a function of their number, or a share."""


@dataclass(frozen=True)
class SVM:
    """Support vector machine with Platt's probabilities; of several classes one against the rest.

    The sigmoid is fitted to decision values of inner folds, which never split a patient.
    """

    kernel: Literal["rbf", "linear"] = "rbf"
    """Kernel."""
    strength: float = 1.0
    """Inverse of the ridge penalty (scikit-learn's C)."""
    gamma: float | Literal["scale"] = "scale"
    """Inverse squared width of the kernel; `scale` is 1 / (columns * variance of all values)."""
    folds: int = 5
    """Inner folds of the sigmoid; fewer where the rarest class has fewer patients."""


@dataclass(frozen=True)
class XGBoost:
    """Boosted trees by xgboost; missing values may stay missing."""

    learning_rate: float = 0.05
    """Share of each tree that is taken."""
    max_depth: int = 4
    """Most splits above a leaf."""
    trees: int = 400
    """Trees at most; of several classes, per class."""
    subsample: float = 0.8
    """Share of the rows that a tree sees."""
    columns: float = 0.8
    """Share of the columns that a tree sees."""
    l2: float = 1.0
    """Ridge penalty on the leaves (lambda)."""
    gamma: float = 0.0
    """Least gain of a split."""
    early_stopping: int | None = 50
    """A fifth of the patients is set aside, and the number of trees is the one after which its
    log-loss was best, once it has not fallen for so many. All rows then grow so many trees. None
    grows all."""


@dataclass(frozen=True)
class LightGBM:
    """Boosted trees by LightGBM, grown leaf by leaf; missing values may stay missing."""

    leaves: int = 7
    """Most leaves of a tree."""
    learning_rate: float = 0.05
    """Share of each tree that is taken."""
    trees: int = 400
    """Trees at most; of several classes, per class."""
    leaf: int = 10
    """Fewest training rows in a leaf."""
    subsample: float = 0.8
    """Share of the rows that a tree sees."""
    columns: float = 0.8
    """Share of the columns that a tree sees."""
    l2: float = 0.0
    """Ridge penalty on the leaves (lambda)."""
    early_stopping: int | None = 50
    """As that of `XGBoost`."""


Preparation = LogOdds | Impute | Standardise
Selection = Uncorrelated | Lasso | SVMRFE | Chosen
Model = Logistic | RandomForest | SVM | XGBoost | LightGBM
Step = Preparation | Selection | Model

_LIMITS = {
    Uncorrelated: {"limit": (0, 1)},
    Lasso: {"folds": (2, math.inf), "keep": (1, math.inf), "penalties": (2, math.inf)},
    SVMRFE: {
        "folds": (2, math.inf),
        "keep": (1, math.inf),
        "strength": (1e-9, math.inf),
        "drop": (0, 0.9),
    },
    # No strength at all would be an infinite penalty, not none.
    Logistic: {"strength": (1e-9, math.inf)},
    RandomForest: {"trees": (1, math.inf), "leaf": (1, math.inf), "max_depth": (1, math.inf)},
    SVM: {"strength": (1e-9, math.inf), "folds": (2, math.inf)},
    XGBoost: {
        "learning_rate": (1e-9, 1),
        "max_depth": (1, 30),
        "trees": (1, math.inf),
        "subsample": (0.01, 1),
        "columns": (0.01, 1),
        "l2": (0, math.inf),
        "gamma": (0, math.inf),
        "early_stopping": (1, math.inf),
    },
    LightGBM: {
        "leaves": (2, 4096),
        "learning_rate": (1e-9, 1),
        "trees": (1, math.inf),
        "leaf": (1, math.inf),
        "subsample": (0.01, 1),
        "columns": (0.01, 1),
        "l2": (0, math.inf),
        "early_stopping": (1, math.inf),
    },
}


@dataclass(frozen=True)
class Estimator:
    """What learns from a table of numbers and words, step by step; the last step is the model."""

    steps: tuple[Step, ...]
    """Preparations and selections in the order in which they are applied, then one model."""
    indicators: Literal["but_first", "all"] = "but_first"
    """Words without an order become an indicator (0 or 1) for each word but the first, or for
    all."""

    @property
    def model(self) -> Model:
        """The last step."""
        return self.steps[-1]

    def check(self) -> None:
        """Refuse steps that cannot be fitted one after the other.

        Raises:
            UserError: there is no model at the end, or one before it, a `Chosen` has no
                selection, or a setting is outside its limits.
        """
        kinds = [type(step).__name__ for step in self.steps]
        models = [isinstance(step, Model) for step in self.steps]
        if not any(models):
            raise UserError(
                f"An Estimator of the steps {', '.join(kinds) or '(none)'} has no model. Put one "
                "at the end: Logistic, RandomForest, SVM, XGBoost or LightGBM."
            )
        if sum(models) > 1:
            raise UserError(
                f"An Estimator of the steps {', '.join(kinds)} has {sum(models)} models. Make a "
                "stage of each."
            )
        if not models[-1]:
            raise UserError(
                f"An Estimator ends with its model, and {kinds[-1]} comes after "
                f"{kinds[models.index(True)]}. Put it before."
            )
        for step in self.steps:
            _check_step(step)


def _check_step(step: Step) -> None:
    if isinstance(step, Chosen):
        if not step.by:
            raise UserError("Chosen(by=()) selects by nothing. Name a Lasso or an SVMRFE in by.")
        for selection in step.by:
            _check_step(selection)
    limits = _LIMITS.get(type(step), {})
    faults = []
    try:
        check_limits(step, **limits)
    except UserError as error:  # which speaks of flags
        faults = [text.replace("--", "", 1).replace("-", "_") for text in str(error).split(" --")]
    if faults:
        raise UserError(f"{type(step).__name__}: {' '.join(faults)}")
