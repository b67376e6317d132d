"""Windowing by hand; augmentation moves pictures as it says."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from msk_jax.data.feed.augment import Augmentation, Preprocess
from msk_jax.errors import UserError
from msk_jax.training.recipe import Recipe

STILL = {
    "rotation": 0.0,
    "scaling": 0.0,
    "translation": 0.0,
    "gamma": (1.0, 1.0),
    "contrast": 0.0,
    "brightness": 0.0,
    "noise": 0.0,
    "erasing": 0.0,
}


def test_window_by_hand():
    preprocess = Preprocess(window_level=400, window_width=1500, mean=0.5, std=0.25)
    stored = jnp.array([-1024, -350, 400, 775, 1150, 3000], jnp.int16).reshape(1, 6, 1)
    image = preprocess.window(stored)
    np.testing.assert_allclose(image.ravel(), [0, 0, 0.5, 0.75, 1, 1], atol=1e-6)
    np.testing.assert_allclose(preprocess.normalise(image).ravel(), [-2, -2, 0, 1, 2, 2], atol=1e-5)


def test_against_the_surroundings_as_scipy_does():
    """Its Gaussian filter, divided by what it gives of a picture of ones, knows no outside."""
    image = np.random.default_rng(0).uniform(size=(12, 15)).astype(np.float32)

    def around(x):
        blur = functools.partial(ndimage.gaussian_filter, sigma=2.5, mode="constant", truncate=9)
        return blur(x) / blur(np.ones_like(x))

    centred = image - around(image)
    expected = centred / (np.sqrt(around(centred**2)) + 0.02)
    found = Preprocess(local=2.5).normalise(jnp.asarray(image)[None, ..., None])
    np.testing.assert_allclose(found[0, ..., 0], expected, atol=1e-4)


def test_crop_is_central():
    stored = jnp.arange(36, dtype=jnp.int16).reshape(1, 6, 6, 1)
    image = Preprocess(window_level=0, window_width=200, crop=2).window(stored)
    np.testing.assert_allclose(image.ravel() * 200 - 100, [14, 15, 20, 21], atol=1e-4)


def test_nothing_to_do_changes_nothing():
    image = jnp.asarray(np.random.default_rng(0).uniform(0.1, 1, (9, 9, 3)), jnp.float32)
    np.testing.assert_allclose(Augmentation(**STILL)(jax.random.key(0), image), image, atol=1e-6)


def test_flip_exchanges_left_and_right_half_of_the_time():
    image = jnp.asarray(np.random.default_rng(0).uniform(0.1, 1, (5, 7, 1)), jnp.float32)
    flip = jax.vmap(Augmentation(**STILL, flip=0.5), in_axes=(0, None))
    found = np.asarray(flip(jax.random.split(jax.random.key(1), 200), image))
    turned = np.isclose(found, image[:, ::-1], atol=1e-6).all((1, 2, 3))
    assert (turned | np.isclose(found, image, atol=1e-6).all((1, 2, 3))).all()
    assert 75 <= turned.sum() <= 125  # 3.5 standard deviations about 100


@pytest.mark.parametrize(
    ("field", "value"),
    [("moved", 50), ("erasing", -3), ("rotation", -60.0), ("scaling", 1.0), ("noise", -0.1)],
)
def test_what_cannot_be_is_refused(field, value):
    with pytest.raises(UserError, match=f"--{field} is {value:g}; it may be from 0"):
        Recipe(augmentation=Augmentation(**{field: value})).check()


@pytest.mark.parametrize("gamma", [(0.0, 1.0), (1.2, 0.8)])
def test_exponents_that_cannot_be(gamma):
    with pytest.raises(UserError, match="--gamma is a smaller and a larger exponent"):
        Augmentation(gamma=gamma).check()


def test_a_share_stays_as_sharp_as_it_was():
    """A chequerboard, of which interpolation between pixels leaves less."""
    image = jnp.asarray(np.indices((8, 8)).sum(0)[..., None] % 2, jnp.float32)
    shift = Augmentation(**{**STILL, "translation": 0.05}, moved=0.3)
    found = jax.vmap(shift, in_axes=(0, None))(jax.random.split(jax.random.key(2), 300), image)
    sharp = np.isclose(found, image, atol=1e-5).all((1, 2, 3))
    assert 182 <= sharp.sum() <= 238  # 3.5 standard deviations about 210
    assert np.ptp(np.asarray(found)[~sharp], axis=(1, 2, 3)).mean() < 0.95


@pytest.mark.parametrize("seed", range(3))
def test_rotation_keeps_the_centre_and_the_distance_to_it(seed):
    """A bright spot 10 pixels from the centre stays 10 pixels away, within the largest angle."""
    y, x = np.mgrid[:41, :41]
    spot = np.exp(-((y - 20) ** 2 + (x - 30) ** 2) / 4).astype(np.float32)[..., None]
    turned = Augmentation(**{**STILL, "rotation": 30.0})(jax.random.key(seed), jnp.asarray(spot))
    mass = np.asarray(turned)[..., 0]
    mass = np.where(mass > 0.05, mass, 0)
    cy, cx = (mass * y).sum() / mass.sum() - 20, (mass * x).sum() / mass.sum() - 20
    assert np.hypot(cy, cx) == pytest.approx(10, abs=0.1)
    assert abs(np.degrees(np.arctan2(cy, cx))) <= 30


def test_all_slices_of_a_stack_move_together():
    image = np.random.default_rng(1).uniform(size=(16, 16, 1)).astype(np.float32)
    moved = Augmentation(**{**STILL, "rotation": 20.0, "translation": 0.2, "scaling": 0.2})(
        jax.random.key(4), jnp.asarray(np.repeat(image, 5, -1))
    )
    for k in range(1, 5):
        np.testing.assert_array_equal(moved[..., 0], moved[..., k])
    assert np.abs(np.asarray(moved)[..., :1] - image).max() > 0.1


def test_tone_stays_within_its_ranges():
    """A flat picture of 0.25: gamma 0.5 to 2 and brightness 0.1 give 0.0625 - 0.1 to 0.5 + 0.1."""
    change = Augmentation(**{**STILL, "gamma": (0.5, 2.0), "brightness": 0.1})
    image = jnp.full((4, 4, 1), 0.25)
    values = [float(change(jax.random.key(k), image)[0, 0, 0]) for k in range(200)]
    assert 0.0 <= min(values) < 0.02 and 0.45 < max(values) < 0.6


def test_contrast_keeps_the_mean():
    image = jnp.linspace(0.3, 0.7, 16).reshape(4, 4, 1)
    changed = Augmentation(**{**STILL, "contrast": 0.5})(jax.random.key(1), image)
    assert float(changed.mean()) == pytest.approx(0.5, abs=1e-5)
    spread = float(jnp.ptp(changed)) / 0.4
    assert 0.5 <= spread <= 1.5 and abs(spread - 1) > 0.02


def test_shrinking_takes_means_of_blocks_after_cropping():
    stored = np.arange(2 * 8 * 8).reshape(2, 8, 8, 1).astype(np.int16)
    preprocess = Preprocess(window_level=64.0, window_width=128.0, crop=4, shrink=2)
    shown = np.asarray(preprocess.window(jnp.asarray(stored)))
    middle = stored[:, 2:6, 2:6, 0] / 128
    expected = [[middle[:, i : i + 2, j : j + 2].mean((1, 2)) for j in (0, 2)] for i in (0, 2)]
    # Single precision.
    np.testing.assert_allclose(shown[..., 0], np.moveaxis(expected, -1, 0), rtol=1e-6)
    with pytest.raises(UserError, match="--shrink is 3, which does not divide 4 x 4"):
        Preprocess(crop=4, shrink=3).window(jnp.asarray(stored))
