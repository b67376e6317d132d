"""Which true box a candidate stands for, and which candidates a loss is computed on."""

import jax
import jax.numpy as jnp

from msk_jax.models.detection.boxes import iou

IGNORED = -1


def match(
    candidates: jax.Array,
    boxes: jax.Array,
    labels: jax.Array,
    negative: float,
    positive: float,
    keep_best: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """The true box that overlaps each candidate most, and the candidate's label.

    Args:
        candidates: `[n, 4]`, anchors or proposals.
        boxes: `[m, 4]`, the image's true boxes, padded.
        labels: `[m]`, their classes from 1 on, 0 where there is none.
        negative: a candidate with less overlap is background, 0.
        positive: one with at least so much has the box's class; between the two it is `IGNORED`.
        keep_best: a box's best candidates are positive whatever their overlap (but not without
            any).

    Returns:
        Index of the box `[n]` (0 without any) and label `[n]`.
    """
    overlap = jnp.where(labels[:, None] > 0, iou(boxes, candidates), -1)  # [m, n]
    index, highest = jnp.argmax(overlap, 0), jnp.max(overlap, 0)
    is_positive = highest >= positive
    if keep_best:
        best = jnp.max(overlap, 1, keepdims=True)
        is_positive |= jnp.any((overlap == best) & (best > 0), 0)
    background = jnp.where(highest < negative, 0, IGNORED)
    return index, jnp.where(is_positive, labels[index], background)


def sample(key: jax.Array, labels: jax.Array, count: int, positive_share: float) -> jax.Array:
    """A random choice among the positive and negative candidates of an image.

    At most `count`, of which at most `positive_share` are positive; fewer positives are made up by
    negatives. `[n]` labels -> `[n]`, True where chosen.
    """
    most = int(count * positive_share)
    chance = jax.random.uniform(key, labels.shape)
    positive, negative = labels > 0, labels == 0
    chosen = positive & (_rank(chance, positive) < most)
    return chosen | (negative & (_rank(chance, negative) < count - jnp.sum(chosen)))


def _rank(chance: jax.Array, among: jax.Array) -> jax.Array:
    """Place of every candidate in the order of `chance`, those `among` first."""
    order = jnp.argsort(jnp.where(among, chance, jnp.inf))
    return jnp.argsort(order)
