"""Convolutional autoencoders: a picture through a narrow code and back.

Masci et al., Stacked Convolutional Auto-Encoders for Hierarchical Feature Extraction, 2011; the
layers are MONAI's (strided convolutions, instance norm, parametric rectifiers).
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from msk_jax.models.blocks.channel_attention import CBAM
from msk_jax.models.blocks.layers import InstanceNorm, Layers, full_precision
from msk_jax.models.blocks.pooling import global_mean
from msk_jax.models.listing import facts_of
from msk_jax.models.network import Architecture, Network
from msk_jax.models.zoo.unet import ConvNorm


class PReLU(nn.Module):
    """A rectifier whose negative slope is learned (He et al., 2015)."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        slope = self.param("scale", nn.initializers.constant(0.25), (1,))
        return jnp.where(x >= 0, x, slope.astype(x.dtype) * x)


class Autoencoder(Network):
    """`[batch, *spatial, channels]` -> (the same picture again, endpoints).

    Every level halves the sides, which must be multiples of 2 ** levels; `num_classes` are the
    channels of the picture that comes back. Endpoints: `encoder1`..., `decoder1`... (all but the
    last), and `features`: the code, averaged over space, `[batch, widths[-1]]`.
    """

    num_classes: int = 1
    in_channels: int = 1
    widths: tuple[int, ...] = (16, 32, 64, 128)

    smallest: ClassVar[int] = 32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, dict[str, Any]]:
        levels, rank = len(self.widths), self.spatial_rank
        # The norm of the last level needs more than one pixel.
        self.check_input(x, 2 ** (levels + 1))
        self.check_divisible(x, 2**levels)
        layers, endpoints = self.layers(train), {}
        kernel, strides = (3,) * rank, (2,) * rank
        for level, width in enumerate(self.widths):
            name = f"encode.encode_{level}"
            x = layers.conv(width, kernel, strides, use_bias=True, name=f"{name}.conv")(x)
            x = PReLU(name=f"{name}.adn.A")(InstanceNorm(affine=False)(x))
            x = self.mark(endpoints, f"encoder{level + 1}", x)
        endpoints["features"] = global_mean(x)
        for level in range(levels):
            name, last = f"decode.decode_{level}.conv", level == levels - 1
            width = self.num_classes if last else self.widths[-2 - level]
            up = (Layers() if last else layers).conv_transpose(
                width, kernel, strides, padding=1, output_padding=1, name=f"{name}.conv"
            )
            x = up(full_precision(x) if last else x)
            if not last:
                x = PReLU(name=f"{name}.adn.A")(InstanceNorm(affine=False)(x))
                x = self.mark(endpoints, f"decoder{level + 1}", x)
        return x, endpoints


class Autoencoder3D(Autoencoder):
    """The same for volumes, `[batch, depth, height, width, channels]`."""

    spatial_rank: ClassVar[int] = 3


class AttentionAutoencoder(Network):
    """Volumes reduced under the guidance of attention, and classified by what remains.

    After the femoral-head network of Zhu et al., Curr Med Imaging 2020;16(10):1323-1331, whose
    reduction is only named there; the wiring is our choice. Levels of two convolutions, CBAM and a
    strided convolution; the mean over space and an attention pool sum a_v f_v with
    a = softmax(w . tanh(V f_v)) make the code, tanh of `code_size` numbers, of which a learned
    gate in 0..1 keeps some (its L1 norm belongs in the loss). The decoder mirrors the encoder.

    `[batch, depth, height, width, channels]` -> (logits `[batch, classes]`, endpoints): `encoder1`
    to `encoder4`, `attention` (over the last map), `code`, `gate`, `features` (code times gate) and
    `reconstruction`, as large as the input. A network belongs to one input size.
    """

    num_classes: int = 2
    in_channels: int = 1
    widths: tuple[int, ...] = (16, 32, 64, 128)
    code_size: int = 128

    spatial_rank: ClassVar[int] = 3
    smallest: ClassVar[int] = 16

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, dict[str, Any]]:
        levels, layers, channels = len(self.widths), self.layers(train), x.shape[-1]
        self.check_input(x, 2**levels)
        self.check_divisible(x, 2**levels)
        endpoints = {}
        for level, width in enumerate(self.widths):
            name = f"encoder.{level}"
            x = self._convs(x, width, name, layers)
            x = CBAM(layers=layers, name=f"{name}.attention")(x)
            x = self._norm_conv(x, width, f"{name}.down", layers, 2)
            x = self.mark(endpoints, f"encoder{level + 1}", x)
        endpoints["attention"], pooled = self._pool(x, layers)
        code = endpoints["code"] = nn.tanh(nn.Dense(self.code_size, name="reduce")(pooled))
        gate = self.param("gate", nn.initializers.constant(2.0), (self.code_size,))
        gate = endpoints["gate"] = nn.sigmoid(gate)
        kept = endpoints["features"] = code * gate
        size = x.shape[1:]
        x = layers.dense(x[0].size, name="expand")(kept).reshape(-1, *size)
        for level, width in enumerate(reversed(self.widths)):
            name, two = f"decoder.{level}", (2,) * self.spatial_rank
            x = layers.conv_transpose(width, two, two, name=f"{name}.up")(x)
            x = self._convs(x, width, name, layers)
        last = Layers().conv(channels, (1,) * self.spatial_rank, use_bias=True, name="restore")
        endpoints["reconstruction"] = last(full_precision(x))
        return nn.Dense(self.num_classes, name="fc")(kept), endpoints

    def _norm_conv(self, x: jax.Array, width: int, name: str, layers: Layers, stride: int = 1):
        strides = (stride,) * self.spatial_rank
        return ConvNorm(width, strides, norm="batch", layers=layers, name=name)(x)

    def _convs(self, x: jax.Array, width: int, name: str, layers: Layers) -> jax.Array:
        x = self._norm_conv(x, width, f"{name}.conv1", layers)
        return self._norm_conv(x, width, f"{name}.conv2", layers)

    def _pool(self, x: jax.Array, layers: Layers) -> tuple[jax.Array, jax.Array]:
        """Attention `[batch, *spatial]`, and mean and attended vector side by side."""
        hidden = nn.tanh(layers.dense(self.code_size, name="pool.0")(x))
        scores = full_precision(layers.dense(1, use_bias=False, name="pool.2")(hidden))[..., 0]
        space = tuple(range(1, x.ndim - 1))
        attention = nn.softmax(scores, axis=space)
        attended = jnp.sum(attention[..., None] * full_precision(x), space)
        return attention, jnp.concatenate([global_mean(x), attended], -1)


_WIDTHS = Autoencoder.widths

MODELS = {
    name: Architecture(
        network,
        {},
        **facts_of(name),
        reference_settings={
            "spatial_dims": network.spatial_rank,
            "in_channels": 1,
            "out_channels": 1,
            "channels": _WIDTHS,
            "strides": (2,) * len(_WIDTHS),
        },
        endpoints={f"encoder{i + 1}": f"encode.encode_{i}" for i in range(len(_WIDTHS))}
        | {f"decoder{i + 1}": f"decode.decode_{i}" for i in range(len(_WIDTHS) - 1)},
        head=(f"decode.decode_{len(_WIDTHS) - 1}.conv.conv",),
        stem="encode.encode_0.conv",
        small=small,
    )
    for name, network, small in (
        ("autoencoder", Autoencoder, (32, 64)),
        ("autoencoder_3d", Autoencoder3D, (32, 32, 32)),
    )
}
