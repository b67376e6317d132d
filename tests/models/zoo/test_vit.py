"""The vision transformer: its patches, its places, and what it refuses."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msk_jax.errors import UserError
from msk_jax.models.zoo.vit import ViT, fit_to_size, resample_position_embedding

SMALL = ViT(num_classes=3, patch=8, width=16, depth=4, num_heads=2)


@pytest.fixture(scope="module")
def variables():
    return {"params": jax.jit(SMALL.init)(jax.random.key(0), jnp.zeros((1, 16, 24, 3)))["params"]}


def test_patches_are_whole():
    with pytest.raises(UserError, match=r"ViT needs .* multiples of 8 x 8; the input has 16 x 20"):
        SMALL.init(jax.random.key(0), jnp.zeros((1, 16, 20, 3)))


def test_weights_of_another_size_are_refused_with_what_to_do(variables):
    with pytest.raises(UserError, match=r"embeddings for 6 patches; .* has 4.*fit_to_size"):
        SMALL.apply(variables, jnp.zeros((1, 16, 16, 3)))


def test_a_patch_is_seen_row_by_row(variables):
    """A change in the second patch of the first row reaches the third token first."""
    x = np.zeros((1, 16, 24, 3), np.float32)
    changed = x.copy()
    changed[:, :8, 8:16] = np.random.default_rng(0).normal(size=(8, 8, 3))

    def tokens(images):
        def spy(call, args, kwargs, context):
            if context.module.name == "blocks.0" and context.method_name == "__call__":
                seen.append(args[0])
            return call(*args, **kwargs)

        seen = []
        with nn.intercept_methods(spy):
            SMALL.apply(variables, images)
        return seen[0]

    moved = np.abs(tokens(changed) - tokens(x)).max((0, 2))
    np.testing.assert_array_equal(moved > 0, [False, False, True, False, False, False, False])


def test_grids_that_are_no_square_must_be_said():
    embedding = np.zeros((1, 7, 4), np.float32)
    with pytest.raises(UserError, match=r"6 patches is not one of 2 x 2; give old_grid"):
        resample_position_embedding(embedding, (4, 4))
    assert resample_position_embedding(embedding, (4, 4), (2, 3)).shape == (1, 17, 4)


def test_a_state_of_the_right_size_stays():
    state = {"patch_embed.proj.weight": np.zeros((4, 3, 8, 8)), "pos_embed": np.ones((1, 5, 4))}
    assert fit_to_size(state, (16, 16))["pos_embed"] is state["pos_embed"]
    assert fit_to_size(state, (16, 24))["pos_embed"].shape == (1, 7, 4)
