"""Attention over channels and pixels, for the blocks of convolutional networks."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from msk_jax.models.blocks.layers import Layers, full_precision


class SqueezeExcitation(nn.Module):
    """Channels weighed by what all pixels together say of them.

    Hu et al., Squeeze-and-Excitation Networks, 2018. `[batch, *spatial, channels]` -> the same
    shape: x times gate(second(activation(first(mean over space)))), where the first 1x1
    convolution goes down to `features` channels and the second back.
    """

    features: int
    activation: Callable = nn.relu
    gate: Callable = nn.sigmoid
    names: tuple[str, str] = ("fc1", "fc2")  # of the two convolutions
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv, one = self.layers.conv, (1,) * (x.ndim - 2)
        first, second = self.names
        y = jnp.mean(full_precision(x), tuple(range(1, x.ndim - 1)), keepdims=True)
        y = self.activation(conv(self.features, one, use_bias=True, name=first)(y))
        y = conv(x.shape[-1], one, use_bias=True, name=second)(y)
        return x * self.gate(full_precision(y)).astype(x.dtype)


class CBAM(nn.Module):
    """Convolutional block attention: what (channels), then where (pixels).

    Woo et al., CBAM: Convolutional Block Attention Module, 2018. `[batch, *spatial, channels]` ->
    the same shape: x times sigmoid(MLP(mean) + MLP(max)), mean and maximum over space, then times
    sigmoid(norm(conv([mean; max]))), mean and maximum over channels.
    """

    ratio: float = 1 / 16
    kernel_size: int = 7
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv, rank = self.layers.conv, x.ndim - 2
        hidden = max(1, int(x.shape[-1] * self.ratio + 0.5))
        reduce = conv(hidden, (1,) * rank, name="channel.fc1")
        expand = conv(x.shape[-1], (1,) * rank, name="channel.fc2")
        mean, largest = _mean_and_max(x, tuple(range(1, x.ndim - 1)))
        what = expand(nn.relu(reduce(mean))) + expand(nn.relu(reduce(largest)))
        x = x * nn.sigmoid(full_precision(what)).astype(x.dtype)
        where = jnp.concatenate(_mean_and_max(x, -1), -1)
        where = conv(1, (self.kernel_size,) * rank, name="spatial.conv.conv")(where)
        where = self.layers.norm(name="spatial.conv.bn")(where)
        return x * nn.sigmoid(full_precision(where)).astype(x.dtype)


def _mean_and_max(x: jax.Array, axes) -> tuple[jax.Array, jax.Array]:
    x = full_precision(x)
    return jnp.mean(x, axes, keepdims=True), jnp.max(x, axes, keepdims=True)
