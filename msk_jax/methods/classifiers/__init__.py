"""Models of tables: fitted by libraries, kept as plain arrays or the library's own text.

`learn` fits any of them. A fitted model gives probabilities [rows, classes] by `predict`, and
`score` of one class [rows] is what its explanation adds up to: log-odds (more classes: the score
before the softmax) of logistic and boosted models, the probability of others.
"""

import numpy as np

from msk_jax.methods.classifiers.boosting import Booster, lightgbm_of, xgboost_of
from msk_jax.methods.classifiers.forest import Forest, forest_of
from msk_jax.methods.classifiers.logistic import LogisticWeights, logistic_of
from msk_jax.methods.classifiers.machine import Machines, machines_of
from msk_jax.methods.design import Column
from msk_jax.methods.estimator import SVM, LightGBM, Logistic, Model, RandomForest, XGBoost

Classifier = LogisticWeights | Forest | Machines | Booster

_LEARNERS = {
    Logistic: logistic_of,
    RandomForest: forest_of,
    SVM: machines_of,
    XGBoost: xgboost_of,
    LightGBM: lightgbm_of,
}


def learn(
    model: Model,
    values: np.ndarray,
    columns: tuple[Column, ...],
    labels: np.ndarray,
    groups: np.ndarray,
    seed: int,
) -> Classifier:
    """Fit a model on training rows.

    Args:
        model: settings.
        values: [rows, columns].
        columns: what they are.
        labels: class of each row [rows], every class among them.
        groups: patient of each row [rows].
        seed: of everything random.

    Raises:
        UserError: values are missing that the model cannot read, inner folds cannot be made, or a
            library is not installed.
    """
    return _LEARNERS[type(model)](model, values, columns, labels, groups, seed)
