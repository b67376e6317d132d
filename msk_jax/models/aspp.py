"""Atrous spatial pyramid pooling (Chen et al., Rethinking Atrous Convolution, 2017)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from msk_jax.errors import UserError
from msk_jax.models.layers import Layers


def check_rates(rates: tuple[int, ...], side: int) -> None:
    """Refuse a rate that a map of `side` pixels cannot show.

    A 3x3 kernel at rate r spans 2 r + 1 pixels; with r > (side - 1) / 2 its outer taps read only
    padding everywhere and the branch decays to a 1x1 convolution.

    Raises:
        UserError: names the rates and what would fit.
    """
    largest = (side - 1) // 2
    too_large = [r for r in rates if r > largest]
    if too_large:
        raise UserError(
            f"ASPP rates {too_large} are too large for a {side}x{side} feature map: the outer "
            f"taps would read only padding. Rates up to {largest} fit; lower the rates or the "
            "output stride, enlarge the input, or set allow_degenerate to accept 1x1 branches."
        )


class ASPP(nn.Module):
    """A 1x1 branch, one 3x3 branch per rate and image pooling, concatenated and projected.

    `[batch, height, width, channels]` -> `[batch, height, width, features]`. Modules are named as
    in torchvision's DeepLab.
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

        def branch(y, kernel, rate, name, first=0):
            size, dilation = (kernel,) * 2, (rate,) * 2
            y = self.layers.conv(self.features, size, None, dilation, name=f"{name}.{first}")(y)
            return nn.relu(self.layers.norm(name=f"{name}.{first + 1}")(y))

        branches = [branch(x, 1, 1, "convs.0")]
        branches += [branch(x, 3, rate, f"convs.{i}") for i, rate in enumerate(self.rates, 1)]
        # torchvision's pooling comes first in this branch and counts as its number 0
        pooled = branch(jnp.mean(x, (1, 2), keepdims=True), 1, 1, f"convs.{len(branches)}", 1)
        branches.append(jnp.broadcast_to(pooled, (*x.shape[:3], self.features)))
        y = branch(jnp.concatenate(branches, -1), 1, 1, "project")
        return self.layers.dropout(self.dropout)(y)
