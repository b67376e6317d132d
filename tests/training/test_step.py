"""Mixtures, parts and rematerialisation change of a step what they should, and nothing else."""

import math
import re

import flax.linen as nn
import jax
import jax.ad_checkpoint
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from msk_jax.data.feed.augment import Augmentation, Preprocess
from msk_jax.models.blocks.layers import Layers, endpoint
from msk_jax.tasks.classification import TrainedClassification
from msk_jax.tasks.mixup import mix_pairs
from msk_jax.training.cost import abstract_state, compile_step, step_cost
from msk_jax.training.recipe import Recipe
from msk_jax.training.step import StepSettings, batch_loss, first_state, train_step

STILL = Augmentation(
    rotation=0, scaling=0, translation=0, gamma=(1, 1), contrast=0, brightness=0, noise=0, erasing=0
)


class Counting(nn.Module):
    """Wide layers between narrow endpoints, and a statistic that counts how often it was asked."""

    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, train=False):
        calls = self.variable("batch_stats", "calls", jnp.zeros, (), jnp.float32)
        if train:
            calls.value = calls.value + 1
        layers = Layers(train, self.axis_name)
        for stage in range(2):
            for layer in range(3):
                x = nn.tanh(layers.conv(48, (3, 3), name=f"conv{stage}_{layer}")(x))
            x = layers.conv(2, (3, 3), name=f"narrow{stage}")(x)
            x = endpoint(self, f"stage{stage}", x)
        return nn.Dense(2)(x.mean((1, 2))), {}


def _settings(**recipe):
    recipe = Recipe(augmentation=STILL, batch_size=8, **recipe)
    task = TrainedClassification.of(recipe, 2)
    return StepSettings(Counting(), task, optax.sgd(0.1), Preprocess(), recipe, axis_name=None)


def _batch():
    rng = np.random.default_rng(0)
    return {
        "volume": rng.integers(-500, 1500, (8, 16, 16, 3)).astype(np.int16),
        "label": np.arange(8, dtype=np.int32) % 2,
        "weight": rng.uniform(1, 2, 8).astype(np.float32),
    }


@pytest.fixture(scope="module")
def variables():
    settings = _settings()
    image = settings.preprocess.window(_batch()["volume"][:1])
    found = settings.model.init(jax.random.key(0), image)
    return {kind: found[kind] for kind in ("params", "batch_stats")}


@pytest.fixture(scope="module")
def plain(variables):
    return _step(_settings(), variables)


def _step(settings, variables):
    state = first_state(settings, variables, jax.random.key(1))
    return jax.jit(lambda s, b: train_step(settings, s, b))(state, _batch())


def test_parts_sum_up_to_the_whole_batch(plain, variables):
    state, metrics = _step(_settings(accumulate=4), variables)
    assert float(metrics["loss"]) == pytest.approx(float(plain[1]["loss"]), rel=1e-6)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), plain[0].params, variables["params"])
    assert max(jax.tree.leaves(moved)) > 1e-3
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state.params, plain[0].params
    )
    assert state.batch_stats["calls"] == 4 and plain[0].batch_stats["calls"] == 1


def test_rematerialisation_saves_memory_and_changes_no_number(plain, variables, capsys):
    state, metrics = _step(_settings(remat=True), variables)
    assert float(metrics["loss"]) == pytest.approx(float(plain[1]["loss"]), rel=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state.params, plain[0].params
    )
    # What the compiler makes of it shows on accelerators alone: on CPU it undoes the recomputation.
    kept, again = (_kept_numbers(_settings(remat=r), variables, capsys) for r in (False, True))
    pictures = 8 * 16 * 16
    assert kept > 6 * 48 * pictures
    assert again < 2 * 2 * pictures + 3 * pictures + 100_000


def _kept_numbers(settings, variables, capsys):
    """How many numbers wait between the forward and the backward pass."""
    batch = _batch()
    examples = {
        "image": settings.preprocess.window(batch["volume"]),
        "target": jax.nn.one_hot(batch["label"], 2),
        "weight": batch["weight"],
    }
    stats, key = variables["batch_stats"], jax.random.key(0)
    jax.ad_checkpoint.print_saved_residuals(
        lambda params: batch_loss(settings, params, 1.0, stats, examples, key)[0],
        variables["params"],
    )
    shapes = re.findall(r"^\w+\[([\d,]*)\]", capsys.readouterr().out, re.MULTILINE)
    return sum(math.prod(map(int, filter(None, shape.split(",")))) for shape in shapes)


def test_mixtures_by_hand():
    keys = jax.random.split(jax.random.key(0), 4)
    images = jnp.arange(4.0)[:, None] * jnp.ones((4, 3))
    targets, weights = jnp.eye(2)[jnp.array([0, 1, 1, 1])], jnp.array([1.0, 3.0, 1.0, 1.0])
    mixed, shares, weighed = mix_pairs(keys, images, targets, weights, 0.5)
    # Pictures 0 and 1 differ by one, so the mixture itself is the other's share.
    share = 1 - np.array([mixed[0, 0], 1 - mixed[1, 0]])
    assert ((share >= 0.5) & (share <= 1)).all() and (share < 1).any()
    np.testing.assert_allclose(mixed, mixed[:, :1] * np.ones((1, 3)))
    np.testing.assert_allclose(
        weighed[:2], [share[0] + 3 * (1 - share[0]), 3 * share[1] + 1 - share[1]], rtol=1e-6
    )
    np.testing.assert_allclose(shares[0] * weighed[0], [share[0], 3 * (1 - share[0])], rtol=1e-6)
    np.testing.assert_allclose(shares[1] * weighed[1], [1 - share[1], 3 * share[1]], rtol=1e-6)
    np.testing.assert_allclose(shares[2:], targets[2:], rtol=1e-6)
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-6)


def test_a_mixture_has_the_mixture_of_the_losses():
    keys = jax.random.split(jax.random.key(3), 2)
    targets, weights = jnp.eye(2), jnp.array([1.0, 3.0])
    logits = jnp.array([[0.3, -1.0], [2.0, 0.5]])
    share, mixed_targets, mixed_weights = mix_pairs(
        keys, jnp.array([1.0, 0.0]), targets, weights, 1.0
    )
    got = mixed_weights[0] * optax.softmax_cross_entropy(logits[0], mixed_targets[0])
    each = weights * optax.softmax_cross_entropy(jnp.stack([logits[0]] * 2), targets)
    assert float(got) == pytest.approx(
        float(share[0] * each[0] + (1 - share[0]) * each[1]), rel=1e-6
    )


def test_cost_is_counted_by_the_compiler(variables):
    settings = StepSettings(
        Counting("device"),
        TrainedClassification(2),
        optax.adam(0.1),
        Preprocess(),
        Recipe(augmentation=STILL),
    )
    state = abstract_state(settings, (16, 16, 3))
    compiled = compile_step(settings, (16, 16, 3), 8, None)
    cost = step_cost(compiled, state)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    # Parameters and two moments of each in float32; besides them step counters, key, statistic.
    assert 0 <= cost.state_bytes - 12 * parameters < 100
    # A share of the batch: two pictures of int16, their labels and weights.
    assert cost.batch_bytes == 2 * (16 * 16 * 3 * 2 + 4 + 4)
    assert cost.working_bytes > 2 * 16 * 16 * 48 * 4 * 6
