"""All parallelism: the training and prediction step over every device.

The state is replicated, the batch is split along its first axis `[devices, batch / devices, ...]`.
Losses and gradients are sums over examples divided by the weight of the whole batch, so a step
gives the same numbers on one device and on many.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from msk_jax.data.augment import Augmentation, Preprocess
from msk_jax.errors import UserError
from msk_jax.models.layers import example_keys

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


def train_step(
    state: TrainState,
    batch: Batch,
    *,
    model: Any,
    optimiser: optax.GradientTransformation,
    preprocess: Preprocess,
    augmentation: Augmentation,
    label_smoothing: float,
    average_decay: float | None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One pure step.

    `batch`: `volume` int16 `[b, height, width, slices]`, `label` int `[b]`, `weight` float `[b]`.
    """
    key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
    augment_key, dropout_key = jax.random.split(key)
    keys = example_keys(augment_key, batch["label"].shape[0], AXIS)
    images = jax.vmap(augmentation)(keys, preprocess.window(batch["volume"]))
    # Without the barrier the compiler draws the noise again for the backward pass.
    images = lax.optimization_barrier(preprocess.normalise(images))
    total = lax.psum(jnp.sum(batch["weight"]), AXIS)

    def loss_fn(params):
        (logits, _), updated = model.apply(
            {"params": params, "batch_stats": state.batch_stats},
            images,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": dropout_key},
        )
        logits = logits.astype(jnp.float32)
        targets = optax.smooth_labels(
            jax.nn.one_hot(batch["label"], logits.shape[-1]), label_smoothing
        )
        losses = optax.softmax_cross_entropy(logits, targets)
        return jnp.sum(batch["weight"] * losses) / total, updated["batch_stats"]

    (loss, batch_stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    grads, loss = lax.psum((grads, loss), AXIS)
    updates, opt_state = optimiser.update(grads, state.opt_state, state.params)
    new_state = state.replace(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        batch_stats=batch_stats,
        opt_state=opt_state,
    )
    if average_decay is not None:
        # Early on the average forgets its start: Polyak's warm-up, min(decay, (1 + t) / (10 + t)).
        decay = jnp.minimum(average_decay, (1 + state.step) / (10 + state.step))
        latest = {"params": new_state.params, "batch_stats": batch_stats}
        average = jax.tree.map(lambda a, b: decay * a + (1 - decay) * b, state.average, latest)
        new_state = new_state.replace(average=average)
    return new_state, {"loss": loss}


def parallel_train_step(devices: list[jax.Device] | None = None, **settings) -> Callable:
    """`train_step` over all devices: replicated state, donated; compiled once."""

    def step(state, batch):
        return train_step(state, batch, **settings)

    return jax.pmap(
        step,
        axis_name=AXIS,
        in_axes=(None, 0),
        out_axes=(None, None),
        donate_argnums=(0,),
        devices=devices,
    )


def parallel_predict(model: Any, preprocess: Preprocess, devices=None) -> Callable:
    """`(variables, volume [devices, b, h, w, slices]) -> probabilities [devices, b, classes]`."""

    def predict(variables, volume):
        logits, _ = model.apply(variables, preprocess.normalise(preprocess.window(volume)))
        return jax.nn.softmax(logits.astype(jnp.float32))

    return jax.pmap(predict, axis_name=AXIS, in_axes=(None, 0), out_axes=0, devices=devices)


def replicate(tree: Any, devices: list[jax.Device] | None = None) -> Any:
    """A copy of every array on every device, placed as the steps return them.

    A state placed otherwise would be compiled for once more at the second step.
    """
    mesh = Mesh(np.array(devices or jax.devices()), (AXIS,))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def split_over_devices(batch: Batch, num_devices: int) -> dict[str, np.ndarray]:
    """`[n, ...]` -> `[devices, n / devices, ...]` for every array of the batch."""
    return {k: v.reshape(num_devices, -1, *v.shape[1:]) for k, v in batch.items()}


def check_batch_size(batch_size: int, num_devices: int) -> None:
    """Raises UserError where a batch cannot be split evenly."""
    if batch_size % num_devices:
        raise UserError(
            f"A batch of {batch_size} cannot be split over {num_devices} devices. Give a "
            f"--batch-size that is a multiple of {num_devices}."
        )


def predict_all(
    predict: Callable, variables: Any, batches: Iterable[np.ndarray], batch_size: int
) -> np.ndarray:
    """Probabilities `[n, classes]` of all volumes in `batches`; a short batch is padded."""
    num_devices = jax.local_device_count()
    check_batch_size(batch_size, num_devices)
    results = []
    for volumes in batches:
        padded = np.zeros((batch_size, *volumes.shape[1:]), volumes.dtype)
        padded[: len(volumes)] = volumes
        batch = split_over_devices({"volume": padded}, num_devices)["volume"]
        probabilities = np.asarray(predict(variables, batch))
        results.append(probabilities.reshape(batch_size, -1)[: len(volumes)])
    return np.concatenate(results)
