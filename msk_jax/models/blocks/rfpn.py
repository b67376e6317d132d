"""Residual feature pyramid: an FPN (Lin et al., 2017) whose levels are refined residually.

The sacroiliitis paper gives only the name; the wiring here is our choice.
"""

import flax.linen as nn
import jax

from msk_jax.models.blocks.fpn import FPN


class ResidualFPN(FPN):
    """Maps from fine to coarse -> as many maps of `features` channels, same sizes.

    The merged maps P_i are those of the FPN; in place of its last convolution
    R_i = relu(P_i + bn(conv3x3(relu(bn(conv3x3(P_i)))))).
    """

    def _smooth(self, p: jax.Array, level: int) -> jax.Array:
        conv, norm, name = self.layers.conv, self.layers.norm, f"refine.{level}"
        kernel = (3,) * (p.ndim - 2)
        y = nn.relu(norm(name=f"{name}.bn1")(conv(self.features, kernel, name=f"{name}.conv1")(p)))
        y = norm(name=f"{name}.bn2")(conv(self.features, kernel, name=f"{name}.conv2")(y))
        return nn.relu(p + y)
