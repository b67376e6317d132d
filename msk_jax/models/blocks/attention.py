"""Attention over tokens: multi-head attention, the two-layer perceptron, the transformer layer.

Vaswani et al., Attention Is All You Need, 2017; pre-norm order: Xiong et al., On Layer
Normalization in the Transformer Architecture, 2020.
"""

import dataclasses
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from msk_jax.errors import UserError
from msk_jax.models.blocks.layers import LayerNorm, Layers, full_precision

# The usual initialisation of a transformer's matrices, embeddings and bias tables.
narrow_normal = nn.initializers.truncated_normal(0.02)


def gelu(x: jax.Array) -> jax.Array:
    """The Gaussian error linear unit itself, x Phi(x), not its approximation by tanh."""
    return jax.nn.gelu(x, approximate=False)


@dataclasses.dataclass(frozen=True)
class LayerNames:
    """What a library calls the parts of a transformer layer."""

    attention: str
    """The attention module."""
    projections: tuple[str, str]
    """In it: the joint projection to queries, keys and values, and the output's."""
    mlp: tuple[str, str]
    """The perceptron's two matrices, as seen from the transformer layer."""


TORCH = LayerNames("self_attn", ("in_proj", "out_proj"), ("linear1", "linear2"))
TIMM = LayerNames("attn", ("qkv", "proj"), ("mlp.fc1", "mlp.fc2"))
MONAI = LayerNames("attn", ("qkv", "out_proj"), ("mlp.linear1", "mlp.linear2"))


class MultiHeadAttention(nn.Module):
    """Self-attention, softmax(q k^T / sqrt(d) + bias) v in every head.

    `[..., tokens, channels]` -> the same shape. One matrix makes queries, keys and values, in this
    order; within each, the channels of a head are neighbours. `bias` is added before the softmax
    and broadcasts to `[..., heads, tokens, tokens]` (query, key): a relative position bias, or a
    mask of -inf. The softmax is computed in float32 whatever the input's type.
    """

    num_heads: int
    dropout: float = 0.0  # of the attention weights
    use_qkv_bias: bool = True
    names: tuple[str, str] = TORCH.projections
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array, bias: jax.Array | None = None) -> jax.Array:
        *batch, tokens, channels = x.shape
        if channels % self.num_heads:
            raise UserError(
                f"{self.num_heads} heads cannot share {channels} channels equally; the number of "
                "channels must be a multiple of num_heads."
            )
        qkv = self._project(x).reshape(*batch, tokens, 3, self.num_heads, -1)
        # [3, ..., heads, tokens, channels of a head]
        query, key, value = jnp.moveaxis(qkv, (-3, -2), (0, -3))
        query = query * (channels // self.num_heads) ** -0.5
        accurate = jnp.promote_types(x.dtype, jnp.float32)
        scores = jnp.einsum("...qd,...kd->...qk", query, key, preferred_element_type=accurate)
        if bias is not None:
            scores = scores + full_precision(bias)
        weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
        weights = self.layers.dropout(self.dropout, name="attention_dropout")(weights)
        y = jnp.moveaxis(weights @ value, -3, -2).reshape(x.shape)
        return self.layers.dense(channels, kernel_init=narrow_normal, name=self.names[1])(y)

    def _project(self, x: jax.Array) -> jax.Array:
        """Queries, keys and values, `[..., tokens, 3 * channels]`."""
        channels, name = x.shape[-1], self.names[0]
        if name != TORCH.projections[0]:
            return self.layers.dense(
                3 * channels, use_bias=self.use_qkv_bias, kernel_init=narrow_normal, name=name
            )(x)
        # torch.nn.MultiheadAttention keeps these two itself, not in a module of theirs.
        kernel = self.param("in_proj_weight", narrow_normal, (3 * channels, channels))
        bias = self.param("in_proj_bias", nn.initializers.zeros, (3 * channels,))
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.layers.dtype)
        return x @ kernel.T + bias


class MLP(nn.Module):
    """Two matrices with an activation between: `[..., channels]` -> the same shape."""

    features: int  # between the two
    activation: Callable = gelu
    dropout: float = 0.0  # after the activation and at the end
    names: tuple[str, str] = TORCH.mlp
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        dense, dropout = self.layers.dense, self.layers.dropout
        first, second = self.names
        y = self.activation(dense(self.features, kernel_init=narrow_normal, name=first)(x))
        y = dropout(self.dropout, name=f"{first}.dropout")(y)
        y = dense(x.shape[-1], kernel_init=narrow_normal, name=second)(y)
        return dropout(self.dropout, name=f"{second}.dropout")(y)


class TransformerLayer(nn.Module):
    """One layer of a transformer's encoder: `[batch, tokens, channels]` -> the same shape.

    With `norm_first`, z = x + attention(norm(x)) and z + mlp(norm(z)); without, the norm follows
    each sum. Equal to `torch.nn.TransformerEncoderLayer` under the names `TORCH`, to timm's ViT
    block under `TIMM` and MONAI's transformer block under `MONAI`.
    """

    num_heads: int
    mlp_features: int
    norm_first: bool = True
    activation: Callable = gelu
    dropout: float = 0.0  # after the attention and in the perceptron
    attention_dropout: float = 0.0  # of the attention weights
    drop_path: float = 0.0
    epsilon: float = 1e-5  # of the norms
    use_qkv_bias: bool = True
    names: LayerNames = TORCH
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array, bias: jax.Array | None = None) -> jax.Array:
        layers, names = self.layers, self.names
        attention = MultiHeadAttention(
            self.num_heads,
            self.attention_dropout,
            self.use_qkv_bias,
            names.projections,
            layers,
            name=names.attention,
        )
        mlp = MLP(self.mlp_features, self.activation, self.dropout, names.mlp, layers)
        nn.share_scope(self, mlp)
        norm1 = LayerNorm(self.epsilon, name="norm1")
        norm2 = LayerNorm(self.epsilon, name="norm2")

        def attend(y: jax.Array) -> jax.Array:
            y = layers.dropout(self.dropout, name="dropout1")(attention(y, bias))
            return layers.drop_path(self.drop_path, name="drop_path1")(y)

        drop_path2 = layers.drop_path(self.drop_path, name="drop_path2")
        if self.norm_first:
            x = x + attend(norm1(x))
            return x + drop_path2(mlp(norm2(x)))
        x = norm1(x + attend(x))
        return norm2(x + drop_path2(mlp(x)))
