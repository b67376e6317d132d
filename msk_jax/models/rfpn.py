"""Residual feature pyramid: an FPN (Lin et al., 2017) whose levels are refined residually.

The sacroiliitis paper gives only the name; the wiring here is our choice.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax

from msk_jax.models.layers import Layers, upsample_nearest


class ResidualFPN(nn.Module):
    """Maps from fine to coarse -> as many maps of `features` channels, same sizes.

    P_top = lateral(C_top); P_i = lateral(C_i) + up(P_{i+1});
    R_i = relu(P_i + bn(conv3x3(relu(bn(conv3x3(P_i)))))).
    """

    features: int = 256
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, maps: Sequence[jax.Array]) -> list[jax.Array]:
        merged = []
        for level in reversed(range(len(maps))):
            # No norm follows a lateral convolution, so it has a bias, as in torchvision's FPN.
            lateral = self.layers.conv(
                self.features, (1, 1), use_bias=True, name=f"inner_blocks.{level}.0"
            )
            p = lateral(maps[level])
            if merged:
                p = p + upsample_nearest(merged[0], p.shape[1:3])
            merged.insert(0, p)
        return [self._refine(p, level) for level, p in enumerate(merged)]

    def _refine(self, p: jax.Array, level: int) -> jax.Array:
        y = self.layers.conv(self.features, (3, 3), name=f"refine.{level}.conv1")(p)
        y = nn.relu(self.layers.norm(name=f"refine.{level}.bn1")(y))
        y = self.layers.conv(self.features, (3, 3), name=f"refine.{level}.conv2")(y)
        y = self.layers.norm(name=f"refine.{level}.bn2")(y)
        return nn.relu(p + y)
