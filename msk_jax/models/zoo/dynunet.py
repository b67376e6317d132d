"""U-Net with the plan of nnU-Net: kernels, strides and widths of every level are settings.

Isensee et al.: nnU-Net: a self-configuring method for deep learning-based biomedical image
segmentation, 2021; with the residual blocks of Futrega et al.: Optimized U-Net for Brain Tumor
Segmentation, 2021.
"""

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from msk_jax.errors import UserError
from msk_jax.models.blocks.layers import Layers, full_precision, per_axis
from msk_jax.models.listing import facts_of
from msk_jax.models.network import Architecture, Network
from msk_jax.models.zoo.unet import norm_layer

Plan = tuple[int | tuple[int, ...], ...]
"""One entry per level, a number or one per axis."""


class DoubleConv(nn.Module):
    """Twice convolution, dropout, norm and leaky rectifier; the first convolution has the stride.

    With `residual` the input, projected and normed where its shape differs, is added before the
    last rectifier.
    """

    features: int
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    residual: bool = False
    norm: str = "instance"
    negative_slope: float = 0.01
    dropout: float = 0.0
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        one = (1,) * len(self.strides)
        y = self._conv_norm(x, 1, self.kernel_size, self.strides)
        y = nn.leaky_relu(y, self.negative_slope)
        y = self._conv_norm(y, 2, self.kernel_size, one)
        if self.residual:
            if x.shape[-1] != self.features or self.strides != one:
                x = self._conv_norm(x, 3, one, self.strides)
            y = y + x
        return nn.leaky_relu(y, self.negative_slope)

    def _conv_norm(self, x, number: int, kernel_size, strides) -> jax.Array:
        padding = [(k - s + 1) // 2 for k, s in zip(kernel_size, strides, strict=True)]
        name = f"conv{number}.conv"
        x = self.layers.conv(self.features, kernel_size, strides, padding=padding, name=name)(x)
        x = self.layers.dropout(self.dropout)(x)
        return norm_layer(self.norm, self.layers, name=f"norm{number}")(x)


class UpBlock(nn.Module):
    """The level below, enlarged by `strides`, beside the skip connection and through a block."""

    block: Callable[..., nn.Module]
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array, skip: jax.Array) -> jax.Array:
        features, strides = skip.shape[-1], self.strides
        name = "transp_conv.conv"
        up = self.layers.conv_transpose(features, strides, strides, use_bias=False, name=name)
        x = jnp.concatenate([up(x), skip], -1)
        return self.block(features, self.kernel_size, (1,) * len(strides), name="conv_block")(x)


class DynUNet(Network):
    """A U-Net by plan: `[batch, *spatial, channels]` -> (logits `[batch, *spatial, classes]`,
    endpoints).

    `kernel_size` and `strides` have an entry for every level, the stride of a level being that of
    its first convolution (so the first is 1) and the factor of its enlargement on the way back.
    `features` are the widths; empty for nnU-Net's, 32 doubling with every level up to `widest`.
    `deep_supervision` is how many levels below the first have a head of their own. Sizes must be
    multiples of the product of the strides.

    Endpoints: `encoder1` (full resolution) and on, `decoder1` and on, and the logits of the heads,
    each at the resolution of its level: `logits2` belongs to `decoder2`.
    """

    num_classes: int = 2
    in_channels: int = 1
    kernel_size: Plan = (3, 3, 3, 3, 3, 3, 3)
    strides: Plan = (1, 2, 2, 2, 2, 2, 2)
    features: tuple[int, ...] = ()
    widest: int = 512
    residual: bool = False
    deep_supervision: int = 4
    norm: str = "instance"
    negative_slope: float = 0.01
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, dict[str, Any]]:
        self.check_input(x)
        layers, endpoints, rank = self.layers(train), {}, self.spatial_rank
        kernels, strides, widths = self._plan()
        self.check_divisible(x, [math.prod(axis) for axis in zip(*strides, strict=True)])
        settings = {
            "norm": self.norm,
            "negative_slope": self.negative_slope,
            "dropout": self.dropout,
            "layers": layers,
        }
        levels, modules = len(strides), module_names(len(strides), self.deep_supervision)
        down = partial(DoubleConv, residual=self.residual, **settings)
        for level in range(1, levels + 1):
            name, plan = f"encoder{level}", (a[level - 1] for a in (widths, kernels, strides))
            x = self.mark(endpoints, name, down(*plan, name=modules[name])(x))
        for level in range(levels - 1, 0, -1):
            name, block = f"decoder{level}", partial(DoubleConv, **settings)
            # Level and the one below it: its kernel is the lower one's, as the reference's.
            up = UpBlock(block, kernels[level], strides[level], layers, name=modules[name])
            x = up(x, endpoints[f"encoder{level}"])
            x = self.mark(endpoints, name, x)
            if 2 <= level <= self.deep_supervision + 1:
                endpoints[f"logits{level}"] = self._head(x, modules[f"logits{level}"], rank)
        return self._head(x, "output_block", rank), endpoints

    def _head(self, x: jax.Array, name: str, rank: int) -> jax.Array:
        head = Layers().conv(self.num_classes, (1,) * rank, use_bias=True, name=f"{name}.conv.conv")
        return head(full_precision(x))

    def _plan(self) -> tuple[list, list, list]:
        """Kernels and strides with one number per axis, and widths, for every level."""
        levels, rank = len(self.strides), self.spatial_rank
        counts = {"kernel_size": len(self.kernel_size)}
        if self.features:
            counts["features"] = len(self.features)
        for name, count in counts.items():
            if count != levels or levels < 3:
                raise UserError(
                    "A plan has the same number of levels in kernel_size, strides and features, "
                    f"at least 3; got {levels} strides and {count} in {name}."
                )
        if not 0 <= self.deep_supervision <= levels - 2:
            raise UserError(
                f"Of {levels} levels the first has the logits and the last none; deep_supervision "
                f"is at most {levels - 2}, got {self.deep_supervision}."
            )
        widths = self.features or [min(32 * 2**i, self.widest) for i in range(levels)]
        kernels, strides = (
            [per_axis(entry, rank) for entry in plan] for plan in (self.kernel_size, self.strides)
        )
        for kernel, stride in zip(kernels, strides, strict=True):
            if not len(kernel) == len(stride) == rank or any(
                s > k + 1 for k, s in zip(kernel, stride, strict=True)
            ):
                raise UserError(
                    f"Kernel {kernel} with stride {stride} cannot be: each needs {rank} numbers, "
                    "and a stride is at most the kernel's size plus 1."
                )
        return kernels, strides, list(widths)


class DynUNet3D(DynUNet):
    """The same for volumes, `[batch, depth, height, width, channels]`, five levels by default."""

    kernel_size: Plan = (3, 3, 3, 3, 3)
    strides: Plan = (1, 2, 2, 2, 2)
    widest: int = 320
    deep_supervision: int = 2

    spatial_rank: ClassVar[int] = 3


def module_names(levels: int, heads: int) -> dict[str, str]:
    """Endpoint -> module."""
    return (
        {"encoder1": "input_block", f"encoder{levels}": "bottleneck"}
        | {f"encoder{i}": f"downsamples.{i - 2}" for i in range(2, levels)}
        | {f"decoder{i}": f"upsamples.{levels - 1 - i}" for i in range(1, levels)}
        | {f"logits{i + 2}": f"deep_supervision_heads.{i}" for i in range(heads)}
    )


def second_names(modules: dict[str, str]) -> Sequence[tuple[str, str]]:
    """The nest of skip layers that the reference keeps beside its lists: (second, first name)."""
    kinds = {"encoder": "downsample", "decoder": "upsample", "logits": "super_head"}
    pairs = []
    for endpoint, module in modules.items():
        kind, level = re.fullmatch(r"([a-z]+)(\d+)", endpoint).groups()
        nest = "skip_layers" + ".next_layer" * (int(level) - 1)
        pairs.append((nest if module == "bottleneck" else f"{nest}.{kinds[kind]}", module))
    return pairs


MODELS = {
    name: Architecture(
        network,
        {},
        **facts_of(name),
        reference_settings={
            "spatial_dims": network.spatial_rank,
            "in_channels": 1,
            "out_channels": 2,
            "kernel_size": network.kernel_size,
            "strides": network.strides,
            "upsample_kernel_size": network.strides[1:],
            "deep_supervision": True,
            "deep_supr_num": network.deep_supervision,
        },
        endpoints=modules,
        supervised=[name for name in modules if name.startswith("logits")],
        aliases=second_names(modules),
        head=[
            *(f"{m}.conv.conv" for m in modules.values() if m.startswith("deep_supervision")),
            "output_block.conv.conv",
        ],
        stem="input_block.conv1.conv",
        small=small,
        # An instance norm over the few pixels of the deepest levels magnifies the rounding of those
        # before, as in `unet`.
        tolerance=2e-5,
    )
    for name, network, small in (
        ("dynunet", DynUNet, (128, 192)),
        ("dynunet_3d", DynUNet3D, (32, 48, 32)),
    )
    for modules in [module_names(len(network.strides), network.deep_supervision)]
}
