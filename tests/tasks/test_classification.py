"""What a classification learns, says and is judged by, against values reckoned otherwise."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss, roc_auc_score

from msk_jax.errors import UserError
from msk_jax.tasks.classification import TrainedClassification
from msk_jax.training.recipe import Recipe


def _table(labels):
    return SimpleNamespace(label=np.array(labels, np.int32))


def test_answers_are_probabilities_and_what_the_head_is_given():
    logits = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float16)
    answers = TrainedClassification(3).answer(jnp.asarray(logits), {"features": jnp.ones((5, 2))})
    expected = softmax(logits.astype(float), axis=1)
    np.testing.assert_allclose(answers["probabilities"], expected, rtol=1e-6)
    assert answers["features"].shape == (5, 2) and answers["features"].dtype == jnp.float32
    assert TrainedClassification(3).answer(jnp.asarray(logits), {})["features"].shape == (5, 0)


def test_smoothed_targets():
    """0.9 of the label, and a third of 0.1 for each of three classes."""
    task = TrainedClassification.of(Recipe(label_smoothing=0.1), 3)
    shares = task.targets({"label": jnp.array([2, 0])})["target"]
    third = 0.1 / 3
    expected = [[third, third, 0.9 + third], [0.9 + third, third, third]]
    np.testing.assert_allclose(shares, expected, rtol=1e-6)


def test_mixtures_only_where_the_recipe_mixes():
    rng = np.random.default_rng(1)
    examples = {
        "image": jnp.asarray(rng.normal(size=(4, 2, 2, 1))),
        "target": jnp.eye(2)[jnp.array([0, 1, 0, 1])],
        "weight": jnp.ones(4),
    }
    keys = jax.random.split(jax.random.key(0), 4)
    plain = TrainedClassification(2).prepare(keys, examples)
    assert all(plain[name] is examples[name] for name in examples)
    mixed = TrainedClassification(2, mixup=0.5).prepare(keys, examples)
    shares = np.asarray(mixed["target"])
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-6)
    # Of each pair the larger share stays with the example, and the pictures are mixed by it.
    assert (shares[np.arange(4), [0, 1, 0, 1]] >= 0.5).all() and shares.max() < 1
    image = np.asarray(examples["image"])
    expected = shares[0, 0] * image[0] + shares[0, 1] * image[1]
    np.testing.assert_allclose(mixed["image"][0], expected, rtol=1e-5)


@pytest.mark.parametrize("classes", [2, 4])
def test_an_epoch_is_judged_as_scikit_learn_does(classes):
    rng = np.random.default_rng(2)
    labels = np.arange(40) % classes
    probabilities = softmax(rng.normal(size=(40, classes)), axis=1)
    figures = TrainedClassification(classes).validation(
        _table(labels), {"probabilities": probabilities}
    )
    scores = probabilities[:, 1] if classes == 2 else probabilities
    assert figures["auc"] == pytest.approx(roc_auc_score(labels, scores, multi_class="ovr"))
    assert figures["loss"] == pytest.approx(log_loss(labels, probabilities))
    assert tuple(figures) == TrainedClassification.figures


def test_validation_patients_of_one_class_improve_on_nothing():
    probabilities = np.array([[0.25, 0.75], [0.5, 0.5]])
    task, table = TrainedClassification(2), _table([1, 1])
    figures = task.validation(table, {"probabilities": probabilities})
    assert figures["auc"] == 0.5 and figures["loss"] == pytest.approx(-np.log([0.75, 0.5]).mean())
    with pytest.raises(UserError, match="--monitor loss"):
        task.check_monitor("auc", table)
    task.check_monitor("loss", table)


def test_rare_classes_weigh_more():
    """Of six examples of one class and two of the other: 8 / (2 * 6) and 8 / (2 * 2)."""
    table = _table([0] * 6 + [1] * 2)
    weights = TrainedClassification(2).example_weights(table, weighted=True)
    batch = {"label": np.array([0, 1, 1])}
    np.testing.assert_allclose(weights(batch), [8 / 12, 2, 2], rtol=1e-6)
    alike = TrainedClassification(2).example_weights(table, weighted=False)
    np.testing.assert_array_equal(alike(batch), [1, 1, 1])
    with pytest.raises(UserError, match=r"show only classes \[0, 1\] of 3"):
        TrainedClassification(3).example_weights(table, weighted=False)


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (jnp.zeros((1, 5)), r"Net gives \(5,\) for a picture, not 2 logits"),
        (jnp.zeros((1, 8, 8, 2)), r"Net gives \(8, 8, 2\)"),
        ({"boxes": jnp.zeros((1, 4))}, "Net gives no logits"),
    ],
)
def test_a_network_of_another_task_is_refused(outputs, words):
    with pytest.raises(UserError, match=words):
        TrainedClassification(2).check_outputs("Net", outputs)
