"""MS-2.5D-Net: sacroiliitis from a stack of neighbouring CT slices.

Zhang L., Medical Research and Practice 2025;3(10), DOI 10.61369/MRP.2025100011: a first
convolution that takes the stack, ASPP in the encoder, a residual feature pyramid. The paper gives
neither backbone, widths, rates nor wiring; each is a field of `MS25DNetConfig`.
"""

import dataclasses
from typing import Any, Literal

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from msk_jax.models.aspp import ASPP
from msk_jax.models.encoder_weights import load_encoder
from msk_jax.models.layers import Layers, endpoint
from msk_jax.models.pooling import global_mean
from msk_jax.models.resnet import ResNetEncoder
from msk_jax.models.rfpn import ResidualFPN


@dataclasses.dataclass(frozen=True)
class MS25DNetConfig:
    """What the network is made of. Only the five slices, ASPP and RFPN are published."""

    num_slices: int = 5
    """Neighbouring slices in a stack (published: 5)."""
    num_classes: int = 2
    """Classes of the softmax."""
    backbone: Literal["resnet10", "resnet18", "resnet34", "resnet50"] = "resnet34"
    """Encoder; not published."""
    width: int = 64
    """Channels of the encoder's first stage; 64 is a standard ResNet."""
    output_stride: int = 8
    """Input pixels per pixel of the encoder's last map; 8 keeps 16x16 of a 128x128 crop."""
    aspp: bool = True
    """Pool the last map at several dilation rates."""
    aspp_rates: tuple[int, ...] = (1, 2, 4, 6)
    """Dilation rates; not published. A rate above (map side - 1) / 2 is refused."""
    allow_degenerate: bool = False
    """Accept dilation rates that read only padding."""
    rfpn: bool = True
    """Fuse the stages with a residual feature pyramid."""
    pyramid_features: int = 256
    """Channels of ASPP and of the pyramid."""
    volumetric: bool = False
    """3-D ablation: 3-D convolutions over the slices instead of slices as channels."""
    dropout: float = 0.5
    """Dropout before the classifier and in ASPP."""

    load = staticmethod(load_encoder)

    @property
    def explained_endpoints(self) -> tuple[str, ...]:
        """The endpoints whose evidence Grad-CAM shows."""
        if self.rfpn:
            return ("pyramid0", "pyramid1")
        return ("context",) if self.aspp else ("stage4",)

    def build(self, axis_name: str | None = None, dtype: Any = None) -> "MS25DNet":
        """The network; `axis_name` synchronises batch norm over devices."""
        return MS25DNet(self, axis_name=axis_name, dtype=dtype)


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
                c.pyramid_features, c.aspp_rates, c.dropout, c.allow_degenerate,
                layers, name="aspp",
            )(top)  # fmt: skip
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
