"""Boxes: overlap, coding, clipping, and non-maximum suppression in static shapes.

A box is (x1, y1, x2, y2) in pixels of the input image; arrays of boxes are `[..., 4]`.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

# A side is never decoded to more than this many times the anchor's.
_LARGEST_GROWTH = math.log(1000 / 16)


def area(boxes: jax.Array) -> jax.Array:
    """`[..., 4]` -> `[...]`."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def iou(first: jax.Array, second: jax.Array) -> jax.Array:
    """Intersection over union, `[n, 4]` and `[m, 4]` -> `[n, m]`; 0 where both are empty."""
    low = jnp.maximum(first[:, None, :2], second[None, :, :2])
    high = jnp.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = jnp.maximum(high - low, 0)
    both = sides[..., 0] * sides[..., 1]
    union = area(first)[:, None] + area(second)[None, :] - both
    return jnp.where(union > 0, both / jnp.where(union > 0, union, 1), 0)


def _centres_and_sides(boxes: jax.Array) -> tuple[jax.Array, jax.Array]:
    sides = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * sides, sides


def encode(boxes: jax.Array, anchors: jax.Array, weights: tuple[float, ...] = (1.0,) * 4):
    """Offsets of boxes from anchors: weights times (dx / w, dy / h, log w / w, log h / h).

    `[..., 4]` each -> `[..., 4]`; not finite where a side is zero.
    """
    centre, sides = _centres_and_sides(boxes)
    anchor_centre, anchor_sides = _centres_and_sides(anchors)
    shift = (centre - anchor_centre) / anchor_sides
    return jnp.concatenate([shift, jnp.log(sides / anchor_sides)], -1) * np.asarray(
        weights, shift.dtype
    )


def decode(deltas: jax.Array, anchors: jax.Array, weights: tuple[float, ...] = (1.0,) * 4):
    """The inverse of `encode`; growth is limited to a factor of 1000 / 16."""
    deltas = deltas / np.asarray(weights, deltas.dtype)
    anchor_centre, anchor_sides = _centres_and_sides(anchors)
    centre = deltas[..., :2] * anchor_sides + anchor_centre
    half = 0.5 * jnp.exp(jnp.minimum(deltas[..., 2:], _LARGEST_GROWTH)) * anchor_sides
    return jnp.concatenate([centre - half, centre + half], -1)


def clip(boxes: jax.Array, size: jax.Array) -> jax.Array:
    """Boxes within an image of (height, width) `size`."""
    height, width = size
    limit = jnp.stack([width, height, width, height]).astype(boxes.dtype)
    return jnp.clip(boxes, 0, limit)


def at_least(boxes: jax.Array, side: float) -> jax.Array:
    """Which boxes have both sides at least so long, `[...]`."""
    return jnp.all(boxes[..., 2:] - boxes[..., :2] >= side, -1)


def nms(
    boxes: jax.Array,
    scores: jax.Array,
    there: jax.Array,
    threshold: float,
    groups: jax.Array | None = None,
) -> jax.Array:
    """Greedy non-maximum suppression: which boxes stay, `[n]`.

    From the highest score down, a box stays unless one that stayed overlaps it by more than
    `threshold`; only within a group, if groups are given. The greedy answer is the one fixed point
    of "stays = no better one that stays overlaps", so all boxes are judged at once until nothing
    changes, which takes as many rounds as the longest chain of overlaps and not n.

    Args:
        boxes: `[n, 4]`.
        scores: `[n]`.
        there: `[n]`, False for padding, which neither stays nor suppresses.
        threshold: of the intersection over union.
        groups: `[n]`, whole numbers: classes or pyramid levels.
    """
    order = jnp.argsort(jnp.where(there, -scores, jnp.inf))
    ranked, valid = boxes[order], there[order]
    overlap = iou(ranked, ranked) > threshold
    if groups is not None:
        overlap &= groups[order][:, None] == groups[order][None, :]
    better = jnp.tril(jnp.ones_like(overlap), -1)  # [i, j]: j comes before i
    suppressors = overlap & better & valid[None, :]

    def judged(stays: jax.Array) -> jax.Array:
        return valid & ~jnp.any(suppressors & stays[None, :], 1)

    def unsettled(state) -> jax.Array:
        stays, before = state
        return jnp.any(stays != before)

    first = judged(valid)
    stays, _ = lax.while_loop(unsettled, lambda s: (judged(s[0]), s[0]), (first, valid))
    return jnp.zeros_like(there).at[order].set(stays)


def best(scores: jax.Array, there: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """The places of the `count` highest scores, and which of those are there at all.

    `[n]` each -> `[count]` each, sorted from the highest down.
    """
    missing = max(0, count - len(scores))
    ranked = jnp.pad(jnp.where(there, scores, -jnp.inf), (0, missing), constant_values=-jnp.inf)
    chosen = lax.top_k(ranked, count)[1]
    return jnp.minimum(chosen, len(scores) - 1), jnp.pad(there, (0, missing))[chosen]
