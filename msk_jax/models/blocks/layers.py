"""Layers that every network shares. All are channels-last and number for number PyTorch's.

A network takes one `Layers`, made by `Network.layers`, and asks it for convolutions and norms, so
that only this file knows about devices and precision. Parameters are named so that their path is
PyTorch's name (`models.torch_weights`).
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from msk_jax.errors import UserError
from msk_jax.models.blocks.convolution import convolve, depthwise, pointwise
from msk_jax.models.blocks.transposed import conv_transpose

ENDPOINT = "endpoint"
"""What rematerialisation knows the outputs of stages by."""

# The initialisation of torchvision's ResNet: variance 2 / (kernel size x output channels).
he_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "truncated_normal")


def full_precision(x: jax.Array) -> jax.Array:
    """At least float32, for statistics and losses; float64 stays what it is."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


class Conv(nn.Module):
    """Convolution with PyTorch's explicit, symmetric padding.

    Input `[batch, *spatial, channels]`, output the same rank. The kernel is stored as
    `[*kernel_size, in / groups, out]`. Without `padding`, `dilation * (kernel - 1) // 2` zeros are
    added on both sides, which for a stride of 2 is not what Flax's `SAME` does; a number or one
    per axis is what PyTorch's `padding` is.
    """

    features: int
    kernel_size: Sequence[int]
    strides: Sequence[int] | None = None
    dilation: Sequence[int] | None = None
    use_bias: bool = False
    groups: int = 1
    padding: int | Sequence[int] | None = None
    dtype: Any = None
    kernel_init: Callable = he_fan_out

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        rank = len(self.kernel_size)
        strides = tuple(self.strides or (1,) * rank)
        dilation = tuple(self.dilation or (1,) * rank)
        shape = (*self.kernel_size, x.shape[-1] // self.groups, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = (
            self.param("bias", nn.initializers.zeros, (self.features,)) if self.use_bias else None
        )
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        padding = self._padding(dilation)
        if self.groups == 1 and not any(padding) and all(k == 1 for k in self.kernel_size):
            y = pointwise(x[(slice(None), *(slice(None, None, s) for s in strides))], kernel)
        elif 1 < self.groups == x.shape[-1] == self.features:
            y = depthwise(x, kernel, strides, padding, dilation)
        else:
            y = convolve(x, kernel, [(p, p) for p in padding], strides, dilation, self.groups)
        return y if bias is None else y + bias

    def _padding(self, dilation: tuple[int, ...]) -> tuple[int, ...]:
        if self.padding is None:
            return tuple(d * (k - 1) // 2 for k, d in zip(self.kernel_size, dilation, strict=True))
        return per_axis(self.padding, len(self.kernel_size))


class ConvTranspose(nn.Module):
    """Transposed convolution as PyTorch's `ConvTranspose2d` and `ConvTranspose3d`.

    Output size `(size - 1) * stride - 2 * padding + kernel + output_padding`, where the paddings
    are a number or one per axis. The kernel is stored as `[*kernel_size, in, out]` under the name
    `up_kernel`.
    """

    features: int
    kernel_size: Sequence[int]
    strides: Sequence[int]
    padding: int | Sequence[int] = 0
    output_padding: int | Sequence[int] = 0
    use_bias: bool = True
    dtype: Any = None
    kernel_init: Callable = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        rank, strides = len(self.kernel_size), tuple(self.strides)
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("up_kernel", self.kernel_init, shape, jnp.float32)
        bias = (
            self.param("bias", nn.initializers.zeros, (self.features,)) if self.use_bias else None
        )
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        padding, extra = per_axis(self.padding, rank), per_axis(self.output_padding, rank)
        y = conv_transpose(x, kernel, strides, padding, extra)
        return y if bias is None else y + bias


class Dense(nn.Dense):
    """Flax's, as a product of two matrices whatever axes there are.

    On CPU the gradient of the kernel over several axes was measured to be much slower.
    """

    def __call__(self, x: jax.Array) -> jax.Array:
        y = super().__call__(x.reshape(-1, x.shape[-1]))
        return y.reshape(*x.shape[:-1], self.features)


def per_axis(value: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """One number for all axes, or one per axis, as one per axis."""
    return (value,) * rank if isinstance(value, int) else tuple(value)


class BatchNorm(nn.Module):
    """Batch normalisation over all axes but the last, synchronised over `axis_name`.

    As in PyTorch the batch is normalised with the biased variance while the running variance
    keeps the unbiased one (n / (n - 1)); Flax's own layer keeps the biased one. A single value per
    channel in training is refused, as there.
    `momentum` is the weight of the old value, so PyTorch's 0.1 is 0.9 here. Statistics are
    computed in float32 whatever the input's type.
    """

    train: bool = False
    axis_name: str | None = None
    momentum: float = 0.9
    epsilon: float = 1e-5
    use_scale: bool = True
    scale_init: Any = nn.initializers.ones

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (x.shape[-1],)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape)
        scale = self.param("scale", self.scale_init, shape) if self.use_scale else 1.0
        bias = self.param("bias", nn.initializers.zeros, shape)
        if self.train:
            mean, var, count = self._batch_statistics(full_precision(x))
            if not self.is_initializing():
                if count == 1:
                    raise UserError(
                        "A batch norm of a single value in training is zero whatever the image "
                        f"shows; the input of {self.name or 'the norm'} has shape {x.shape}. Give "
                        "more images a batch, or larger ones."
                    )
                unbiased = var * (count / (count - 1))
                keep = self.momentum
                running_mean.value = keep * running_mean.value + (1 - keep) * mean
                running_var.value = keep * running_var.value + (1 - keep) * unbiased
        else:
            mean, var = running_mean.value, running_var.value
        factor = scale * lax.rsqrt(var + self.epsilon)
        y = (full_precision(x) - mean) * factor + bias
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


class InstanceNorm(nn.Module):
    """Normalisation of every channel of every example over space, as `InstanceNorm3d`."""

    affine: bool = True
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if math.prod(x.shape[1:-1]) == 1:
            raise UserError(
                "An instance norm of a single pixel is zero whatever the image shows; the input of "
                f"{self.name or 'the norm'} has shape {tuple(x.shape)}. Take a larger image."
            )
        value = full_precision(x)
        axes = tuple(range(1, x.ndim - 1))
        mean = jnp.mean(value, axes, keepdims=True)
        var = jnp.mean(jnp.square(value - mean), axes, keepdims=True)
        y = (value - mean) * lax.rsqrt(var + self.epsilon)
        if self.affine:
            shape = (x.shape[-1],)
            y = y * self.param("scale", nn.initializers.ones, shape)
            y = y + self.param("bias", nn.initializers.zeros, shape)
        return y.astype(x.dtype)


class LayerNorm(nn.Module):
    """Normalisation over the last axis, as `torch.nn.LayerNorm`."""

    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        value = full_precision(x)
        mean = jnp.mean(value, -1, keepdims=True)
        var = jnp.mean(jnp.square(value - mean), -1, keepdims=True)
        y = (value - mean) * lax.rsqrt(var + self.epsilon)
        y = y * self.param("scale", nn.initializers.ones, (x.shape[-1],))
        y = y + self.param("bias", nn.initializers.zeros, (x.shape[-1],))
        return y.astype(x.dtype)


class Dropout(nn.Module):
    """Dropout whose mask belongs to the example, not to the device.

    The mask of an example is drawn from its place in the whole batch over `axis_name`, so a step
    gives the same numbers on one device and on many. With `whole` all of an example is kept or
    dropped (stochastic depth, Huang et al., 2016, mode "row").
    """

    rate: float
    train: bool = False
    axis_name: str | None = None
    whole: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if not self.train or self.rate == 0.0 or self.is_initializing():
            return x
        keys = example_keys(self.make_rng("dropout"), x.shape[0], self.axis_name)
        shape = (1,) * (x.ndim - 1) if self.whole else x.shape[1:]
        keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1 - self.rate, shape))(keys)
        return jnp.where(keep, x / (1 - self.rate), 0)


def endpoint(module: nn.Module, name: str, x: jax.Array) -> jax.Array:
    """`x` of a module, under a name: Grad-CAM may ask about it, and rematerialisation keeps it."""
    return module.perturb(name, checkpoint_name(x, ENDPOINT))


def example_keys(key: jax.Array, batch: int, axis_name: str | None) -> jax.Array:
    """One key per example, `[batch]`, from its index in the batch over all devices."""
    first = 0 if axis_name is None else lax.axis_index(axis_name) * batch
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(first + jnp.arange(batch))


@dataclasses.dataclass(frozen=True)
class Layers:
    """The layers of one call of a network: its mode, its devices and its precision.

    Every method makes a module and passes on what the layer's class takes.
    """

    train: bool = False
    axis_name: str | None = None
    dtype: Any = None

    def conv(self, features: int, kernel_size: Sequence[int], *args, **settings) -> Conv:
        """A convolution; a tuple as long as there are spatial axes."""
        return Conv(features, kernel_size, *args, dtype=self.dtype, **settings)

    def conv_transpose(self, features: int, kernel_size, strides, **settings) -> ConvTranspose:
        """A transposed convolution."""
        return ConvTranspose(features, kernel_size, strides, dtype=self.dtype, **settings)

    def dense(self, features: int, **settings) -> nn.Dense:
        """A matrix product over the last axis, with a bias."""
        return Dense(features, dtype=self.dtype, **settings)

    def norm(self, **settings) -> BatchNorm:
        """Batch norm, synchronised over devices."""
        return BatchNorm(train=self.train, axis_name=self.axis_name, **settings)

    def dropout(self, rate: float, **settings) -> Dropout:
        """Dropout by example."""
        return Dropout(rate, self.train, self.axis_name, **settings)

    def drop_path(self, rate: float, **settings) -> Dropout:
        """Stochastic depth by example."""
        return Dropout(rate, self.train, self.axis_name, whole=True, **settings)


def channels_first_flat(x: jax.Array) -> jax.Array:
    """`[batch, *spatial, channels]` -> `[batch, n]` in PyTorch's order: channels outermost."""
    return jnp.moveaxis(x, -1, 1).reshape(x.shape[0], -1)


def upsample_nearest(x: jax.Array, size: Sequence[int]) -> jax.Array:
    """Nearest-neighbour resize of `[batch, *spatial, channels]` to the spatial `size`.

    As `torch.nn.functional.interpolate(mode="nearest")`: source index = floor(i * in / out).
    """
    for axis, out in enumerate(size, start=1):
        if x.shape[axis] == out:
            continue
        if out % x.shape[axis] == 0:
            x = jnp.repeat(x, out // x.shape[axis], axis)
        else:
            x = jnp.take(x, jnp.arange(out) * x.shape[axis] // out, axis)
    return x


def upsample_linear(x: jax.Array, size: Sequence[int], align_corners: bool = False) -> jax.Array:
    """Bilinear or trilinear resize of `[batch, *spatial, channels]` to the spatial `size`.

    As `torch.nn.functional.interpolate` without antialiasing. One small matrix per axis: its
    gradient is a product too, where a gather would scatter.
    """
    for axis, out in enumerate(size, start=1):
        if x.shape[axis] == out:
            continue
        matrix = _interpolation(x.shape[axis], out, align_corners).astype(x.dtype)
        x = jnp.moveaxis(jnp.tensordot(x, matrix, ((axis,), (0,))), -1, axis)
    return x


def _interpolation(size: int, out: int, align_corners: bool) -> jax.Array:
    """`[size, out]`: the share of every source pixel in every target pixel."""
    if align_corners:
        place = jnp.arange(out) * ((size - 1) / max(out - 1, 1))
    else:
        place = jnp.clip((jnp.arange(out) + 0.5) * (size / out) - 0.5, 0, size - 1)
    distance = jnp.abs(jnp.arange(size)[:, None] - place[None, :])
    return jnp.maximum(0, 1 - distance)
