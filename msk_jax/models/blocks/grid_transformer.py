"""A transformer encoder over the cells of a grid.

Dosovitskiy et al., An Image is Worth 16x16 Words, 2021 (class token, learned positions, pre-norm);
here the tokens are the feature maps or patch features that another network gives.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from msk_jax.models.blocks.attention import TransformerLayer, narrow_normal
from msk_jax.models.blocks.layers import LayerNorm, Layers


class GridTransformer(nn.Module):
    """`[batch, *grid, channels]` -> (summary `[batch, channels]`, tokens of the cells).

    The tokens are `[batch, cells, channels]`, row by row. A class token is put before the cells,
    learned positions are added, and `depth` pre-norm layers and a last norm follow; the summary is
    the class token after them. Equal to `torch.nn.TransformerEncoder` of
    `torch.nn.TransformerEncoderLayer(..., norm_first=True)` with a last norm.
    """

    depth: int = 4
    num_heads: int = 8
    mlp_ratio: float = 4.0
    dropout: float = 0.1
    epsilon: float = 1e-6
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        batch, *_, channels = x.shape
        tokens = x.reshape(batch, -1, channels)
        summary = self.param("cls_token", nn.initializers.zeros, (1, 1, channels))
        summary = jnp.broadcast_to(summary, (batch, 1, channels)).astype(x.dtype)
        tokens = jnp.concatenate([summary, tokens], 1)
        place = self.param("pos_embedding", narrow_normal, (1, *tokens.shape[1:]))
        tokens = self.layers.dropout(self.dropout)(tokens + place.astype(x.dtype))
        for i in range(self.depth):
            tokens = TransformerLayer(
                self.num_heads,
                int(self.mlp_ratio * channels),
                dropout=self.dropout,
                attention_dropout=self.dropout,
                epsilon=self.epsilon,
                layers=self.layers,
                name=f"layers.{i}",
            )(tokens)
        tokens = LayerNorm(self.epsilon, name="norm")(tokens)
        return tokens[:, 0], tokens[:, 1:]
