"""Settings of estimators: order of steps, limits, JSON, and what importing them costs."""

import json
import subprocess
import sys

import pytest

from msk_jax.config import from_json, to_json
from msk_jax.errors import UserError
from msk_jax.methods.estimator import (
    SVM,
    SVMRFE,
    Chosen,
    Estimator,
    Impute,
    Lasso,
    Logistic,
    RandomForest,
    Standardise,
    XGBoost,
)


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ((), "has no model"),
        ((Impute(), Lasso()), "Impute, Lasso has no model. Put one at the end"),
        ((Logistic(), SVM()), "has 2 models"),
        ((Impute(), Logistic(), Lasso()), "Lasso comes after Logistic"),
        ((Chosen(by=()), Logistic()), "selects by nothing"),
        ((Lasso(folds=1), Logistic()), "Lasso: folds is 1; it may be from 2"),
        ((Chosen(by=(SVMRFE(drop=0.95),)), Logistic()), "SVMRFE: drop is 0.95"),
        ((Logistic(strength=0),), "Logistic: strength is 0"),
        (
            (XGBoost(learning_rate=2, max_depth=0),),
            "learning_rate is 2; .* max_depth is 0; it may be from 1 to 30",
        ),
    ],
)
def test_steps_that_do_not_fit_are_refused(steps, sentence):
    with pytest.raises(UserError, match=sentence):
        Estimator(steps).check()


def test_settings_are_hashable_and_come_back_from_json():
    estimator = Estimator(
        (Impute(missing=True), Standardise(("prob",)), Chosen(), RandomForest(columns=0.5)), "all"
    )
    estimator.check()
    Estimator((Logistic(strength=None),)).check()
    assert hash(estimator) == hash(Estimator(estimator.steps, "all"))
    tree = json.loads(json.dumps(to_json(estimator)))
    assert from_json(tree, Estimator, "here") == estimator


def test_settings_import_nothing_heavy():
    code = (
        "import sys, msk_jax.methods.estimator; print({'pandas', 'scipy', 'sklearn', 'shap', "
        "'jax', 'xgboost', 'lightgbm'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
