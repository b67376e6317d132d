"""Attention U-Net in two and three dimensions.

Oktay et al.: Attention U-Net: Learning Where to Look for the Pancreas, 2018.
"""

import math
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from msk_jax.errors import UserError
from msk_jax.models.blocks.layers import InstanceNorm, Layers, full_precision, per_axis
from msk_jax.models.listing import facts_of
from msk_jax.models.network import Architecture, Network
from msk_jax.models.zoo.unet import ConvNorm


class AttentionGate(nn.Module):
    """alpha = sigmoid(psi(relu(W_x x + W_g g))): which pixels of the skip connection count.

    Takes the skip connection `x` and the gating signal `g`, both `[batch, *spatial, channels]`;
    returns alpha `[batch, *spatial, 1]`.
    """

    features: int
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array, g: jax.Array) -> jax.Array:
        def pointwise(y: jax.Array, features: int, name: str) -> jax.Array:
            one = (1,) * (y.ndim - 2)
            y = self.layers.conv(features, one, use_bias=True, name=f"{name}.0.conv")(y)
            return self.layers.norm(name=f"{name}.1")(y)

        y = nn.relu(pointwise(g, self.features, "W_g") + pointwise(x, self.features, "W_x"))
        return nn.sigmoid(pointwise(y, 1, "psi"))


class Merge(nn.Module):
    """Convolution, instance norm without parameters, dropout, rectifier with a learnt slope."""

    features: int
    dropout: float = 0.0
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = (3,) * (x.ndim - 2)
        x = self.layers.conv(self.features, kernel, use_bias=True, name="conv")(x)
        x = self.layers.dropout(self.dropout)(InstanceNorm(affine=False)(x))
        slope = self.param("adn.A.weight", nn.initializers.constant(0.25), (1,))
        return jnp.where(x >= 0, x, slope.astype(x.dtype) * x)


class AttentionUNet(Network):
    """An attention U-Net: `[batch, *spatial, channels]` -> (logits at full resolution, endpoints).

    `features` are the widths of the levels, `strides` those between them, each a number or one per
    axis; sizes must be multiples of their product. Endpoints: `encoder1` (full resolution) and
    on, `decoder1` and on, and the gates `attention1` and on, `[batch, *spatial, 1]`.
    """

    num_classes: int = 2
    in_channels: int = 1
    features: tuple[int, ...] = (64, 128, 256, 512, 1024)
    strides: tuple[int | tuple[int, ...], ...] = (2, 2, 2, 2)
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, dict[str, Any]]:
        self.check_input(x)
        if len(self.strides) != len(self.features) - 1 or not self.strides:
            raise UserError(
                f"{len(self.features)} levels (features) have {len(self.features) - 1} strides "
                f"between them, at least one; got {len(self.strides)}."
            )
        layers, endpoints, rank = self.layers(train), {}, self.spatial_rank
        strides = [per_axis(stride, rank) for stride in self.strides]
        self.check_divisible(x, [math.prod(axis) for axis in zip(*strides, strict=True)])
        names = module_names(len(self.features))
        for level, (width, stride) in enumerate(
            zip(self.features, [(1,) * rank, *strides], strict=True), start=1
        ):
            for i, step in enumerate((stride, (1,) * rank)):
                name = f"{names[f'encoder{level}']}.conv.{i}"
                settings = {"norm": "batch", "dropout": self.dropout, "layers": layers}
                x = ConvNorm(width, step, **settings, name=name)(x)
            x = self.mark(endpoints, f"encoder{level}", x)
        for level in reversed(range(1, len(self.features))):
            width, stride = self.features[level - 1], strides[level - 1]
            name, skip = names[f"decoder{level}"], endpoints[f"encoder{level}"]
            g = layers.conv_transpose(
                width,
                (3,) * rank,
                stride,
                padding=1,
                output_padding=[s - 1 for s in stride],
                name=f"{name}.upconv.up.conv",
            )(x)
            g = nn.relu(layers.norm(name=f"{name}.upconv.up.adn.N")(g))
            gate = AttentionGate(width // 2, layers, name=f"{name}.attention")(skip, g)
            gate = self.mark(endpoints, f"attention{level}", gate)
            x = jnp.concatenate([skip * gate, g], -1)
            x = Merge(width, self.dropout, layers, name=f"{name}.merge")(x)
            x = self.mark(endpoints, f"decoder{level}", x)
        head = Layers().conv(self.num_classes, (1,) * rank, use_bias=True, name="model.2.conv")
        return head(full_precision(x)), endpoints


class AttentionUNet3D(AttentionUNet):
    """The same for volumes, `[batch, depth, height, width, channels]`, a quarter as wide."""

    features: tuple[int, ...] = (16, 32, 64, 128, 256)

    spatial_rank: ClassVar[int] = 3


def module_names(levels: int) -> dict[str, str]:
    """Endpoint -> module: every level sits inside the one above it."""
    names, prefix = {"encoder1": "model.0"}, "model.1"
    for level in range(1, levels):
        names[f"decoder{level}"] = prefix
        names[f"attention{level}"] = f"{prefix}.attention.psi"
        last = level == levels - 1
        names[f"encoder{level + 1}"] = f"{prefix}.submodule" if last else f"{prefix}.submodule.0"
        prefix = f"{prefix}.submodule.1"
    return names


MODELS = {
    name: Architecture(
        network,
        {},
        **facts_of(name),
        reference_settings={
            "spatial_dims": network.spatial_rank,
            "in_channels": 1,
            "out_channels": 2,
            "channels": network.features,
            "strides": (2, 2, 2, 2),
        },
        endpoints=module_names(5),
        head=("model.2.conv",),
        stem="model.0.conv.0.conv",
        small=small,
    )
    for name, network, small in (
        ("attention_unet", AttentionUNet, (64, 80)),
        ("attention_unet_3d", AttentionUNet3D, (32, 48, 32)),
    )
}
