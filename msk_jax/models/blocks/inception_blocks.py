"""What Inception-v3 and Inception-ResNet-v2 share: their stem and branches side by side."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from msk_jax.models.blocks.layers import Layers, per_axis
from msk_jax.models.blocks.pooling import avg_pool, max_pool


class ConvNormReLU(nn.Module):
    """Convolution, batch norm, ReLU.

    Without `padding` the size stays; a stride goes without padding.
    """

    features: int
    kernel_size: Sequence[int]
    stride: int = 1
    padding: int | None = None
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        strides, padding = (self.stride, self.stride), 0 if self.stride > 1 else self.padding
        conv = self.layers.conv(
            self.features, self.kernel_size, strides, padding=padding, name="conv"
        )
        return nn.relu(self.layers.norm(epsilon=1e-3, name="bn")(conv(x)))


POOLS = {
    "mean": lambda x: avg_pool(x, 3, 1, 1),
    "mean within": lambda x: avg_pool(x, 3, 1, 1, count_padding=False),
    "max": lambda x: max_pool(x, 3, 2),
}
"""3x3; `mean` counts the zeros around the picture, `mean within` does not, `max` halves."""

Step = tuple | str
"""A convolution `(name, features, side of the kernel or both, stride)` whose stride may be left
out, several of them in a tuple that fork and are joined again, or one of `POOLS`."""


class Mixed(nn.Module):
    """Branches side by side, each a row of steps.

    `[batch, height, width, channels]` -> the outputs of the branches joined over their channels.
    """

    branches: Sequence[Sequence[Step]]
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.concatenate([self._row(branch, x) for branch in self.branches], axis=-1)

    def _row(self, branch: Sequence[Step], x: jax.Array) -> jax.Array:
        for step in branch:
            x = self._step(step, x)
        return x

    def _step(self, step: Step, x: jax.Array) -> jax.Array:
        if isinstance(step, str):
            return POOLS[step](x)
        if not isinstance(step[0], str):
            return jnp.concatenate([self._step(fork, x) for fork in step], axis=-1)
        name, features, kernel, *stride = step
        kernel = per_axis(kernel, 2)
        return ConvNormReLU(features, kernel, *stride, layers=self.layers, name=name)(x)


def inception_stem(
    x: jax.Array,
    layers: Layers,
    names: Sequence[str],
    mark: Callable[[str, jax.Array], jax.Array],
) -> jax.Array:
    """Five convolutions and two pools: stride 8 and 192 features.

    Args:
        x: `[batch, height, width, channels]`.
        layers: of this call.
        names: of the five convolutions.
        mark: called with `stage1` (stride 2) and `stage2` (stride 4).
    """
    first, second, third, fourth, fifth = names
    x = ConvNormReLU(32, (3, 3), 2, layers=layers, name=first)(x)
    x = ConvNormReLU(32, (3, 3), padding=0, layers=layers, name=second)(x)
    x = mark("stage1", ConvNormReLU(64, (3, 3), layers=layers, name=third)(x))
    x = ConvNormReLU(80, (1, 1), layers=layers, name=fourth)(max_pool(x, 3, 2))
    x = mark("stage2", ConvNormReLU(192, (3, 3), padding=0, layers=layers, name=fifth)(x))
    return max_pool(x, 3, 2)
