"""Rates and weight decay go where the recipe says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msk_jax.training.optimiser import learning_rate_schedule, make_optimiser
from msk_jax.training.recipe import Recipe


def test_schedule_by_hand():
    recipe = Recipe(epochs=10, warmup_epochs=2, final_learning_rate=0.1)
    rate = learning_rate_schedule(recipe, steps_per_epoch=5, peak=1.0)
    assert rate(0) == 0 and rate(5) == pytest.approx(0.5) and rate(10) == pytest.approx(1.0)
    # Half way down the cosine from 1.0 at step 10 to 0.1 at step 50: their mean.
    assert rate(30) == pytest.approx(0.55)
    assert rate(50) == pytest.approx(0.1)


def test_head_and_encoder_have_their_own_rates_and_only_kernels_decay():
    recipe = Recipe(
        epochs=1, warmup_epochs=0, learning_rate=1e-3, head_learning_rate=1e-2, weight_decay=0.5,
        final_learning_rate=0.0, gradient_clip=None,
    )  # fmt: skip
    params = {
        "encoder": {"kernel": jnp.full(2, 2.0), "bias": jnp.full(2, 2.0)},
        "head": {"kernel": jnp.full(2, 2.0), "scale": jnp.full(2, 2.0)},
    }
    optimiser = make_optimiser(recipe, steps_per_epoch=100)
    grads = jax.tree.map(jnp.ones_like, params)
    updates, _ = optimiser.update(grads, optimiser.init(params), params)
    # AdamW's first step moves by -rate * (sign(gradient) + decay * value).
    np.testing.assert_allclose(updates["encoder"]["kernel"], -1e-3 * (1 + 0.5 * 2), rtol=1e-5)
    np.testing.assert_allclose(updates["encoder"]["bias"], -1e-3, rtol=1e-5)
    np.testing.assert_allclose(updates["head"]["kernel"], -1e-2 * (1 + 0.5 * 2), rtol=1e-5)
    np.testing.assert_allclose(updates["head"]["scale"], -1e-2, rtol=1e-5)
