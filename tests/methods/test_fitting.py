"""Fitted estimators beside the libraries called directly, and after a round trip by files."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from msk_jax.errors import UserError
from msk_jax.methods.classifiers import boosting, learn, machine
from msk_jax.methods.design import Column
from msk_jax.methods.estimator import (
    SVM,
    Estimator,
    Impute,
    Lasso,
    LightGBM,
    Logistic,
    LogOdds,
    RandomForest,
    Standardise,
    Uncorrelated,
    XGBoost,
)
from msk_jax.methods.fitting import fit, load
from msk_jax.methods.inner_folds import inner_folds
from tests.methods.tables import ORDERED, WORDS, table

READY = (Impute(), Standardise())
MODELS = [
    Logistic(),
    RandomForest(trees=7),
    SVM(folds=3),
    XGBoost(trees=15, early_stopping=5),
    LightGBM(trees=15, early_stopping=5),
]
IDS = [type(model).__name__ for model in MODELS]


def _fit(steps, rows, labels, groups, indicators="but_first", seed=0):
    classes = int(labels.max()) + 1
    estimator = Estimator((*steps,), indicators)
    return fit(estimator, rows, labels, classes, WORDS, ORDERED, groups, seed)


def _numbers(classes=2, columns=5):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(90, columns))
    score = 2 * values[:, 0] - values[:, 1] + rng.logistic(size=90)
    labels = np.digitize(score, [0] if classes == 2 else [-1, 1])
    kinds = tuple(Column(f"c{i}", f"c{i}", "number") for i in range(columns))
    return values, labels, kinds, np.repeat(np.arange(45), 2).astype(str)


def _stacked(table, labels, strength):
    """scikit-learn's logistic regression of standardised numbers, one-hot words and log-odds.

    A penalty of 1 on the weights of columns that are narrowed by the root of the strength is one of
    1 / strength on their own.
    """
    narrow = np.sqrt(strength)
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    columns = make_column_transformer(
        (numbers, ["age", "bmi"]),
        (OneHotEncoder(sparse_output=False), ["bone"]),
        remainder="passthrough",
    )
    columns.set_params(transformer_weights={"pipeline": narrow, "onehotencoder": narrow})
    table = table.assign(prob=logit(table["prob"]))
    steps = make_pipeline(columns, LogisticRegression(C=1.0, max_iter=1000))
    return steps.fit(table, labels).predict_proba(table)[:, 1]


def test_logistic_beside_a_network_is_scikit_learns():
    """Numbers, words of which each is a column, and log-odds that are left and not shrunk."""
    rows, labels, _, groups = table(lacking=False)
    prob = np.linspace(0.02, 0.98, len(rows))
    rows = rows[["age", "bmi", "bone"]].assign(prob=prob)
    rows.loc[::9, "bmi"] = np.nan
    odds = LogOdds(("prob",))
    steps = (odds, Impute(), Standardise(("bone", "prob")), Logistic(0.05, ("prob",)))
    # Words in the order of the alphabet, as scikit-learn has them.
    words = {"bone": ("femur", "fibula", "tibia")}
    fitted = fit(Estimator(steps, "all"), rows, labels, 2, words, set(), groups, 0)
    np.testing.assert_allclose(fitted.predict(rows)[:, 1], _stacked(rows, labels, 0.05), atol=1e-9)
    assert fitted.selected == ("age", "bmi", "bone=femur", "bone=fibula", "bone=tibia", "prob")


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_is_scikit_learns(classes):
    values, labels, kinds, groups = _numbers(classes)
    rows = pd.DataFrame(values, columns=[c.name for c in kinds])
    ours = _fit((*READY, Logistic()), rows, labels, groups).predict(rows)
    theirs = make_pipeline(StandardScaler(), LogisticRegression()).fit(values, labels)
    np.testing.assert_allclose(ours, theirs.predict_proba(values), atol=1e-9)
    free = learn(Logistic(None), values, kinds, labels, groups, 0)
    theirs = LogisticRegression(C=np.inf).fit(values, labels)
    np.testing.assert_allclose(free.predict(values), theirs.predict_proba(values), atol=1e-9)
    weights, intercept = free.of_class(0)
    np.testing.assert_allclose(values @ weights + intercept, free.score(values, 0), atol=1e-12)


@pytest.mark.parametrize("classes", [2, 3])
def test_forest_is_scikit_learns(classes):
    values, labels, kinds, groups = _numbers(classes)
    ours = learn(RandomForest(trees=20, leaf=2), values, kinds, labels, groups, 5)
    theirs = RandomForestClassifier(20, min_samples_leaf=2, random_state=5).fit(values, labels)
    new = np.random.default_rng(2).normal(size=(300, 5))
    # And beside thresholds, which single precision moves to either side.
    for node in np.flatnonzero(ours.left != np.arange(len(ours.left)))[:80]:
        column, threshold = ours.columns[node], ours.thresholds[node]
        new[node % 300, column] = threshold + 1e-9 * abs(threshold)
    np.testing.assert_allclose(ours.predict(new), theirs.predict_proba(new), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_machine_is_scikit_learns(kernel):
    values, labels, kinds, groups = _numbers()
    ours = learn(SVM(kernel, 2.0, folds=3), values, kinds, labels, groups, 5)
    theirs = SVC(kernel=kernel, C=2.0).fit(values, labels)
    new = np.random.default_rng(2).normal(size=(300, 5))
    np.testing.assert_allclose(ours.decisions(new)[:, 0], theirs.decision_function(new), atol=1e-10)
    # The kernel of all rows in the inner folds too.
    platt = CalibratedClassifierCV(
        SVC(kernel=kernel, C=2.0, gamma=1 / (5 * values.var())),
        method="sigmoid",
        cv=inner_folds(labels, groups, 3, 5),
        ensemble=False,
    ).fit(values, labels)
    np.testing.assert_allclose(ours.predict(new), platt.predict_proba(new), atol=1e-10)


def test_machines_of_several_classes_are_sigmoids_over_their_sum():
    values, labels, kinds, groups = _numbers(3)
    ours = learn(SVM(folds=3), values, kinds, labels, groups, 5)
    probs = ours.predict(values)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-12)
    for k in range(3):
        theirs = SVC().fit(values, labels == k).decision_function(values)
        np.testing.assert_allclose(ours.decisions(values)[:, k], theirs, atol=1e-10)
    assert (probs.argmax(axis=1) == labels).mean() > 0.6


@pytest.mark.parametrize("classes", [2, 3])
def test_xgboost_called_directly_has_the_same_log_loss(classes):
    import xgboost

    values, labels, kinds, groups = _numbers(classes)
    values[::7, 2] = np.nan
    model = XGBoost(trees=60, max_depth=3, early_stopping=5)
    ours = learn(model, values, kinds, labels, groups, 5)
    settings = {
        "objective": "binary:logistic", "base_score": labels.mean(), "eval_metric": "logloss",
    } if classes == 2 else {
        "objective": "multi:softprob", "num_class": 3, "eval_metric": "mlogloss",
    }  # fmt: skip
    settings |= {"eta": 0.05, "max_depth": 3, "subsample": 0.8, "colsample_bytree": 0.8}
    settings |= {"lambda": 1.0, "gamma": 0.0, "nthread": 1, "seed": 5, "tree_method": "hist"}
    fit_rows, judge = inner_folds(labels, groups, 5, 5)[0]
    trial = xgboost.train(
        settings,
        xgboost.DMatrix(values[fit_rows], labels[fit_rows]),
        60,
        evals=[(xgboost.DMatrix(values[judge], labels[judge]), "aside")],
        early_stopping_rounds=5,
        verbose_eval=False,
    )
    trees = trial.best_iteration + 1
    theirs = xgboost.train(settings, xgboost.DMatrix(values, labels), trees)
    assert trees < 60 and ours.model.num_boosted_rounds() == trees
    expected = theirs.predict(xgboost.DMatrix(values), output_margin=True).reshape(len(values), -1)
    np.testing.assert_array_equal(ours.scores(values), expected)
    probs = theirs.predict(xgboost.DMatrix(values))
    assert log_loss(labels, ours.predict(values)) == pytest.approx(
        log_loss(labels, probs), abs=1e-7
    )


@pytest.mark.parametrize("classes", [2, 3])
def test_lightgbm_called_directly_gives_the_same(classes):
    import lightgbm

    values, labels, kinds, groups = _numbers(classes)
    values[::7, 2] = np.nan
    model = LightGBM(trees=12, leaves=5, early_stopping=None)
    ours = learn(model, values, kinds, labels, groups, 5)
    theirs = lightgbm.LGBMClassifier(
        n_estimators=12, num_leaves=5, learning_rate=0.05, min_child_samples=10, subsample=0.8,
        subsample_freq=1, colsample_bytree=0.8, random_state=5, n_jobs=1, deterministic=True,
        force_row_wise=True, verbosity=-1,
    ).fit(values, labels)  # fmt: skip
    np.testing.assert_allclose(ours.predict(values), theirs.predict_proba(values), atol=1e-12)


@pytest.mark.parametrize("model", MODELS, ids=IDS)
@pytest.mark.parametrize("classes", [2, 3])
def test_files_carry_every_bit(model, classes, tmp_path):
    rows, two, three, groups = table()
    labels = two if classes == 2 else three
    steps = (Impute(missing=True), Standardise(), Uncorrelated(), Lasso(3, penalties=10), model)
    fitted = _fit(steps, rows, labels, groups)
    probs = fitted.predict(rows)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-12)
    assert log_loss(labels, probs) < log_loss(labels, np.full_like(probs, 1 / classes)) - 0.05
    fitted.save(tmp_path / "kept")
    again = load(tmp_path / "kept")
    # Another order of columns is none.
    np.testing.assert_array_equal(again.predict(rows[list(rows)[::-1]]), probs)
    assert (again.selected, again.estimator) == (fitted.selected, fitted.estimator)
    repeated = _fit(steps, rows, labels, groups).predict(rows)
    np.testing.assert_array_equal(repeated, probs)
    assert {"age", "bmi"} <= set(fitted.selected)
    suffixes = {path.suffix for path in (tmp_path / "kept").iterdir()}
    assert suffixes <= {".json", ".npz", ".txt"}


def test_what_is_loaded_predicts_without_scikit_learn(tmp_path):
    rows, labels, _, groups = table(60)
    _fit((*READY, RandomForest(trees=3)), rows, labels, groups).save(tmp_path / "kept")
    rows.to_csv(tmp_path / "rows.csv", index=False)
    code = (
        "import sys, pandas; from pathlib import Path; from msk_jax.methods.fitting import load; "
        f"f = Path({str(tmp_path)!r}); load(f / 'kept').predict(pandas.read_csv(f / 'rows.csv')); "
        "print('sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_boosters_read_missing_values_and_others_refuse_them():
    rows, labels, _, groups = table(60)
    for model in MODELS[3:]:
        assert np.isfinite(_fit((model,), rows, labels, groups).predict(rows)).all()
    for model in MODELS[:3]:
        with pytest.raises(UserError, match=r"cannot read missing values.*Put Impute\(\)"):
            _fit((model,), rows, labels, groups)


@pytest.mark.parametrize("model", MODELS[2:], ids=IDS[2:])
def test_inner_folds_of_models_never_split_a_patient(model, monkeypatch):
    rows, labels, _, groups = table(60)
    used = []

    def watched(labels, groups, folds, seed):
        used.append(groups)
        return inner_folds(labels, groups, folds, seed)

    monkeypatch.setattr(machine, "inner_folds", watched)
    monkeypatch.setattr(boosting, "inner_folds", watched)
    _fit((*READY, model), rows, labels, groups)
    assert len(used) == 1 and (used[0] == groups).all()


def test_a_table_of_other_columns_is_refused():
    rows, labels, _, groups = table(60)
    fitted = _fit((*READY, Logistic()), rows, labels, groups)
    with pytest.raises(UserError, match="table lacks bone and has femur, which was never learned"):
        fitted.predict(rows.rename(columns={"bone": "femur"}))
    with pytest.raises(UserError, match="the word 'patella'"):
        fitted.predict(rows.assign(bone="patella"))


def test_training_rows_without_a_class_are_refused():
    rows, labels, _, groups = table(60)
    with pytest.raises(UserError, match="there is none of class 1"):
        fit(Estimator((*READY, Logistic())), rows, labels * 0, 2, WORDS, ORDERED, groups, 0)


def test_a_damaged_folder_is_refused(tmp_path):
    rows, labels, _, groups = table(60)
    arrays = tmp_path / "kept" / "arrays.npz"
    _fit((*READY, Logistic()), rows, labels, groups).save(tmp_path / "kept")
    for content in (b"PK", arrays.read_bytes()[:300], arrays.read_bytes()[:-90]):
        arrays.write_bytes(content)
        with pytest.raises(UserError, match=r"kept cannot be read .*Train again"):
            load(tmp_path / "kept")
    for model in MODELS[3:]:
        _fit((model,), rows, labels, groups).save(tmp_path / "trees")
        trees = tmp_path / "trees" / "booster.txt"
        trees.write_text(trees.read_text()[:200])
        with pytest.raises(UserError, match="cannot read the kept trees"):
            load(tmp_path / "trees").predict(rows)


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_no_rows_and_one_row(model):
    rows, labels, _, groups = table(60)
    fitted = _fit((*READY, model), rows, labels, groups)
    assert fitted.predict(rows.iloc[:0]).shape == (0, 2)
    np.testing.assert_allclose(
        fitted.predict(rows.iloc[[7]]), fitted.predict(rows)[[7]], atol=1e-12
    )


def test_a_table_in_which_nothing_differs():
    rows, labels, _, groups = table(60)
    words, bone = {"bone": ("femur",)}, rows[["bone"]].assign(bone="femur")
    with pytest.raises(UserError, match="table of bone has nothing that differs"):
        fit(Estimator((*READY, Logistic())), bone, labels, 2, words, (), groups, 0)


def test_a_library_that_is_not_installed(monkeypatch):
    rows, labels, _, groups = table(60)
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(UserError, match=r"msk_jax\[tables\]"):
        _fit((*READY, XGBoost()), rows, labels, groups)
