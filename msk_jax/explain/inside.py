"""How much of a heat map lies on what a mask marks."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage


@dataclass(frozen=True)
class Inside:
    """One picture's heat map against its mask."""

    energy: float | None
    """Share of the map's sum that lies in the mask; None where the map is empty."""
    area: float
    """Share of the picture that the mask takes: what a map that knows nothing would have."""
    hit: bool
    """Whether the map's highest point lies in the mask, or no further from it than allowed (the
    pointing game of J. Zhang et al., 2016)."""


def inside(
    heat: np.ndarray, mask: np.ndarray, spacing_mm: tuple[float, float], tolerance_mm: float = 2.0
) -> Inside:
    """Energy of a map inside of a mask, and whether it points there.

    Args:
        heat: `[height, width]`, 0 or more.
        mask: bool `[height, width]`, somewhere true.
        spacing_mm: of columns and of rows.
        tolerance_mm: how far beside the mask still counts as a hit.

    Raises:
        ValueError: shapes that differ, or an empty mask.
    """
    heat, mask = np.asarray(heat, np.float64), np.asarray(mask, bool)
    if heat.shape != mask.shape:
        raise ValueError(f"The map has the shape {heat.shape}, the mask {mask.shape}.")
    if not mask.any():
        raise ValueError("The mask is empty.")
    total = heat.sum()
    distance = ndimage.distance_transform_edt(~mask, sampling=spacing_mm[::-1])
    highest = np.unravel_index(np.argmax(heat), heat.shape)
    return Inside(
        energy=float(heat[mask].sum() / total) if total > 0 else None,
        area=float(mask.mean()),
        hit=bool(total > 0 and distance[highest] <= tolerance_mm),
    )
