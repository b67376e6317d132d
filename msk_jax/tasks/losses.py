"""What a network minimises."""

import jax
import jax.numpy as jnp
import optax
from jax import lax


def ordinal_cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """The mean over the cuts between classes of the cross entropy of lying above the cut.

    A call that is two classes off is wrong at two cuts, so it costs more than one that is one off.
    Of two classes it is the cross entropy.

    Args:
        logits: `[..., classes]`, of classes in their order.
        targets: shares of the classes `[..., classes]`.

    Returns:
        `[...]`.
    """
    log_probs, axis = jax.nn.log_softmax(logits), logits.ndim - 1
    above = lax.cumlogsumexp(log_probs, axis=axis, reverse=True)[..., 1:]
    below = lax.cumlogsumexp(log_probs, axis=axis)[..., :-1]
    wanted = lax.cumsum(targets, axis=axis, reverse=True)[..., 1:]
    return -jnp.mean(wanted * above + (1 - wanted) * below, axis=-1)


LOSSES = {"cross_entropy": optax.softmax_cross_entropy, "ordinal": ordinal_cross_entropy}
"""By `Classification.loss`."""
