"""The four losses of Faster R-CNN.

Ren et al., Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks, 2015,
in torchvision's form: sums over boxes are divided by all samples of the batch; or, `each`, those of
an image by its own, one loss `[batch]` of each image.
"""

import jax
import jax.numpy as jnp
import optax

_BEND = 1 / 9  # where the box loss turns from a square to a line


def smooth_l1(difference: jax.Array) -> jax.Array:
    """u^2 / (2 beta) for |u| < beta, |u| - beta / 2 beyond."""
    size = jnp.abs(difference)
    return jnp.where(size < _BEND, 0.5 * size**2 / _BEND, size - 0.5 * _BEND)


def _shares(values: jax.Array, sampled: jax.Array, each: bool) -> jax.Array:
    """The sum of values `[batch, n]` over the number of samples, of all or of each image."""
    axis = 1 if each else None
    return jnp.sum(values, axis) / jnp.maximum(jnp.sum(sampled, axis), 1)


def _box_values(deltas: jax.Array, targets: jax.Array, positive: jax.Array) -> jax.Array:
    """What each box adds, `[batch, n]`."""
    # A target that is not used may be infinite, and infinity times zero is not zero.
    targets = jnp.where(positive[..., None], targets, 0)
    difference = jnp.where(positive[..., None], deltas - targets, 0)
    return jnp.sum(smooth_l1(difference), -1)


def proposal_losses(
    objectness: jax.Array,
    deltas: jax.Array,
    targets: jax.Array,
    labels: jax.Array,
    sampled: jax.Array,
    each: bool = False,
) -> dict[str, jax.Array]:
    """Losses of the proposal network.

    Args:
        objectness: logits, `[batch, anchors]`.
        deltas: `[batch, anchors, 4]`.
        targets: what they should be, `[batch, anchors, 4]`.
        labels: positive, 0 or ignored, `[batch, anchors]`.
        sampled: `[batch, anchors]`.
        each: whether every image has losses of its own.

    Returns:
        `loss_objectness` and `loss_rpn_box_reg`.
    """
    positive = labels > 0
    entropy = optax.sigmoid_binary_cross_entropy(objectness, positive.astype(objectness.dtype))
    return {
        "loss_objectness": _shares(jnp.where(sampled, entropy, 0), sampled, each),
        "loss_rpn_box_reg": _shares(
            _box_values(deltas, targets, positive & sampled), sampled, each
        ),
    }


def detection_losses(
    logits: jax.Array,
    deltas: jax.Array,
    targets: jax.Array,
    labels: jax.Array,
    sampled: jax.Array,
    each: bool = False,
) -> dict[str, jax.Array]:
    """Losses of the box head.

    Args:
        logits: `[batch, n, classes]`.
        deltas: of every class, `[batch, n, classes, 4]`.
        targets: for the true class, `[batch, n, 4]`.
        labels: `[batch, n]`, 0 is background.
        sampled: `[batch, n]`, False for padding.
        each: whether every image has losses of its own.

    Returns:
        `loss_classifier` and `loss_box_reg`.
    """
    classes = jnp.maximum(labels, 0)
    entropy = optax.softmax_cross_entropy_with_integer_labels(logits, classes)
    own = jnp.take_along_axis(deltas, classes[..., None, None], 2)[..., 0, :]
    return {
        "loss_classifier": _shares(jnp.where(sampled, entropy, 0), sampled, each),
        "loss_box_reg": _shares(_box_values(own, targets, (labels > 0) & sampled), sampled, each),
    }
