"""U-Net in two and three dimensions.

Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation, 2015;
Cicek et al.: 3D U-Net: Learning Dense Volumetric Segmentation from Sparse Annotation, 2016; in the
form of Falk et al.: U-Net: deep learning for cell counting, detection, and morphometry, 2019,
with padded convolutions, norms and leaky rectifiers.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from msk_jax.errors import UserError
from msk_jax.models.blocks.layers import InstanceNorm, Layers, full_precision
from msk_jax.models.blocks.pooling import max_pool
from msk_jax.models.listing import facts_of
from msk_jax.models.network import Architecture, Network


def norm_layer(kind: str, layers: Layers, **settings) -> nn.Module:
    """The norm called `kind`: "instance", "plain_instance" (without scale and shift), "batch".

    Raises:
        UserError: another name.
    """
    if kind == "instance":
        return InstanceNorm(**settings)
    if kind == "plain_instance":
        return InstanceNorm(affine=False, **settings)
    if kind == "batch":
        return layers.norm(**settings)
    raise UserError(f"norm is {kind!r}; it must be 'instance', 'plain_instance' or 'batch'.")


class ConvNorm(nn.Module):
    """Convolution, norm, dropout, leaky rectifier (a slope of 0 is the plain one)."""

    features: int
    strides: tuple[int, ...]
    kernel_size: int = 3
    norm: str = "instance"
    negative_slope: float = 0.0
    dropout: float = 0.0
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = (self.kernel_size,) * len(self.strides)
        x = self.layers.conv(self.features, kernel, self.strides, use_bias=True, name="conv")(x)
        x = norm_layer(self.norm, self.layers, name="adn.N")(x)
        x = self.layers.dropout(self.dropout)(x)
        return nn.leaky_relu(x, self.negative_slope) if self.negative_slope else nn.relu(x)


class UNet(Network):
    """A U-Net: `[batch, *spatial, channels]` -> (logits `[batch, *spatial, classes]`, endpoints).

    `features` are the widths of the five levels and of the last decoder level. Endpoints:
    `encoder1` (full resolution) to `encoder5` (a sixteenth), `decoder4` to `decoder1`. An odd size
    is rounded down on the way down; on the way up its edge is repeated.
    """

    num_classes: int = 2
    in_channels: int = 1
    features: tuple[int, ...] = (64, 128, 256, 512, 1024, 128)
    norm: str = "instance"
    negative_slope: float = 0.1
    dropout: float = 0.0

    smallest: ClassVar[int] = 16

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, dict[str, Any]]:
        self.check_input(x)
        if len(self.features) != 6:
            raise UserError(
                "features are the widths of five levels and of the last decoder level, six "
                f"numbers; got {len(self.features)}: {tuple(self.features)}."
            )
        layers, endpoints, rank = self.layers(train), {}, self.spatial_rank

        def convs(features: int, name: str, x: jax.Array) -> jax.Array:
            for i in (0, 1):
                x = ConvNorm(
                    features,
                    (1,) * rank,
                    3,
                    self.norm,
                    self.negative_slope,
                    self.dropout,
                    layers,
                    name=f"{name}.conv_{i}",
                )(x)
            return x

        *widths, last = self.features
        for level, width in enumerate(widths):
            x = max_pool(x, 2, 2) if level else x
            x = convs(width, f"down_{level}.convs" if level else "conv_0", x)
            x = self.mark(endpoints, f"encoder{level + 1}", x)
        for level in (4, 3, 2, 1):
            skip = endpoints[f"encoder{level}"]
            up = x.shape[-1] // 2 if level > 1 else x.shape[-1]
            name = f"upcat_{level}.upsample.deconv"
            x = layers.conv_transpose(up, (2,) * rank, (2,) * rank, name=name)(x)
            x = jnp.concatenate([skip, _repeat_edge(x, skip.shape)], -1)
            x = convs(widths[level - 1] if level > 1 else last, f"upcat_{level}.convs", x)
            x = self.mark(endpoints, f"decoder{level}", x)
        head = Layers().conv(self.num_classes, (1,) * rank, use_bias=True, name="final_conv")
        return head(full_precision(x)), endpoints


class UNet3D(UNet):
    """The same for volumes, `[batch, depth, height, width, channels]`, half as wide or less."""

    features: tuple[int, ...] = (32, 32, 64, 128, 256, 32)

    spatial_rank: ClassVar[int] = 3


def _repeat_edge(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """`x` with its last pixels repeated up to the spatial size of `shape`."""
    missing = [(0, n - m) for n, m in zip(shape[1:-1], x.shape[1:-1], strict=True)]
    return jnp.pad(x, ((0, 0), *missing, (0, 0)), mode="edge")


MODELS = {
    name: Architecture(
        network,
        {},
        **facts_of(name),
        reference_settings={"spatial_dims": network.spatial_rank, "features": network.features},
        endpoints={"encoder1": "conv_0"}
        | {f"encoder{i + 1}": f"down_{i}" for i in (1, 2, 3, 4)}
        | {f"decoder{i}": f"upcat_{i}" for i in (4, 3, 2, 1)},
        head=("final_conv",),
        stem="conv_0.conv_0.conv",
        small=small,
        odd=odd,
        # An instance norm over the dozen pixels of level 5 magnifies the rounding of the four
        # levels before; in double precision the two agree to 1e-13.
        tolerance=2e-5,
    )
    for name, network, small, odd in (
        ("unet", UNet, (64, 80), (77, 61)),
        ("unet_3d", UNet3D, (32, 48, 32), (37, 51, 45)),
    )
}
