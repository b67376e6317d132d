"""Mixtures of training pictures and their labels."""

import jax
import jax.numpy as jnp


def mix_pairs(
    keys: jax.Array, images: jax.Array, targets: jax.Array, weights: jax.Array, alpha: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Each example with a share of its neighbour: 0 with 1, 2 with 3, and so on.

    Neighbours, not a random order: batches are drawn in random order anyway, and pairs that stay
    on one device are the same on any number of devices.

    Args:
        keys: one random key per example, `[batch]`; the batch is even.
        images: `[batch, ...]`.
        targets: shares of the classes, `[batch, classes]`.
        weights: of the examples in the loss, `[batch]`.
        alpha: shares are drawn from Beta(alpha, alpha) (Zhang et al. 2018, arXiv:1710.09412); the
            larger one stays with the example.

    Returns:
        mixed images, targets and weights; a mixture's loss is the mixture of both weighted losses.
    """
    drawn = jax.vmap(lambda key: jax.random.beta(key, alpha, alpha))(keys)
    share = jnp.maximum(drawn, 1 - drawn)

    def mixed(x: jax.Array) -> jax.Array:
        pairs = x.reshape(-1, 2, *x.shape[1:])
        other = pairs[:, ::-1].reshape(x.shape)
        mine = share.reshape(-1, *[1] * (x.ndim - 1))
        return mine * x + (1 - mine) * other

    mixed_weights = mixed(weights)
    weighted = mixed(weights[:, None] * targets)
    # Two examples without weight have no share of the loss: any target will do.
    targets = weighted / jnp.where(mixed_weights > 0, mixed_weights, 1)[:, None]
    return mixed(images), targets, mixed_weights
