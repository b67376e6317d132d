"""The loss of classes that have an order, by hand."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from msk_jax.tasks.classification import TrainedClassification
from msk_jax.tasks.losses import ordinal_cross_entropy
from msk_jax.training.recipe import Recipe
from msk_jax.training.step import StepSettings, batch_loss


def test_cuts_by_hand():
    probs = np.array([0.5, 0.3, 0.2])
    by_class = [
        -(np.log(0.5) + np.log(0.8)) / 2,  # below both cuts
        -(np.log(0.5) + np.log(0.8)) / 2,  # above the first, below the second
        -(np.log(0.5) + np.log(0.2)) / 2,
    ]
    found = ordinal_cross_entropy(np.tile(np.log(probs) + 7, (3, 1)), np.eye(3))
    np.testing.assert_allclose(found, by_class, rtol=1e-6)
    shared = ordinal_cross_entropy(np.log(probs), np.array([0.25, 0.25, 0.5]))
    assert float(shared) == pytest.approx(np.dot([0.25, 0.25, 0.5], by_class), rel=1e-6)


def test_of_two_classes_it_is_the_cross_entropy():
    logits = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    targets = np.eye(2, dtype=np.float32)[[0, 1, 1, 0, 1]]
    np.testing.assert_allclose(
        ordinal_cross_entropy(logits, targets),
        optax.softmax_cross_entropy(logits, targets),
        rtol=1e-5,
    )


def test_the_recipe_chooses_the_loss_of_a_step():
    logits, targets = np.log([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]), np.eye(3)[[2, 2]]
    network = SimpleNamespace(apply=lambda *_, **__: ((jnp.asarray(logits), {}), {}))
    examples = {"image": None, "target": targets, "weight": np.array([1.0, 3.0])}
    found = {}
    for loss in ("cross_entropy", "ordinal"):
        settings = StepSettings(
            network, TrainedClassification.of(Recipe(loss=loss), 3), None, None, Recipe()
        )
        found[loss] = float(batch_loss(settings, {}, 4.0, {}, examples, None)[0])
    last = -np.log([0.2, 0.8])
    assert found["cross_entropy"] == pytest.approx(last @ [0.25, 0.75], rel=1e-5)
    cuts = (-np.log([0.5, 0.9]) + last) / 2
    assert found["ordinal"] == pytest.approx(cuts @ [0.25, 0.75], rel=1e-5)
