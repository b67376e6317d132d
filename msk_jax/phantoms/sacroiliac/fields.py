"""Smooth random fields: how a joint's surface wavers and its bone is mottled."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter


@dataclass(frozen=True)
class SheetField:
    """A smooth random field of unit variance on the joint's sheet, 1 mm grid in (z, t)."""

    values: np.ndarray  # [121, 121] float32, z and t from -60 to 60 mm

    def profile(self, z: float) -> np.ndarray:
        """The field along t at height z, [121] float32."""
        position = min(max(z + 60.0, 0.0), 119.99)
        low = int(position)
        share = position - low
        return (1 - share) * self.values[low] + share * self.values[low + 1]


def draw_field(rng, corr_z: float, corr_t: float) -> SheetField:
    values = gaussian_filter(rng.standard_normal((121, 121)), (corr_z, corr_t), mode="wrap")
    return SheetField((values / values.std()).astype(np.float32))
