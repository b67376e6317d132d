"""RoIAlign over the levels of a pyramid.

He et al., Mask R-CNN, 2017; which level a box reads: Lin et al., Feature Pyramid Networks, 2017.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from msk_jax.models.blocks.layers import full_precision
from msk_jax.models.detection.boxes import area


def level_of(boxes: jax.Array, levels: int, finest: int = 2) -> jax.Array:
    """Index of the map that a box reads, `[..., 4]` -> `[...]`.

    A box of 224 x 224 pixels reads the map of stride 16 (level 4), one of half the side the next
    finer one. `finest` is the level of the first map: its stride is 2 ** finest.
    """
    side = jnp.sqrt(area(boxes))
    level = jnp.floor(4 + jnp.log2(jnp.where(side > 0, side, 1e-6) / 224) + 1e-6)
    return jnp.clip(level, finest, finest + levels - 1).astype(jnp.int32) - finest


def roi_align(
    maps: Sequence[jax.Array], boxes: jax.Array, size: int = 7, samples: int = 2, finest: int = 2
) -> jax.Array:
    """The part of the map that a box covers, resampled to `size` x `size`.

    Every bin is the mean of `samples` x `samples` bilinear samples; coordinates are not shifted by
    half a pixel and a box is at least a cell wide (torchvision's `aligned=False`).

    Args:
        maps: from fine to coarse, `[batch, height, width, channels]`, each half of the one before.
        boxes: `[batch, n, 4]` in pixels of the image.
        size: bins along each side.
        samples: along each side of a bin.
        finest: the first map's stride is 2 ** finest.

    Returns:
        `[batch, n, size, size, channels]`.
    """
    boxes = full_precision(boxes)
    level = level_of(boxes, len(maps), finest)
    heights, widths = (jnp.array([m.shape[axis] for m in maps]) for axis in (1, 2))
    starts = np.cumsum([0, *(m.shape[1] * m.shape[2] for m in maps)])[:-1]
    # One table of all pixels of all levels, so that every box reads only its own level.
    table = jnp.concatenate([m.reshape(m.shape[0], -1, m.shape[-1]) for m in maps], 1)
    scaled = boxes * jnp.exp2(-(level + finest).astype(boxes.dtype))[..., None]
    rows = _samples(scaled[..., 1], scaled[..., 3], heights[level], size, samples)
    columns = _samples(scaled[..., 0], scaled[..., 2], widths[level], size, samples)
    start, width = jnp.asarray(starts)[level], widths[level]
    total = 0
    for y, y_weight in rows:
        for x, x_weight in columns:
            # [batch, n, size * samples, size * samples]
            place = start[..., None, None] + y[..., :, None] * width[..., None, None]
            place = place + x[..., None, :]
            value = full_precision(jax.vmap(lambda t, p: t[p])(table, place))
            value = value * (y_weight[..., :, None] * x_weight[..., None, :])[..., None]
            value = value.reshape(*boxes.shape[:2], size, samples, size, samples, -1)
            total = total + jnp.sum(value, (3, 5))
    return (total / samples**2).astype(table.dtype)


def _samples(low, high, limit, size: int, samples: int):
    """Neighbouring pixels and their weights along one axis: two of `[batch, n, size * samples]`."""
    side = jnp.maximum(high - low, 1) / size
    offset = (np.arange(size)[:, None] + (np.arange(samples) + 0.5) / samples).ravel()
    place = jnp.maximum(low[..., None] + side[..., None] * offset.astype(low.dtype), 0)
    last = limit[..., None] - 1
    first = jnp.minimum(place.astype(jnp.int32), last)
    second = jnp.minimum(first + 1, last)
    share = jnp.clip(place - first, 0, 1)
    return (first, 1 - share), (second, share)
