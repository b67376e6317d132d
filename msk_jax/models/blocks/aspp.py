"""Atrous spatial pyramid pooling, pooled (DeepLab v3) and densely connected.

Chen et al., Rethinking Atrous Convolution for Semantic Image Segmentation, 2017; Yang et al.,
DenseASPP for Semantic Segmentation in Street Scenes, 2018.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from msk_jax.errors import UserError
from msk_jax.models.blocks.layers import Layers, full_precision


def check_rates(rates: tuple[int, ...], side: int) -> None:
    """Refuse a rate that a map of `side` pixels cannot show.

    A 3x3 kernel at rate r spans 2 r + 1 pixels; with r > (side - 1) / 2 no place of the map has
    both outer taps on pixels, and from r = side on the branch is a 1x1 convolution.

    Raises:
        UserError: names the rates and what would fit.
    """
    largest = (side - 1) // 2
    too_large = [r for r in rates if r > largest]
    if too_large:
        raise UserError(
            f"ASPP rates {too_large} are too large for a {side}x{side} feature map: the outer "
            f"taps would read padding everywhere. Rates up to {largest} fit; lower the rates or "
            "the output stride, enlarge the input, or give --allow-degenerate to accept branches "
            "that decay to 1x1."
        )


class ASPP(nn.Module):
    """A 1x1 branch, one 3x3 branch per rate and image pooling, concatenated and projected.

    `[batch, height, width, channels]` -> `[batch, height, width, features]`.
    """

    features: int = 256
    rates: tuple[int, ...] = (6, 12, 18)
    dropout: float = 0.5
    allow_degenerate: bool = False
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if not self.allow_degenerate:
            check_rates(self.rates, min(x.shape[1:3]))
        branches = [self._branch(x, 1, 1, "convs.0.0", "convs.0.1")]
        for i, rate in enumerate(self.rates, start=1):
            branches.append(self._branch(x, 3, rate, f"convs.{i}.0", f"convs.{i}.1"))
        # In torch's sequence of image pooling the pool itself comes first.
        last = f"convs.{len(self.rates) + 1}"
        pooled = jnp.mean(full_precision(x), (1, 2), keepdims=True).astype(x.dtype)
        pooled = self._branch(pooled, 1, 1, f"{last}.1", f"{last}.2")
        branches.append(jnp.broadcast_to(pooled, (*x.shape[:3], self.features)))
        y = self._branch(jnp.concatenate(branches, -1), 1, 1, "project.0", "project.1")
        return self.layers.dropout(self.dropout)(y)

    def _branch(self, x: jax.Array, kernel: int, rate: int, conv: str, norm: str) -> jax.Array:
        dilation = (rate, rate)
        x = self.layers.conv(self.features, (kernel,) * 2, None, dilation, name=conv)(x)
        return nn.relu(self.layers.norm(name=norm)(x))


class DenseASPP(nn.Module):
    """Dilated convolutions of growing rate, each of which sees what all before it gave.

    `[batch, height, width, channels]` -> `[batch, height, width, channels + rates * growth]`, the
    newest maps first, as in the authors' code.
    """

    growth: int = 64
    bottleneck: int = 256
    rates: tuple[int, ...] = (3, 6, 12, 18, 24)
    dropout: float = 0.0
    allow_degenerate: bool = False
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv, norm = self.layers.conv, self.layers.norm
        if not self.allow_degenerate:
            check_rates(self.rates, min(x.shape[1:3]))
        for rate in self.rates:
            name, y = f"ASPP_{rate}", x
            if rate != self.rates[0]:  # the first follows a norm already
                y = norm(name=f"{name}.norm.1")(y)
            y = conv(self.bottleneck, (1, 1), use_bias=True, name=f"{name}.conv.1")(nn.relu(y))
            y = nn.relu(norm(name=f"{name}.norm.2")(y))
            dilation = (rate, rate)
            y = conv(self.growth, (3, 3), None, dilation, use_bias=True, name=f"{name}.conv.2")(y)
            y = self.layers.dropout(self.dropout)(y)
            x = jnp.concatenate([y, x], -1)
        return x
