"""Vision transformer.

Dosovitskiy et al., An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale,
2021; ViT-S is from Touvron et al., Training Data-Efficient Image Transformers, 2021.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from msk_jax.errors import UserError
from msk_jax.models.blocks.attention import TIMM, TransformerLayer, narrow_normal
from msk_jax.models.blocks.layers import LayerNorm, full_precision
from msk_jax.models.listing import facts_of
from msk_jax.models.network import Architecture, Network

EPSILON = 1e-6


class ViT(Network):
    """A vision transformer with a class token: `[batch, height, width, channels]` -> (logits,
    endpoints).

    The position embedding is made for the size at which the network is initialised; weights of
    another size are brought to it by `fit_to_size`. Endpoints: `stage1` to `stage4`, after every
    quarter of the layers, `[batch, 1 + patches, channels]` with the class token first and the
    patches row by row (the logits do not depend on the patches of `stage4`, for a map of what was
    seen take `stage3`); `features`, the class token after the last norm. `dropout` acts where the
    paper has it: after the embedding, after the attention, and twice in every perceptron.
    """

    patch: int = 16
    width: int = 768
    depth: int = 12
    num_heads: int = 12
    dropout: float = 0.0
    drop_path: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, dict[str, Any]]:
        self.check_input(x)
        self.check_divisible(x, (self.patch, self.patch))
        layers = self.layers(train)
        x = self._embed(x, layers)
        endpoints, stages = {}, {self.depth * i // 4: f"stage{i}" for i in (1, 2, 3, 4)}
        for i in range(self.depth):
            x = TransformerLayer(
                self.num_heads,
                4 * self.width,
                dropout=self.dropout,
                drop_path=self.drop_path * i / max(self.depth - 1, 1),
                epsilon=EPSILON,
                names=TIMM,
                layers=layers,
                name=f"blocks.{i}",
            )(x)
            if i + 1 in stages:
                stage = stages[i + 1]
                x = self.mark(endpoints, stage, x)
        features = LayerNorm(EPSILON, name="norm")(full_precision(x[:, 0]))
        endpoints["features"] = features
        head = nn.Dense(self.num_classes, kernel_init=narrow_normal, name="head")
        return head(features), endpoints

    def _embed(self, x: jax.Array, layers) -> jax.Array:
        """Tokens `[batch, 1 + patches, width]`, each with its place."""
        size = " x ".join(map(str, x.shape[1:3]))
        square = (self.patch, self.patch)
        init = nn.initializers.lecun_normal()
        x = layers.conv(
            self.width,
            square,
            square,
            padding=0,
            use_bias=True,
            kernel_init=init,
            name="patch_embed.proj",
        )(x)
        x = x.reshape(x.shape[0], -1, self.width)
        shape = (1, 1 + x.shape[1], self.width)
        if self.has_variable("params", "pos_embed"):
            made_for = self.get_variable("params", "pos_embed").shape[1]
            if made_for != shape[1]:
                raise UserError(
                    f"This ViT has position embeddings for {made_for - 1} patches; the input of "
                    f"{size} has {shape[1] - 1}. Initialise it for this size and fit "
                    "the weights with fit_to_size."
                )
        token = self.param("cls_token", nn.initializers.normal(1e-6), (1, 1, self.width))
        place = self.param("pos_embed", narrow_normal, shape)
        token = jnp.broadcast_to(token.astype(x.dtype), (x.shape[0], 1, self.width))
        x = jnp.concatenate([token, x], 1) + place.astype(x.dtype)
        return layers.dropout(self.dropout, name="pos_drop")(x)


def resample_position_embedding(
    embedding: np.ndarray, grid: tuple[int, int], old_grid: tuple[int, int] | None = None
) -> np.ndarray:
    """A position embedding for another number of patches; the class token's stays.

    Cubic with antialiasing, over the grid of patches.

    Args:
        embedding: `[1, 1 + rows * columns, channels]`.
        grid: rows and columns wanted.
        old_grid: rows and columns of `embedding`; a square if not said.

    Raises:
        UserError: `embedding` has another number of patches than `old_grid`.
    """
    patches, channels = embedding.shape[1] - 1, embedding.shape[2]
    old_grid = tuple(old_grid or (math.isqrt(patches),) * 2)
    if math.prod(old_grid) != patches:
        raise UserError(
            f"A position embedding of {patches} patches is not one of {old_grid[0]} x "
            f"{old_grid[1]}; give old_grid, the rows and columns that it was made for."
        )
    if tuple(grid) == old_grid:
        return embedding
    places = embedding[0, 1:].reshape(*old_grid, channels)
    places = np.asarray(jax.image.resize(places, (*grid, channels), "cubic", antialias=True))
    return np.concatenate([embedding[:, :1], places.reshape(1, -1, channels)], axis=1)


def fit_to_size(state: Mapping[str, np.ndarray], size: Sequence[int]) -> dict[str, np.ndarray]:
    """A state dict whose position embedding, made for square inputs, is that of another size.

    Args:
        state: in timm's or torchvision's names.
        size: height and width in pixels.
    """
    fitted = dict(state)
    for stem, place in (
        ("patch_embed.proj.weight", "pos_embed"),
        ("conv_proj.weight", "encoder.pos_embedding"),
    ):
        if np.ndim(state.get(stem)) == 4 and np.ndim(state.get(place)) == 3:
            patch = np.shape(state[stem])[-2:]
            grid = tuple(s // p for s, p in zip(size, patch, strict=True))
            fitted[place] = resample_position_embedding(np.asarray(state[place]), grid)
    return fitted


_LAYER = "encoder.layers.encoder_layer_{i}"
TORCHVISION = (
    ("class_token", "cls_token"),
    ("conv_proj", "patch_embed.proj"),
    ("encoder.pos_embedding", "pos_embed"),
    (f"{_LAYER}.ln_1", "blocks.{i}.norm1"),
    (f"{_LAYER}.self_attention.in_proj_weight", "blocks.{i}.attn.qkv.weight"),
    (f"{_LAYER}.self_attention.in_proj_bias", "blocks.{i}.attn.qkv.bias"),
    (f"{_LAYER}.self_attention.out_proj", "blocks.{i}.attn.proj"),
    (f"{_LAYER}.ln_2", "blocks.{i}.norm2"),
    (f"{_LAYER}.mlp.0", "blocks.{i}.mlp.fc1"),
    (f"{_LAYER}.mlp.3", "blocks.{i}.mlp.fc2"),
    # what torchvision's published files still say
    (f"{_LAYER}.mlp.linear_1", "blocks.{i}.mlp.fc1"),
    (f"{_LAYER}.mlp.linear_2", "blocks.{i}.mlp.fc2"),
    ("encoder.ln", "norm"),
    ("heads.head", "head"),
)

# width, heads, patch
VARIANTS = {
    "vit_small_patch16": (384, 6, 16),
    "vit_small_patch32": (384, 6, 32),
    "vit_base_patch16": (768, 12, 16),
    "vit_base_patch32": (768, 12, 32),
}

MODELS = {
    name: Architecture(
        ViT,
        {"patch": patch, "width": width, "num_heads": heads},
        **facts_of(name),
        size_setting="img_size",
        endpoints={f"stage{i}": f"blocks.{3 * i - 1}" for i in (1, 2, 3, 4)}
        | {"features": "fc_norm"},
        head=("head",),
        stem="patch_embed.proj",
        small=(2 * patch, 3 * patch),
        namings={"torchvision": TORCHVISION},
        fit=fit_to_size,
    )
    for name, (width, heads, patch) in VARIANTS.items()
}
