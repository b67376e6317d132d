"""MS-2.5D-Net: sacroiliitis from a stack of neighbouring CT slices.

Zhang L., Medical Research and Practice 2025;3(10), DOI 10.61369/MRP.2025100011: a first
convolution that takes the stack, ASPP in the encoder, a residual feature pyramid. The paper gives
neither backbone, widths, rates nor wiring; each is a field of `MS25DNetConfig`.
"""

from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from msk_jax.models.blocks.aspp import ASPP
from msk_jax.models.blocks.layers import Layers, endpoint
from msk_jax.models.blocks.pooling import global_mean
from msk_jax.models.blocks.rfpn import ResidualFPN
from msk_jax.models.systems.configs import MS25DNetConfig
from msk_jax.models.zoo.resnet import ResNetEncoder


class MS25DNet(nn.Module):
    """`[batch, height, width, slices]` -> (logits `[batch, classes]`, endpoints).

    Endpoints: `stage1`..`stage4`, `context` (after ASPP), `pyramid0` (finest)..`pyramid3`,
    `features`.
    """

    config: MS25DNetConfig
    axis_name: str | None = None
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False):
        c = self.config
        chex.assert_shape(x, (None, None, None, c.num_slices))
        layers = Layers(train, self.axis_name, self.dtype)

        encoder = ResNetEncoder(
            c.backbone, c.width, c.output_stride, c.volumetric, layers, name="encoder"
        )
        if c.volumetric:
            stages = encoder(jnp.moveaxis(x, -1, 1)[..., None])
            endpoints = {name: jnp.mean(value, 1) for name, value in stages.items()}
        else:
            endpoints = encoder(x)
        top = endpoints["stage4"]
        if c.aspp:
            top = ASPP(
                c.pyramid_features,
                c.aspp_rates,
                c.dropout,
                c.allow_degenerate,
                layers,
                name="aspp",
            )(top)
            top = endpoints["context"] = endpoint(self, "context", top)
        levels = [top]
        if c.rfpn:
            maps = [endpoints[f"stage{i}"] for i in (1, 2, 3)] + [top]
            levels = ResidualFPN(c.pyramid_features, layers, name="rfpn")(maps)
            levels = [endpoint(self, f"pyramid{i}", level) for i, level in enumerate(levels)]
            endpoints |= {f"pyramid{i}": level for i, level in enumerate(levels)}
        pooled = [global_mean(level) for level in levels]
        features = endpoints["features"] = jnp.concatenate(pooled, -1)
        logits = nn.Dense(c.num_classes, name="head")(layers.dropout(c.dropout)(features))
        return logits, endpoints
