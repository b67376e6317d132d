"""TransNorm: batch norm for two domains.

Wang et al., Transferable Normalization: Towards Improving Transferability of Deep Neural
Networks, 2019.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from msk_jax.errors import UserError
from msk_jax.models.blocks.layers import BatchNorm, Layers, full_precision

DOMAINS = ("source", "target")


class TransNorm(BatchNorm):
    """Source and target normalised apart, scaled together, channels that agree strengthened.

    In training the first half of the batch (of every device) is the source, the second the target,
    and each keeps its running statistics; a trained network normalises with the target's. Channel
    j is multiplied by 1 + alpha_j, alpha_j = C / (1 + d_j) / sum_k 1 / (1 + d_k), where d is the
    distance of the two domains' mean / sqrt(var + epsilon); no gradient flows through alpha. As
    mean alpha is 1, two equal domains give twice what batch norm gives.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (x.shape[-1],)
        means = [
            self.variable("batch_stats", f"running_mean_{d}", jnp.zeros, shape) for d in DOMAINS
        ]
        variances = [
            self.variable("batch_stats", f"running_var_{d}", jnp.ones, shape) for d in DOMAINS
        ]
        scale = self.param("scale", self.scale_init, shape) if self.use_scale else 1.0
        bias = self.param("bias", nn.initializers.zeros, shape)
        value = full_precision(x)
        if self.train and not self.is_initializing():
            if x.shape[0] % 2:
                raise UserError(
                    "TransNorm takes as many source as target examples, source first; the batch "
                    f"has {x.shape[0]}."
                )
            moments, normalised = [], []
            for half, mean, var in zip(jnp.split(value, 2), means, variances, strict=True):
                batch_mean, biased, count = self._batch_statistics(half)
                unbiased = biased * (count / jnp.maximum(count - 1, 1))
                keep = self.momentum
                mean.value = keep * mean.value + (1 - keep) * batch_mean
                var.value = keep * var.value + (1 - keep) * unbiased
                moments.append((batch_mean, unbiased))
                normalised.append((half - batch_mean) * lax.rsqrt(biased + self.epsilon))
            y = jnp.concatenate(normalised)
        else:
            moments = [(m.value, v.value) for m, v in zip(means, variances, strict=True)]
            mean, var = moments[-1]
            y = (value - mean) * lax.rsqrt(var + self.epsilon)
        alpha = transferability(*moments, self.epsilon)
        return ((y * scale + bias) * (1 + alpha)).astype(x.dtype)


def transferability(source: tuple, target: tuple, epsilon: float = 1e-5) -> jax.Array:
    """alpha `[channels]` of two (mean, variance), each `[channels]`; its mean is 1."""
    places = [mean * lax.rsqrt(var + epsilon) for mean, var in (source, target)]
    likeness = 1 / (1 + jnp.abs(places[0] - places[1]))
    return lax.stop_gradient(likeness / jnp.mean(likeness))


class TransNormLayers(Layers):
    """Layers whose norm is TransNorm: any network becomes one for two domains."""

    def norm(self, **settings) -> TransNorm:
        """TransNorm, synchronised over devices."""
        return TransNorm(train=self.train, axis_name=self.axis_name, **settings)


def for_two_domains(batch_stats: Mapping) -> dict:
    """Running statistics of batch norms as those of TransNorms: both domains start alike."""
    if set(batch_stats) == {"mean", "var"}:
        return {f"running_{k}_{d}": batch_stats[k] for k in ("mean", "var") for d in DOMAINS}
    return {name: for_two_domains(part) for name, part in batch_stats.items()}
