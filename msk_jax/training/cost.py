"""What a training step costs, from the compiler, before anything is trained."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from msk_jax.training.parallel import parallel_train_step
from msk_jax.training.step import StepSettings, TrainState, first_state, untrained_variables
from msk_jax.training.task import TrainedTask


@dataclasses.dataclass(frozen=True)
class StepCost:
    """One step on one device, as the compiler counts it."""

    state_bytes: int
    """The state: parameters, statistics, what the optimiser remembers."""
    batch_bytes: int
    """This device's share of the batch."""
    working_bytes: int
    """Everything else that is alive at once, activations above all."""

    @property
    def device_bytes(self) -> int:
        """All memory that the step needs on a device; the new state takes the place of the old."""
        return self.state_bytes + self.batch_bytes + self.working_bytes


def abstract_state(settings: StepSettings, image_shape: tuple[int, ...]) -> TrainState:
    """The shapes of a state; nothing is computed. `image_shape`: as stored in the shards."""

    def make(key):
        return first_state(settings, untrained_variables(settings, image_shape, key), key)

    return jax.eval_shape(make, jax.random.key(0))


def abstract_batch(
    task: TrainedTask,
    image_shape: tuple[int, ...],
    batch_size: int,
    num_devices: int,
    learned: Mapping[str, np.ndarray] | None = None,
) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes of a batch of `batch_size` over `num_devices`, as a task's step takes them.

    Args:
        task: what is trained for.
        image_shape: as stored in the shards.
        batch_size: over all devices.
        num_devices: of them.
        learned: what it learns from (`TrainedTask.examples`), where there are data.
    """
    each = (num_devices, batch_size // num_devices)
    arrays = {name: (v.shape[1:], v.dtype) for name, v in (learned or {}).items()} or task.learned
    return {
        "volume": jax.ShapeDtypeStruct((*each, *image_shape), jnp.int16),
        **{
            name: jax.ShapeDtypeStruct((*each, *shape), dtype)
            for name, (shape, dtype) in arrays.items()
        },
        "weight": jax.ShapeDtypeStruct(each, jnp.float32),
    }


def compile_step(
    settings: StepSettings, image_shape: tuple[int, ...], batch_size: int, devices: tuple | None
) -> jax.stages.Compiled:
    """The training step for these devices (all of this machine where None is given), compiled."""
    num_devices = len(devices or jax.devices())
    state = abstract_state(settings, image_shape)
    batch = abstract_batch(settings.task, image_shape, batch_size, num_devices)
    return parallel_train_step(settings, devices).lower(state, batch).compile()


def step_cost(compiled: jax.stages.Compiled, state: Any) -> StepCost:
    """What the compiler says of a compiled step. `state`: its state, as arrays or shapes."""
    found = compiled.memory_analysis()
    state_bytes = tree_bytes(state)
    return StepCost(
        state_bytes=state_bytes,
        batch_bytes=max(found.argument_size_in_bytes - state_bytes, 0),
        # The new state takes the place of the old; what else comes out has a place of its own.
        working_bytes=found.temp_size_in_bytes
        + max(found.output_size_in_bytes - found.alias_size_in_bytes, 0),
    )


def tree_bytes(tree: Any) -> int:
    """Bytes of all arrays, or shapes of arrays, in a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
