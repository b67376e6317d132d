"""Rates and weight decay go where the recipe says."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from msk_jax.errors import UserError
from msk_jax.training.optimiser import learning_rate_schedule, make_optimiser, rate_factors
from msk_jax.training.recipe import Recipe

PARAMS = {
    "encoder": {"kernel": jnp.full(2, 2.0), "bias": jnp.full(2, 2.0)},
    "head": {"kernel": jnp.full(2, 2.0), "scale": jnp.full(2, 2.0)},
}
PLAIN = {
    "epochs": 1,
    "warmup_epochs": 0,
    "learning_rate": 1e-2,
    "final_learning_rate": 0.0,
    "gradient_clip": None,
}


def _updates(recipe, grads=None, steps=1):
    optimiser = make_optimiser(recipe, steps_per_epoch=100)
    state = optimiser.init(PARAMS)
    for _ in range(steps):
        updates, state = optimiser.update(
            grads or jax.tree.map(jnp.ones_like, PARAMS), state, PARAMS
        )
    return updates


def test_cosine_by_hand():
    recipe = Recipe(epochs=10, warmup_epochs=2, learning_rate=1.0, final_learning_rate=0.1)
    rate = learning_rate_schedule(recipe, steps_per_epoch=5)
    assert rate(0) == 0 and rate(5) == pytest.approx(0.5) and rate(10) == pytest.approx(1.0)
    # Half way down the cosine from 1.0 at step 10 to 0.1 at step 50: their mean.
    assert rate(30) == pytest.approx(0.55)
    assert rate(50) == pytest.approx(0.1)


def test_poly_and_step_by_hand():
    poly = Recipe(
        epochs=10,
        warmup_epochs=2,
        learning_rate=1.0,
        final_learning_rate=0.2,
        schedule="poly",
        poly_power=2.0,
    )
    rate = learning_rate_schedule(poly, steps_per_epoch=5)
    assert rate(5) == pytest.approx(0.5) and rate(10) == pytest.approx(1.0)
    # Half of the way left: 0.2 + (1 - 0.2) * 0.5 ** 2.
    assert rate(30) == pytest.approx(0.4) and rate(50) == pytest.approx(0.2)
    steps = Recipe(
        epochs=10,
        warmup_epochs=1,
        learning_rate=2.0,
        schedule="step",
        step_epochs=(4, 8),
        step_factor=0.5,
    )
    rate = learning_rate_schedule(steps, steps_per_epoch=5)
    found = [float(rate(step)) for step in (5, 19, 20, 39, 40, 49)]
    assert found == pytest.approx([2, 2, 1, 1, 0.5, 0.5])


def test_parts_have_their_own_rates_and_only_kernels_decay():
    recipe = Recipe(**PLAIN, rates=(("encoder/.*", 0.1), (".*", 1.0)), weight_decay=0.5)
    updates = _updates(recipe)
    # AdamW's first step moves by -rate * (sign(gradient) + decay * value).
    np.testing.assert_allclose(updates["encoder"]["kernel"], -1e-3 * (1 + 0.5 * 2), rtol=1e-5)
    np.testing.assert_allclose(updates["encoder"]["bias"], -1e-3, rtol=1e-5)
    np.testing.assert_allclose(updates["head"]["kernel"], -1e-2 * (1 + 0.5 * 2), rtol=1e-5)
    np.testing.assert_allclose(updates["head"]["scale"], -1e-2, rtol=1e-5)


def test_what_is_frozen_stays_and_has_no_part_in_the_norm():
    recipe = Recipe(
        **(PLAIN | {"gradient_clip": 1.0}),
        rates=(("encoder/.*", 0), (".*", 1)),
        optimiser="sgd",
        weight_decay=0.5,
    )
    grads = jax.tree.map(jnp.ones_like, PARAMS)
    grads["encoder"]["kernel"] = jnp.full(2, 1e9)
    updates = _updates(recipe, grads)
    assert not np.any(updates["encoder"]["kernel"]) and not np.any(updates["encoder"]["bias"])
    # Four ones have the norm 2 and are clipped to a half each.
    np.testing.assert_allclose(updates["head"]["scale"], -1e-2 * 0.5, rtol=1e-5)
    np.testing.assert_allclose(updates["head"]["kernel"], -1e-2 * (0.5 + 0.5 * 2), rtol=1e-5)


def test_momentum_by_hand():
    recipe = Recipe(**PLAIN, optimiser="sgd", weight_decay=0.0, schedule="poly", poly_power=0.0)
    np.testing.assert_allclose(_updates(recipe, steps=2)["head"]["scale"], -1e-2 * 1.9, rtol=1e-5)


def test_lamb_by_hand():
    recipe = Recipe(**PLAIN, optimiser="lamb", weight_decay=0.0)
    # Its first step is Adam's, ones, times the norm of the parameters over that of the ones: 2.
    np.testing.assert_allclose(_updates(recipe)["head"]["scale"], -1e-2 * 2, rtol=1e-4)


def test_adafactor_decays_by_the_rate():
    still, decaying = (
        _updates(Recipe(**PLAIN, optimiser="adafactor", weight_decay=decay))["head"]
        for decay in (0.0, 0.5)
    )
    np.testing.assert_allclose(decaying["kernel"] - still["kernel"], -1e-2 * 0.5 * 2, rtol=1e-4)
    np.testing.assert_array_equal(decaying["scale"], still["scale"])
    reference = optax.adafactor(1e-2)
    expected, _ = reference.update(
        jax.tree.map(jnp.ones_like, PARAMS), reference.init(PARAMS), PARAMS
    )
    np.testing.assert_allclose(still["kernel"], expected["head"]["kernel"], rtol=1e-6)


def test_patterns_that_leave_some_out_or_are_none():
    with pytest.raises(UserError, match=r"fits 2 of the parameters, as head/kernel"):
        rate_factors(PARAMS, (("encoder/.*", 1.0),))
    with pytest.raises(UserError, match="no regular expression"):
        rate_factors(PARAMS, (("encoder/(", 1.0),))
    with pytest.raises(UserError, match=r"'encodr.*' of --rates fits no parameter"):
        rate_factors(PARAMS, (("encodr.*", 0.0), (".*", 1.0)))
    found = rate_factors(PARAMS, (("head/kernel", 0.5), ("head.*", 2.0), (".*", 1.0)))
    assert found == {
        "encoder": {"kernel": 1.0, "bias": 1.0},
        "head": {"kernel": 0.5, "scale": 2.0},
    }


def test_settings_that_cannot_be():
    with pytest.raises(UserError, match="negative"):
        Recipe(rates=((".*", -1.0),)).check()
    with pytest.raises(UserError, match="leaves nothing of --epochs 3"):
        Recipe(epochs=3, warmup_epochs=3).check()
    with pytest.raises(UserError, match="--step-epochs"):
        Recipe(schedule="step").check()
