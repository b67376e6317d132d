"""Layers that every network shares. All are channels-last and number for number PyTorch's.

The networks take `conv` and `norm` as ready-made partials of these, so that a network never
mentions devices or precision.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

_SPATIAL = {1: "W", 2: "HW", 3: "DHW"}

# The initialisation of torchvision's ResNet: variance 2 / (kernel size x output channels).
he_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "truncated_normal")


class Conv(nn.Module):
    """Convolution with PyTorch's explicit, symmetric padding.

    Input `[batch, *spatial, channels]`, output the same rank. The kernel is stored as
    `[*kernel_size, in, out]`. `padding="same"` pads `dilation * (kernel - 1) // 2` on both sides,
    which for a stride of 2 is not what Flax's `SAME` does.
    """

    features: int
    kernel_size: Sequence[int]
    strides: Sequence[int] | None = None
    dilation: Sequence[int] | None = None
    use_bias: bool = False
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        rank = len(self.kernel_size)
        strides = tuple(self.strides or (1,) * rank)
        dilation = tuple(self.dilation or (1,) * rank)
        kernel = self.param(
            "kernel", he_fan_out, (*self.kernel_size, x.shape[-1], self.features), jnp.float32
        )
        bias = (
            self.param("bias", nn.initializers.zeros, (self.features,)) if self.use_bias else None
        )
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        if all(k == 1 for k in self.kernel_size):
            # A 1x1 convolution is a matrix product; written as one it is faster on CPU.
            x = x[(slice(None), *(slice(None, None, s) for s in strides), slice(None))]
            y = x @ kernel.reshape(kernel.shape[-2:])
        else:
            padding = [
                (d * (k - 1) // 2,) * 2 for k, d in zip(self.kernel_size, dilation, strict=True)
            ]
            axes = _SPATIAL[rank]
            y = lax.conv_general_dilated(
                x,
                kernel,
                window_strides=strides,
                padding=padding,
                rhs_dilation=dilation,
                dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
            )
        return y if bias is None else y + bias


class BatchNorm(nn.Module):
    """Batch normalisation over all axes but the last, synchronised over `axis_name`.

    As in PyTorch the batch is normalised with the biased variance while the running variance
    keeps the unbiased one (n / (n - 1)); Flax's own layer keeps the biased one.
    `momentum` is the weight of the old value, so PyTorch's 0.1 is 0.9 here. Statistics are
    computed in float32 whatever the input's type.
    """

    train: bool = False
    axis_name: str | None = None
    momentum: float = 0.9
    epsilon: float = 1e-5
    scale_init: Any = nn.initializers.ones

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (x.shape[-1],)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape)
        scale = self.param("scale", self.scale_init, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        if self.train:
            mean, var, count = self._batch_statistics(x.astype(jnp.float32))
            if not self.is_initializing():
                unbiased = var * (count / jnp.maximum(count - 1, 1))
                keep = self.momentum
                running_mean.value = keep * running_mean.value + (1 - keep) * mean
                running_var.value = keep * running_var.value + (1 - keep) * unbiased
        else:
            mean, var = running_mean.value, running_var.value
        factor = scale * lax.rsqrt(var + self.epsilon)
        y = (x.astype(jnp.float32) - mean) * factor + bias
        return y.astype(x.dtype)

    def _batch_statistics(self, x: jax.Array) -> tuple[jax.Array, jax.Array, float]:
        axes = tuple(range(x.ndim - 1))
        count = x.size // x.shape[-1]
        mean = jnp.mean(x, axes)
        if self.axis_name is not None and not self.is_initializing():
            mean = lax.pmean(mean, self.axis_name)
            count = count * lax.axis_size(self.axis_name)
        # Centred before squaring: E[x^2] - E[x]^2 loses half the digits of float32.
        var = jnp.mean(jnp.square(x - mean), axes)
        if self.axis_name is not None and not self.is_initializing():
            var = lax.pmean(var, self.axis_name)
        return mean, var, count


class Dropout(nn.Module):
    """Dropout whose mask belongs to the example, not to the device.

    The mask of an example is drawn from its place in the whole batch over `axis_name`, so a step
    gives the same numbers on one device and on many.
    """

    rate: float
    train: bool = False
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if not self.train or self.rate == 0.0 or self.is_initializing():
            return x
        keys = example_keys(self.make_rng("dropout"), x.shape[0], self.axis_name)
        keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - self.rate, x.shape[1:]))(keys)
        return jnp.where(keep, x / (1 - self.rate), 0)


def example_keys(key: jax.Array, batch: int, axis_name: str | None) -> jax.Array:
    """One key per example, `[batch]`, from its index in the batch over all devices."""
    first = 0 if axis_name is None else lax.axis_index(axis_name) * batch
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(first + jnp.arange(batch))


def upsample_nearest(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Nearest-neighbour resize of `[batch, height, width, channels]` to `size`.

    As `torch.nn.functional.interpolate(mode="nearest")`: source index = floor(i * in / out).
    """
    for axis, out in zip((1, 2), size, strict=True):
        if x.shape[axis] == out:
            continue
        if out % x.shape[axis] == 0:
            x = jnp.repeat(x, out // x.shape[axis], axis)
        else:
            x = jnp.take(x, jnp.arange(out) * x.shape[axis] // out, axis)
    return x
