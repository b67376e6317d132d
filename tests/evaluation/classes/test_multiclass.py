import numpy as np
import pytest
from scipy.stats import kendalltau
from sklearn import metrics

from msk_jax.evaluation.classes.multiclass import multiclass_figures, order_figures, ordinal_figures


@pytest.fixture(scope="module")
def cases():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 90)
    scores = rng.normal(0, 1, (90, 3)) + 1.3 * np.eye(3)[labels]
    probs = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return labels, probs


def test_beside_scikit_learn(cases):
    labels, probs = cases
    result = multiclass_figures(labels, probs, names=["I", "II", "III"], samples=200)
    called = probs.argmax(1)
    for name, kind in (("macro_auc", "ovr"), ("hand_till", "ovo")):
        theirs = metrics.roc_auc_score(labels, probs, multi_class=kind, average="macro")
        assert result[name].value == pytest.approx(theirs, abs=1e-12)
        assert result[name].low < theirs < result[name].high
    assert result["accuracy"].value == pytest.approx(metrics.accuracy_score(labels, called))
    theirs = metrics.balanced_accuracy_score(labels, called)
    assert result["balanced_accuracy"].value == pytest.approx(theirs)
    theirs = metrics.f1_score(labels, called, average="macro")
    assert result["macro_f1"].value == pytest.approx(theirs)
    assert result["confusion"] == metrics.confusion_matrix(labels, called).tolist()
    recall = metrics.recall_score(labels, called, average=None)
    assert [c["sensitivity"].value for c in result["classes"].values()] == pytest.approx(recall)


def test_patients_widen_the_intervals(cases):
    labels, probs = (np.repeat(x, 6, axis=0) for x in cases)
    naive = multiclass_figures(labels, probs, samples=200)
    honest = multiclass_figures(labels, probs, np.repeat(np.arange(90), 6), samples=200)
    for name in ("macro_auc", "hand_till", "macro_f1", "accuracy"):
        wide, narrow = honest[name], naive[name]
        assert wide.value == pytest.approx(narrow.value)
        assert wide.high - wide.low > 1.7 * (narrow.high - narrow.low)


def test_an_absent_class_says_so(cases):
    labels, probs = cases
    kept = labels != 1
    result = multiclass_figures(labels[kept], probs[kept], samples=20)
    assert result["macro_auc"].value is None and "class 1" in result["macro_auc"].why
    assert result["classes"]["1"]["auc"].value is None
    with pytest.raises(ValueError, match=r"0 \.\. 2"):
        multiclass_figures([3], [[0.1, 0.2, 0.7]])


def test_ordinal_by_hand_and_beside_scikit_learn():
    truth, called = np.array([0, 0, 1, 1, 2, 2, 3, 3]), np.array([0, 1, 1, 3, 2, 2, 2, 0])
    result = ordinal_figures(truth, called, 4, samples=200)
    assert result["exact"].value == 4 / 8 and result["within_one"].value == 6 / 8
    assert result["mean_absolute_error"].value == (1 + 2 + 1 + 3) / 8
    for kind in ("linear", "quadratic"):
        theirs = metrics.cohen_kappa_score(truth, called, weights=kind)
        assert result[f"kappa_{kind}"].value == pytest.approx(theirs)
    assert result["kendall_tau_b"].value == pytest.approx(kendalltau(truth, called).statistic)
    clustered = ordinal_figures(truth, called, 4, np.arange(8) // 2, samples=200)
    assert clustered["kappa_linear"].value == pytest.approx(result["kappa_linear"].value)
    assert "patient" in clustered["kappa_linear"].method
    with pytest.raises(ValueError, match=r"0 \.\. 1"):
        ordinal_figures(truth, called, 2)


def test_order_beside_scikit_learn(cases):
    labels, probs = cases
    found, cuts = order_figures(labels, probs, samples=200)
    expected = probs[:, 1] + 2 * probs[:, 2]
    pairs = []
    for low, high in ((0, 1), (0, 2), (1, 2)):
        kept = np.isin(labels, (low, high))
        pairs.append(metrics.roc_auc_score(labels[kept] == high, expected[kept]))
    assert found.value == pytest.approx(np.mean(pairs), abs=1e-12)
    assert found.low < found.value < found.high
    for k, area in enumerate(cuts, start=1):
        theirs = metrics.roc_auc_score(labels >= k, probs[:, k:].sum(axis=1))
        assert area.value == pytest.approx(theirs, abs=1e-12)
    none, cuts = order_figures(labels[labels != 1], probs[labels != 1], samples=20)
    assert none.value is None and "class 1" in none.why and cuts[0].value is not None
