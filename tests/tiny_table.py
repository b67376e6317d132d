"""The fixation experiment at a size for tests; the command line takes it by its path."""

import dataclasses

from msk_jax.dotted import changed
from msk_jax.experiments.fixation_risk import TABLE
from msk_jax.experiments.fixation_risk import experiment as whole
from msk_jax.methods.estimator import (
    Estimator,
    Impute,
    Lasso,
    Logistic,
    RandomForest,
    Standardise,
    XGBoost,
)

_READY = (Impute(), Standardise(), Lasso(folds=3, penalties=12))
_LAST = {
    "xgboost": XGBoost(trees=15, early_stopping=None),
    "logistic": Logistic(),
    "forest": RandomForest(trees=25),
}
_stages = tuple(
    dataclasses.replace(whole.stages[0], name=name, method=Estimator((*_READY, last)))
    for name, last in _LAST.items()
)
_stacked = dataclasses.replace(
    _stages[1],
    name="stacked",
    reads=("xgboost.probability", "forest.probability", *TABLE[:2]),
    method=Estimator((Impute(), Standardise(), Logistic())),
)

experiment = dataclasses.replace(
    whole,
    name="tiny_table",
    phantom=dataclasses.replace(whole.phantom, patients=150),
    stages=(*_stages, _stacked),
    split=dataclasses.replace(whole.split, folds=3),
    judging=changed(whole.judging, {"evaluation.bootstrap_samples": 50}),
)
