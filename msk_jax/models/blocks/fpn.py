"""Feature pyramid network.

Lin et al., Feature Pyramid Networks for Object Detection, 2017.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax

from msk_jax.models.blocks.layers import Layers, upsample_nearest


class FPN(nn.Module):
    """Maps from fine to coarse -> as many maps of `features` channels, same sizes.

    P_top = lateral(C_top), P_i = lateral(C_i) + up(P_{i+1}), each smoothed by a 3x3 convolution.
    With `pool` one more map follows: every second pixel of the last, as a max-pool of one pixel.
    """

    features: int = 256
    layers: Layers = Layers()
    pool: bool = False

    @nn.compact
    def __call__(self, maps: Sequence[jax.Array]) -> list[jax.Array]:
        merged = []
        for level in reversed(range(len(maps))):
            lateral = (1,) * (maps[level].ndim - 2)
            # No norm follows a convolution of the pyramid, so it has a bias.
            p = self.layers.conv(
                self.features, lateral, use_bias=True, name=f"inner_blocks.{level}.0"
            )(maps[level])
            if merged:
                p = p + upsample_nearest(merged[0], p.shape[1:-1])
            merged.insert(0, p)
        pyramid = [self._smooth(p, level) for level, p in enumerate(merged)]
        if self.pool:
            rank = pyramid[-1].ndim - 2
            pyramid.append(pyramid[-1][:, *(slice(None, None, 2),) * rank])
        return pyramid

    def _smooth(self, p: jax.Array, level: int) -> jax.Array:
        kernel = (3,) * (p.ndim - 2)
        return self.layers.conv(
            self.features, kernel, use_bias=True, name=f"layer_blocks.{level}.0"
        )(p)
