"""The four losses of Faster R-CNN.

Ren et al., Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks, 2015,
in torchvision's form: sums over boxes are divided by all samples of the batch.
"""

import jax
import jax.numpy as jnp
import optax

_BEND = 1 / 9  # where the box loss turns from a square to a line


def smooth_l1(difference: jax.Array) -> jax.Array:
    """u^2 / (2 beta) for |u| < beta, |u| - beta / 2 beyond."""
    size = jnp.abs(difference)
    return jnp.where(size < _BEND, 0.5 * size**2 / _BEND, size - 0.5 * _BEND)


def _box_loss(deltas: jax.Array, targets: jax.Array, positive: jax.Array, count: jax.Array):
    # A target that is not used may be infinite, and infinity times zero is not zero.
    targets = jnp.where(positive[..., None], targets, 0)
    difference = jnp.where(positive[..., None], deltas - targets, 0)
    return jnp.sum(smooth_l1(difference)) / count


def proposal_losses(
    objectness: jax.Array,
    deltas: jax.Array,
    targets: jax.Array,
    labels: jax.Array,
    sampled: jax.Array,
) -> dict[str, jax.Array]:
    """Losses of the proposal network.

    Args:
        objectness: logits, `[batch, anchors]`.
        deltas: `[batch, anchors, 4]`.
        targets: what they should be, `[batch, anchors, 4]`.
        labels: positive, 0 or ignored, `[batch, anchors]`.
        sampled: `[batch, anchors]`.

    Returns:
        `loss_objectness` and `loss_rpn_box_reg`.
    """
    count = jnp.maximum(jnp.sum(sampled), 1)
    positive = labels > 0
    entropy = optax.sigmoid_binary_cross_entropy(objectness, positive.astype(objectness.dtype))
    return {
        "loss_objectness": jnp.sum(jnp.where(sampled, entropy, 0)) / count,
        "loss_rpn_box_reg": _box_loss(deltas, targets, positive & sampled, count),
    }


def detection_losses(
    logits: jax.Array,
    deltas: jax.Array,
    targets: jax.Array,
    labels: jax.Array,
    sampled: jax.Array,
) -> dict[str, jax.Array]:
    """Losses of the box head.

    Args:
        logits: `[batch, n, classes]`.
        deltas: of every class, `[batch, n, classes, 4]`.
        targets: for the true class, `[batch, n, 4]`.
        labels: `[batch, n]`, 0 is background.
        sampled: `[batch, n]`, False for padding.

    Returns:
        `loss_classifier` and `loss_box_reg`.
    """
    count = jnp.maximum(jnp.sum(sampled), 1)
    classes = jnp.maximum(labels, 0)
    entropy = optax.softmax_cross_entropy_with_integer_labels(logits, classes)
    own = jnp.take_along_axis(deltas, classes[..., None, None], 2)[..., 0, :]
    return {
        "loss_classifier": jnp.sum(jnp.where(sampled, entropy, 0)) / count,
        "loss_box_reg": _box_loss(own, targets, (labels > 0) & sampled, count),
    }
