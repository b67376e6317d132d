"""Batch normalisation as one function with its gradient written out."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax


def batch_statistics(x: jax.Array, axis_name: str | None) -> tuple[jax.Array, jax.Array, float]:
    """Mean and biased variance `[channels]` over all other axes and all devices, and of how many
    values."""
    axes = tuple(range(x.ndim - 1))
    count = x.size // x.shape[-1]
    mean = jnp.mean(x, axes)
    if axis_name is not None:
        mean = lax.pmean(mean, axis_name)
        count = count * lax.axis_size(axis_name)
    # Centred before squaring: E[x^2] - E[x]^2 loses half the digits of float32.
    var = jnp.mean(jnp.square(x - mean), axes)
    if axis_name is not None:
        var = lax.pmean(var, axis_name)
    return mean, var, count


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def normalise_batch(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float, axis_name: str | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(x - mean) / sqrt(var + epsilon) * scale + bias, with the statistics of the batch.

    The gradient of Ioffe and Szegedy (2015) in its short form: with g that of the output and n that
    of the normalised input, dx = scale / sqrt(var + epsilon) * (g - mean(g) - n mean(g n)), means
    over the batch and all devices. It goes over the batch twice; what is derived of the formulas
    above goes over it twice more, for sums that cancel.

    Args:
        x: `[..., channels]`, float32 or float64.
        scale: `[channels]`.
        bias: `[channels]`.
        epsilon: added to the variance.
        axis_name: of the devices that are one batch.

    Returns:
        The output, mean and biased variance; through the last two no gradient flows.
    """
    return _forward(x, scale, bias, epsilon, axis_name)[0]


def _forward(x, scale, bias, epsilon, axis_name):
    mean, var, _ = batch_statistics(x, axis_name)
    inverse = lax.rsqrt(var + epsilon)
    y = (x - mean) * (scale * inverse) + bias
    return (y, mean, var), (x, mean, inverse, scale)


def _backward(epsilon, axis_name, kept, gradients):
    x, mean, inverse, scale = kept
    gradient, _, _ = gradients
    axes = tuple(range(x.ndim - 1))
    normalised = (x - mean) * inverse
    of_bias = jnp.sum(gradient, axes)
    of_scale = jnp.sum(gradient * normalised, axes)
    count = x.size // x.shape[-1]
    means = of_bias / count, of_scale / count
    if axis_name is not None:
        means = lax.pmean(means, axis_name)
    of_x = scale * inverse * (gradient - means[0] - normalised * means[1])
    return of_x, of_scale, of_bias


normalise_batch.defvjp(_forward, _backward)
