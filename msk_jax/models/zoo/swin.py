"""Swin transformer.

Liu et al., Swin Transformer: Hierarchical Vision Transformer using Shifted Windows, 2021.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from msk_jax.models.blocks.attention import MLP, TIMM, MultiHeadAttention, narrow_normal
from msk_jax.models.blocks.layers import LayerNorm, Layers, full_precision
from msk_jax.models.blocks.pooling import global_mean
from msk_jax.models.listing import facts_of
from msk_jax.models.network import Architecture, Network

# What two tokens of a window get that are no neighbours in the image.
APART = -100.0


class WindowAttention(nn.Module):
    """Self-attention within square windows: `[batch, height, width, channels]` -> the same shape.

    A map that is no multiple of the window is padded with zeros below and on the right. With
    `shift`, the windows are moved by it, what leaves on one side comes in on the other, and a mask
    keeps apart what the image keeps apart; an axis that a single window covers is not shifted. The
    bias of two tokens depends on where one lies seen from the other, one table for all windows.
    """

    num_heads: int
    window: int = 7
    shift: int = 0
    dropout: float = 0.0
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        height, width = x.shape[1:3]
        pads = [-size % self.window for size in (height, width)]
        x = jnp.pad(x, ((0, 0), *((0, pad) for pad in pads), (0, 0)))
        size = x.shape[1:3]
        shifts = [self.shift if side > self.window else 0 for side in size]
        if any(shifts):
            x = jnp.roll(x, [-shift for shift in shifts], (1, 2))
        table = self.param(
            "relative_position_bias_table",
            narrow_normal,
            ((2 * self.window - 1) ** 2, self.num_heads),
        )
        bias = jnp.moveaxis(table[relative_positions(self.window)], -1, 0)
        if any(shifts):
            bias = bias + shift_mask(size, self.window, shifts)[:, None]
        attention = MultiHeadAttention(
            self.num_heads, self.dropout, names=TIMM.projections, layers=self.layers
        )
        nn.share_scope(self, attention)
        x = join_windows(attention(split_windows(x, self.window), bias), size)
        if any(shifts):
            x = jnp.roll(x, shifts, (1, 2))
        return x[:, :height, :width]


def split_windows(x: jax.Array, window: int) -> jax.Array:
    """`[batch, height, width, channels]` -> `[batch, windows, window * window, channels]`."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // window, window, width // window, window, channels)
    return x.swapaxes(2, 3).reshape(batch, -1, window * window, channels)


def join_windows(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """The map of `size` whose windows are `x`; the inverse of `split_windows`."""
    batch, _, tokens, channels = x.shape
    window, (height, width) = math.isqrt(tokens), size
    x = x.reshape(batch, height // window, width // window, window, window, channels)
    return x.swapaxes(2, 3).reshape(batch, height, width, channels)


def relative_positions(window: int) -> np.ndarray:
    """Row of the bias table for every two tokens of a window, `[tokens, tokens]`."""
    row, column = np.divmod(np.arange(window * window), window)
    rows = row[:, None] - row[None, :] + window - 1
    columns = column[:, None] - column[None, :] + window - 1
    return rows * (2 * window - 1) + columns


def shift_mask(size: tuple[int, int], window: int, shifts: list[int]) -> np.ndarray:
    """0 for two tokens of a shifted window that are neighbours in the image, else `APART`.

    Returns:
        `[windows, tokens, tokens]`.
    """
    # Only the last window of an axis holds what came round from the other side.
    came_round = [np.arange(n) >= n - shift for n, shift in zip(size, shifts, strict=True)]
    part = 2 * came_round[0][:, None] + came_round[1][None, :]
    part = part.reshape(size[0] // window, window, size[1] // window, window)
    part = part.swapaxes(1, 2).reshape(-1, window * window)
    return np.where(part[:, :, None] == part[:, None, :], 0.0, APART).astype(np.float32)


class SwinBlock(nn.Module):
    """Window attention and perceptron, each behind a norm and beside a shortcut."""

    num_heads: int
    shift: int
    window: int = 7
    dropout: float = 0.0
    drop_path: float = 0.0
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        layers = self.layers
        attention = WindowAttention(
            self.num_heads, self.window, self.shift, self.dropout, layers, name="attn"
        )
        y = layers.dropout(self.dropout)(attention(LayerNorm(name="norm1")(x)))
        x = x + layers.drop_path(self.drop_path)(y)
        mlp = MLP(
            4 * x.shape[-1], dropout=self.dropout, names=("0", "3"), layers=layers, name="mlp"
        )
        return x + layers.drop_path(self.drop_path)(mlp(LayerNorm(name="norm2")(x)))


class PatchMerging(nn.Module):
    """Two by two tokens become one of twice the channels; an odd side gets a row of zeros."""

    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        _, height, width, channels = x.shape
        x = jnp.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
        four = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        x = LayerNorm(name="norm")(jnp.concatenate(four, -1))
        dense = self.layers.dense(
            2 * channels, use_bias=False, kernel_init=narrow_normal, name="reduction"
        )
        return dense(x)


class Swin(Network):
    """A Swin transformer: `[batch, height, width, channels]` -> (logits, endpoints).

    Endpoints: `stage1` to `stage4` (stride 4, 8, 16, 32), `features`. Any size from 4 pixels; of a
    side that is no multiple of 4 the rest is not seen.
    """

    width: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7
    dropout: float = 0.0
    drop_path: float = 0.2

    smallest: ClassVar[int] = 4

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, dict[str, Any]]:
        self.check_input(x)
        self.check_stages("depths", "num_heads")
        layers = self.layers(train)
        init = nn.initializers.lecun_normal()
        embed = layers.conv(
            self.width,
            (4, 4),
            (4, 4),
            padding=0,
            use_bias=True,
            kernel_init=init,
            name="features.0.0",
        )
        x = LayerNorm(name="features.0.2")(embed(x))
        endpoints, block = {}, 0
        for stage, (depth, heads) in enumerate(zip(self.depths, self.num_heads, strict=True)):
            if stage > 0:
                x = PatchMerging(layers, name=f"features.{2 * stage}")(x)
            for i in range(depth):
                x = SwinBlock(
                    heads,
                    shift=0 if i % 2 == 0 else self.window // 2,
                    window=self.window,
                    dropout=self.dropout,
                    drop_path=self.drop_path * block / max(sum(self.depths) - 1, 1),
                    layers=layers,
                    name=f"features.{2 * stage + 1}.{i}",
                )(x)
                block += 1
            x = self.mark(endpoints, f"stage{stage + 1}", x)
        features = global_mean(LayerNorm(name="norm")(full_precision(x)))
        endpoints["features"] = features
        head = nn.Dense(self.num_classes, kernel_init=narrow_normal, name="head")
        return head(features), endpoints


def index_tables(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What torchvision's state dict has beside every table of biases: `relative_positions`."""
    table = "relative_position_bias_table"
    return {
        name.replace(table, "relative_position_index"): relative_positions(
            (math.isqrt(len(biases)) + 1) // 2
        ).ravel()
        for name, biases in state.items()
        if name.endswith(table)
    }


TIMM_NAMES = (
    ("patch_embed.proj", "features.0.0"),
    ("patch_embed.norm", "features.0.2"),
    *(
        pair
        for stage in range(4)
        for pair in (
            (f"layers.{stage}.blocks.{{i}}.mlp.fc1", f"features.{2 * stage + 1}.{{i}}.mlp.0"),
            (f"layers.{stage}.blocks.{{i}}.mlp.fc2", f"features.{2 * stage + 1}.{{i}}.mlp.3"),
            (f"layers.{stage}.blocks", f"features.{2 * stage + 1}"),
            (f"layers.{stage}.downsample", f"features.{2 * stage}"),
        )
    ),
    ("head.fc", "head"),
)

# width, depths, heads, stochastic depth
VARIANTS = {
    "swin_t": (96, (2, 2, 6, 2), (3, 6, 12, 24), 0.2),
    "swin_s": (96, (2, 2, 18, 2), (3, 6, 12, 24), 0.3),
    "swin_b": (128, (2, 2, 18, 2), (4, 8, 16, 32), 0.5),
}

MODELS = {
    name: Architecture(
        Swin,
        {"width": width, "depths": depths, "num_heads": heads, "drop_path": drop_path},
        **facts_of(name),
        endpoints={f"stage{i}": f"features.{2 * i - 1}" for i in (1, 2, 3, 4)}
        | {"features": "flatten"},
        channels_last=("stage1", "stage2", "stage3", "stage4"),
        head=("head",),
        stem="features.0.0",
        # rows that need a shift and columns that do not, in the second stage
        small=(64, 48),
        odd=(75, 61),
        namings={"timm": TIMM_NAMES},
        index_tables=index_tables,
    )
    for name, (width, depths, heads, drop_path) in VARIANTS.items()
}
