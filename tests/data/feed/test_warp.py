"""Pictures are turned, resized and shifted; on a TPU in two passes that look nothing up."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from msk_jax.data.feed.warp import affine, bilinear, by_gather, in_two_passes


def turned(degrees, zoom=1.0):
    angle = np.radians(degrees)
    return zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def smooth(shape=(40, 50, 2)):
    noise = np.random.default_rng(0).normal(size=shape)
    return ndimage.gaussian_filter(noise, (4, 4, 0)) / 0.05


def by_scipy(image, matrix, shift):
    """`ndimage.affine_transform` has its own sum for the centre."""
    middle = (np.array(image.shape[:2]) - 1) / 2
    offset = middle + shift - matrix @ middle
    channels = [
        ndimage.affine_transform(image[..., c], matrix, offset, order=1, mode="nearest")
        for c in range(image.shape[-1])
    ]
    return np.stack(channels, -1)


def test_bilinear_by_hand():
    image = jnp.array([[0.0, 1.0], [2.0, 3.0]])[..., None]
    y, x = jnp.array([0.5, 0.0, -3.0, 1.0]), jnp.array([0.5, 0.25, 0.0, 9.0])
    np.testing.assert_allclose(bilinear(image, y, x).ravel(), [1.5, 0.25, 0.0, 3.0])


@pytest.mark.parametrize(("degrees", "zoom"), [(0, 1), (15, 0.9), (-30, 1.2), (45, 1.0)])
def test_gather_as_scipy_does(degrees, zoom):
    image, matrix, shift = smooth(), turned(degrees, zoom), np.array([2.3, -1.6])
    found = by_gather(jnp.asarray(image), jnp.asarray(matrix), jnp.asarray(shift))
    np.testing.assert_allclose(found, by_scipy(image, matrix, shift), atol=2e-4)


@pytest.mark.parametrize("zoom", [0.8, 1.0, 1.3])
def test_two_passes_without_a_turn_are_bilinear(zoom):
    """Rows and columns are then independent, so the order of the passes says nothing."""
    image = np.random.default_rng(1).normal(size=(23, 31, 3))
    matrix, shift = turned(0, zoom), np.array([1.7, -2.4])
    found = in_two_passes(jnp.asarray(image), jnp.asarray(matrix), jnp.asarray(shift))
    np.testing.assert_allclose(found, by_scipy(image, matrix, shift), atol=1e-4)


@pytest.mark.parametrize("degrees", [-45, -10, 5, 20, 45])
def test_two_passes_turn_a_smooth_picture_as_scipy_does(degrees):
    """A picture of blobs of four pixels; but for the edges, where each pass repeats its own."""
    image, matrix, shift = smooth(), turned(degrees, 1.05), np.array([0.6, 1.4])
    found = in_two_passes(jnp.asarray(image), jnp.asarray(matrix), jnp.asarray(shift))
    sides = np.array(image.shape[:2])
    grid = np.stack(np.meshgrid(*map(np.arange, sides), indexing="ij"), -1)
    source = (grid - (sides - 1) / 2) @ matrix.T + shift + (sides - 1) / 2
    inside = ((source >= 2) & (source <= sides - 3)).all(-1)
    difference = np.abs(np.asarray(found) - by_scipy(image, matrix, shift))[inside]
    assert difference.max() < 0.05 * np.std(image)
    assert np.median(difference) < 0.01 * np.std(image)
    assert inside.mean() > 0.4


@pytest.mark.parametrize(("degrees", "most"), [(5, 0.06), (15, 0.15), (45, 0.45)])
def test_of_noise_two_passes_show_most_the_same(degrees, most):
    """Root mean square difference in deviations of the noise."""
    image = np.random.default_rng(2).normal(size=(64, 64, 1))
    matrix, shift = turned(degrees), np.zeros(2)
    found = np.asarray(in_two_passes(*map(jnp.asarray, (image, matrix, shift))))
    difference = (found - by_scipy(image, matrix, shift))[20:-20, 20:-20]
    assert np.sqrt(np.mean(difference**2)) < most


def test_a_tpu_looks_nothing_up_and_other_devices_do():
    """In the program as it is handed to the compiler; beyond 45 degrees it is the same for all."""

    def program(platform, turn):
        shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((4, 16, 16, 1), (4, 2, 2), (4, 2))]
        batch = jax.vmap(lambda *parts: affine(*parts, turn=turn))
        return jax.jit(batch).trace(*shapes).lower(lowering_platforms=(platform,)).as_text()

    assert "gather" not in program("tpu", 20.0)
    for platform, turn in (("cpu", 20.0), ("cuda", 20.0), ("tpu", 60.0)):
        assert "gather" in program(platform, turn)
