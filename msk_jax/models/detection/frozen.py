"""Norms of a trained backbone, which a detector with its few images a batch leaves as they are."""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from msk_jax.models.blocks.layers import Layers, full_precision


class FrozenBatchNorm(nn.Module):
    """Batch norm with the statistics, scale and bias of a trained network, which stay so.

    All four are "batch_stats" and no parameters: weight decay would move a parameter that has no
    gradient. `epsilon` is added to the variance.
    """

    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        def fixed(name: str, make: Callable) -> jax.Array:
            return self.variable("batch_stats", name, make, (x.shape[-1],)).value

        mean, var = fixed("mean", jnp.zeros), fixed("var", jnp.ones)
        factor = fixed("scale", jnp.ones) * lax.rsqrt(var + self.epsilon)
        y = (full_precision(x) - mean) * factor + fixed("bias", jnp.zeros)
        return y.astype(x.dtype)


@dataclasses.dataclass(frozen=True)
class BackboneLayers(Layers):
    """Layers whose norms are frozen, or have an epsilon of their own."""

    frozen: bool = True
    epsilon: float = 1e-5

    def norm(self, **settings) -> nn.Module:
        """Batch norm."""
        if self.frozen:
            return FrozenBatchNorm(self.epsilon, **settings)
        return super().norm(epsilon=self.epsilon, **settings)
