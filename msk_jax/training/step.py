"""One training step, pure: it knows of devices only the axis that sums go over.

Losses and gradients are sums over examples divided by the weight of the whole batch, so a step
gives the same numbers on one device and on many.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax import lax

from msk_jax.data.feed.augment import Preprocess
from msk_jax.models.blocks.layers import ENDPOINT, example_keys
from msk_jax.training.recipe import Recipe
from msk_jax.training.task import TrainedTask

AXIS = "device"
Batch = Mapping[str, jax.Array]


@flax.struct.dataclass
class TrainState:
    """Everything a run needs to go on: it is what a checkpoint holds."""

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    key: jax.Array
    """Data of a random key, uint32 `[2]`: a checkpoint holds plain numbers."""
    average: Any = None
    """Moving average of `params` and `batch_stats`; None where the recipe keeps none."""

    @property
    def variables(self) -> Any:
        """What predictions are made with."""
        if self.average is not None:
            return self.average
        return {"params": self.params, "batch_stats": self.batch_stats}


@dataclasses.dataclass(frozen=True)
class StepSettings:
    """What a training step is made of."""

    model: nn.Module
    task: TrainedTask
    optimiser: optax.GradientTransformation
    preprocess: Preprocess
    recipe: Recipe
    axis_name: str | None = AXIS
    """What the steps of all devices are summed over; None where there is one program only."""


def untrained_variables(
    settings: StepSettings, image_shape: tuple[int, ...], key: jax.Array
) -> dict[str, Any]:
    """Random `params` and `batch_stats`; `image_shape`: height, width, slices as stored."""
    image = settings.preprocess.window(jnp.zeros((1, *image_shape), jnp.int16))
    (outputs, _), variables = settings.model.init_with_output(key, image)
    settings.task.check_outputs(type(settings.model).__name__, outputs)
    return {name: variables.get(name, {}) for name in ("params", "batch_stats")}


def first_state(settings: StepSettings, variables: Any, key: jax.Array) -> TrainState:
    """The state before the first step.

    Args:
        settings: of the steps to come.
        variables: `params` and `batch_stats` to start from.
        key: random key of the run.
    """
    averaged = settings.recipe.average_decay is not None
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        opt_state=settings.optimiser.init(variables["params"]),
        key=jax.random.key_data(key),
        # A copy: the step donates its input, and nothing can be donated twice.
        average=jax.tree.map(jnp.copy, variables) if averaged else None,
        **variables,
    )


def restart(settings: StepSettings, state: TrainState) -> TrainState:
    """The state before the first step of another phase: a new optimiser, all else as it was."""
    return state.replace(opt_state=settings.optimiser.init(state.params))


def train_step(
    settings: StepSettings, state: TrainState, batch: Batch
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One pure step.

    `batch`: `volume` int16 `[b, height, width, slices]`, `weight` float `[b]`, and what the task
    learns from.
    """
    recipe, axis = settings.recipe, settings.axis_name
    key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
    augment_key, dropout_key = jax.random.split(key)
    examples = _examples(settings, augment_key, batch)
    total = _sum(jnp.sum(examples["weight"]), axis)
    gradients = partial(_gradients, settings, state.params, total)
    if recipe.accumulate == 1:
        grads, loss, batch_stats = gradients(state.batch_stats, examples, dropout_key)
    else:
        grads, loss, batch_stats = _accumulated(
            gradients, recipe.accumulate, state, examples, dropout_key
        )
    grads, loss = _sum((grads, loss), axis)
    updates, opt_state = settings.optimiser.update(grads, state.opt_state, state.params)
    new_state = state.replace(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        batch_stats=batch_stats,
        opt_state=opt_state,
    )
    if recipe.average_decay is not None:
        # Early on the average forgets its start: Polyak's warm-up, min(decay, (1 + t) / (10 + t)).
        decay = jnp.minimum(recipe.average_decay, (1 + state.step) / (10 + state.step))
        latest = {"params": new_state.params, "batch_stats": batch_stats}
        average = jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, state.average, latest)
        new_state = new_state.replace(average=average)
    return new_state, {"loss": loss}


def _examples(settings: StepSettings, key: jax.Array, batch: Batch) -> dict[str, jax.Array]:
    """Augmented `image`, `weight` and the task's targets of a device's examples."""
    recipe, task = settings.recipe, settings.task
    keys = example_keys(key, batch["weight"].shape[0], settings.axis_name)
    images = settings.preprocess.window(batch["volume"])
    if task.moves:
        shape = images.shape[1:3]
        images, motions = jax.vmap(recipe.augmentation.with_motion)(keys, images)
        targets = jax.vmap(partial(task.moved, shape=shape))(task.targets(batch), *motions)
    else:
        images = jax.vmap(recipe.augmentation)(keys, images)
        targets = task.targets(batch)
    images = settings.preprocess.normalise(images)
    examples = task.prepare(keys, {"image": images, **targets, "weight": batch["weight"]})
    # Without the barrier the compiler draws the noise again for the backward pass.
    return {**examples, "image": lax.optimization_barrier(examples["image"])}


def batch_loss(
    settings: StepSettings, params: Any, total: jax.Array, batch_stats, examples, dropout_key
) -> tuple[jax.Array, Any]:
    """Loss of these examples, as a share of the whole batch, and the new statistics.

    Args:
        settings: of the step.
        params: of the network.
        total: weight of the whole batch.
        batch_stats: of the network.
        examples: `image` `[b, height, width, slices]`, `weight` `[b]`, and the task's targets.
        dropout_key: for this call.
    """

    def apply(params, images):
        return settings.model.apply(
            {"params": params, "batch_stats": batch_stats},
            images,
            train=True,
            mutable=["batch_stats"],
            # One key for both: a network drops out, or draws samples for its losses.
            rngs={"dropout": dropout_key, "sample": dropout_key},
            **settings.task.asks(examples),
        )

    if settings.recipe.remat:
        kept = jax.checkpoint_policies.save_only_these_names(ENDPOINT)
        apply = jax.checkpoint(apply, policy=kept)
    (outputs, _), updated = apply(params, examples["image"])
    losses = settings.task.losses(outputs, examples)
    return jnp.sum(examples["weight"] * losses) / total, updated.get("batch_stats", {})


def _gradients(settings: StepSettings, params, total, batch_stats, examples, dropout_key):
    loss_fn = jax.value_and_grad(partial(batch_loss, settings), has_aux=True)
    (loss, batch_stats), grads = loss_fn(params, total, batch_stats, examples, dropout_key)
    return grads, loss, batch_stats


def _accumulated(gradients: Callable, parts: int, state: TrainState, examples, dropout_key):
    """`gradients` of one part of the examples after the other, summed."""

    def add(carry, part):
        grads, loss, batch_stats = carry
        index, some = part
        key = jax.random.fold_in(dropout_key, index)
        more, extra, batch_stats = gradients(batch_stats, some, key)
        return (jax.tree.map(jnp.add, grads, more), loss + extra, batch_stats), None

    def split(x):
        # Every so manieth example: the same ones, however many devices the batch lies on.
        return jnp.moveaxis(x.reshape(-1, parts, *x.shape[1:]), 1, 0)

    some = jax.tree.map(split, examples)
    start = (jax.tree.map(jnp.zeros_like, state.params), jnp.zeros(()), state.batch_stats)
    (grads, loss, batch_stats), _ = lax.scan(add, start, (jnp.arange(parts), some))
    return grads, loss, batch_stats


def _sum(tree: Any, axis_name: str | None) -> Any:
    return tree if axis_name is None else lax.psum(tree, axis_name)
