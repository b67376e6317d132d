"""Variables of a network without computing or compiling anything."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from msk_jax.models.network import variable_shapes


def filled(model, *shape: int, seed: int = 3) -> dict:
    """`params` and `batch_stats` for an input of this shape; kernels keep the size of signals."""
    empty = variable_shapes(model, jax.ShapeDtypeStruct(shape, jnp.float32))
    rng = np.random.default_rng(seed)

    def values(path, leaf):
        if path[-1].key in ("var", "scale"):
            return rng.uniform(0.5, 1.5, leaf.shape).astype(leaf.dtype)
        fan_in = math.prod(leaf.shape[:-1]) if len(leaf.shape) > 1 else 100
        return rng.normal(0, fan_in**-0.5, leaf.shape).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(values, empty)
