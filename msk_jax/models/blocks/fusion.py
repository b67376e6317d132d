"""Fusion of several sequences of one patient by attention, with any of them missing.

After Kim et al., Med Phys 2023;50(9):5528-5540, which names an attention within each sequence and
one between them; the formulas here are our choice.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from msk_jax.errors import UserError
from msk_jax.models.blocks.attention import MultiHeadAttention
from msk_jax.models.blocks.layers import Layers, full_precision


class SequenceFusion(nn.Module):
    """Maps of every sequence -> one vector.

    Within a sequence m, A_m = softmax over space of W2 tanh(W1 F_m) and f_m = sum A_m F_m; between
    them beta = softmax over m of v . tanh(W f_m + b), -inf where a sequence is missing, and
    f = sum beta_m f_m. With `num_heads` the sequences also attend to each other and the same
    weighted sum of the result follows f.

    `[batch, sequences, *spatial, channels]` and `present` `[batch, sequences]` (all of them by
    default) -> (f `[batch, channels]` or twice as many, endpoints `spatial_attention`
    `[batch, sequences, *spatial]` and `sequence_attention` `[batch, sequences]`). What stands in a
    missing sequence has no influence; of a patient with none at all f is zero.
    """

    hidden: int = 128
    num_heads: int = 0
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, maps: jax.Array, present: jax.Array | None = None):
        batch, sequences, *space, channels = maps.shape
        if present is None:
            present = jnp.ones((batch, sequences), bool)
        if present.shape != (batch, sequences):
            raise UserError(
                f"present must be [batch, sequences] = {(batch, sequences)}; it is "
                f"{tuple(present.shape)}."
            )
        dense = self.layers.dense
        vectors, attention = [], []
        for m in range(sequences):
            pixels = maps[:, m].reshape(batch, -1, channels)
            pixels = jnp.where(present[:, m, None, None], pixels, 0)
            hidden = nn.tanh(dense(self.hidden, name=f"intra.{m}.0")(pixels))
            scores = dense(1, name=f"intra.{m}.2")(hidden)
            weight = nn.softmax(full_precision(scores), axis=1)  # [batch, pixels, 1]
            vectors.append(jnp.sum(weight * pixels, 1))
            attention.append(weight.reshape(batch, *space))
        vectors = jnp.stack(vectors, 1)  # [batch, sequences, channels]
        hidden = nn.tanh(dense(self.hidden, name="inter.0")(vectors))
        scores = full_precision(dense(1, use_bias=False, name="inter.2")(hidden))[..., 0]
        shares = _softmax_of(scores, present)
        parts = [vectors]
        if self.num_heads:
            # Missing ones are no keys; where all are, everyone is, and the shares are zero.
            key = present | ~jnp.any(present, 1, keepdims=True)
            mask = jnp.where(key, 0.0, -jnp.inf)[:, None, None, :]
            attend = MultiHeadAttention(self.num_heads, layers=self.layers, name="self_attn")
            parts.append(full_precision(attend(vectors.astype(maps.dtype), mask)))
        fused = [jnp.sum(shares[..., None] * part, 1) for part in parts]
        return jnp.concatenate(fused, -1), {
            "spatial_attention": jnp.stack(attention, 1),
            "sequence_attention": shares,
        }


def _softmax_of(scores: jax.Array, present: jax.Array) -> jax.Array:
    """Softmax over those present; zero for all where none is."""
    top = jnp.max(jnp.where(present, scores, -jnp.inf), -1, keepdims=True)
    top = jax.lax.stop_gradient(jnp.where(jnp.isfinite(top), top, 0))
    weight = jnp.where(present, jnp.exp(jnp.where(present, scores - top, 0)), 0)
    return weight / jnp.maximum(jnp.sum(weight, -1, keepdims=True), jnp.finfo(weight.dtype).tiny)
