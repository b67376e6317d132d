"""Anchors: the boxes from which a detector measures."""

from collections.abc import Sequence

import numpy as np


def anchors_of(
    image: Sequence[int],
    maps: Sequence[Sequence[int]],
    sizes: Sequence[Sequence[int]] = ((32,), (64,), (128,), (256,), (512,)),
    ratios: Sequence[float] = (0.5, 1.0, 2.0),
) -> list[np.ndarray]:
    """Anchors of every level, row by row, `[height * width * anchors per place, 4]`, float32.

    Args:
        image: (height, width) of the input.
        maps: (height, width) of every level's map.
        sizes: sides in pixels of the square anchors of every level.
        ratios: height over width; a size keeps its area.

    Returns:
        Whole-number boxes around the corners of the map's cells; the step between them is the
        whole part of image / map, so a map that was rounded up has anchors closer together.
    """
    levels = []
    for (height, width), level_sizes in zip(maps, sizes, strict=True):
        tall = np.sqrt(np.asarray(ratios, np.float32))
        side = np.asarray(level_sizes, np.float32)
        widths = ((1 / tall)[:, None] * side).ravel()
        heights = (tall[:, None] * side).ravel()
        cell = np.round(np.stack([-widths, -heights, widths, heights], 1) / 2)
        y = np.arange(height, dtype=np.float32) * (image[0] // height)
        x = np.arange(width, dtype=np.float32) * (image[1] // width)
        y, x = np.meshgrid(y, x, indexing="ij")
        shift = np.stack([x, y, x, y], -1).reshape(-1, 1, 4)
        levels.append((shift + cell).reshape(-1, 4).astype(np.float32))
    return levels
