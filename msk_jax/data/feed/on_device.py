"""From stored int16 values to a network's input, on the device: window, normalise, augment."""

import chex
import jax
import jax.numpy as jnp

from msk_jax.data.feed.augment import Augmentation, Preprocess
from msk_jax.data.feed.warp import affine
from msk_jax.errors import UserError

_FLAT = 0.02
"""Added to the deviation of the surroundings, so that noise where nothing is stays small."""


def window(settings: Preprocess, stored: jax.Array) -> jax.Array:
    """See `Preprocess.window`."""
    low = settings.window_level - settings.window_width / 2
    image = jnp.clip((stored.astype(jnp.float32) - low) / settings.window_width, 0.0, 1.0)
    if settings.crop is not None:
        if not 1 <= settings.crop <= min(image.shape[-3:-1]):
            raise UserError(
                f"--crop is {settings.crop}, but the pictures have {image.shape[-3]} x "
                f"{image.shape[-2]} pixels; give a number up to {min(image.shape[-3:-1])}."
            )
        top, left = ((n - settings.crop) // 2 for n in image.shape[-3:-1])
        image = image[..., top : top + settings.crop, left : left + settings.crop, :]
    return image if settings.shrink == 1 else _shrunk(settings, image)


def _shrunk(settings: Preprocess, image: jax.Array) -> jax.Array:
    *batch, height, width, slices = image.shape
    if settings.shrink < 1 or height % settings.shrink or width % settings.shrink:
        raise UserError(
            f"--shrink is {settings.shrink}, which does not divide {height} x {width} pixels. Give "
            "a divisor of both, or another --crop."
        )
    blocks = (height // settings.shrink, settings.shrink, width // settings.shrink, settings.shrink)
    return jnp.mean(image.reshape(*batch, *blocks, slices), axis=(-4, -2))


def normalise(settings: Preprocess, image: jax.Array) -> jax.Array:
    """See `Preprocess.normalise`."""
    if settings.local is None:
        return (image - settings.mean) / settings.std
    image = image - _around(image, settings.local)
    return image / (jnp.sqrt(_around(jnp.square(image), settings.local)) + _FLAT)


def _around(image: jax.Array, sigma: float) -> jax.Array:
    """Means of `[..., height, width, slices]` weighted by a Gaussian, over the picture alone."""

    def weights(pixels: int) -> jax.Array:
        place = jnp.arange(pixels)
        near = jnp.exp(-jnp.square((place[:, None] - place) / sigma) / 2)
        return near / jnp.sum(near, axis=1, keepdims=True)

    rows, columns = (weights(pixels) for pixels in image.shape[-3:-1])
    return jnp.einsum("ij,...jks,lk->...ils", rows, image, columns, precision="highest")


def augment(settings: Augmentation, key: jax.Array, image: jax.Array) -> jax.Array:
    """See `Augmentation.__call__`."""
    chex.assert_rank(image, 3)
    geometry, tone, sigma, noise, erase = jax.random.split(key, 5)
    if settings.flip:
        turned = jax.random.bernoulli(jax.random.fold_in(key, 5), settings.flip)
        image = jnp.where(turned, image[:, ::-1], image)
    moved = jax.random.bernoulli(jax.random.fold_in(key, 6), settings.moved)
    image = _affine(settings, geometry, image, moved)
    image = _tone(settings, tone, image)
    sigma = settings.noise * jax.random.uniform(sigma)
    image = jnp.clip(image + sigma * jax.random.normal(noise, image.shape), 0.0, 1.0)
    return _erase(settings, erase, image)


def _affine(
    settings: Augmentation, key: jax.Array, image: jax.Array, moved: jax.Array
) -> jax.Array:
    height, width = image.shape[:2]
    u = moved * jax.random.uniform(key, (4,), minval=-1.0, maxval=1.0)
    angle = jnp.deg2rad(settings.rotation) * u[0]
    zoom = 1.0 / (1.0 + settings.scaling * u[1])
    cos, sin = zoom * jnp.cos(angle), zoom * jnp.sin(angle)
    matrix = jnp.array([[cos, -sin], [sin, cos]])
    shift = settings.translation * jnp.array([height * u[2], width * u[3]])
    return affine(image, matrix, shift, turn=settings.rotation)


def _tone(settings: Augmentation, key: jax.Array, image: jax.Array) -> jax.Array:
    """Gamma, contrast and brightness; noise and clipping follow."""
    u = jax.random.uniform(key, (3,), minval=-1.0, maxval=1.0)
    low, high = jnp.log(settings.gamma[0]), jnp.log(settings.gamma[1])
    exponent = jnp.exp(low + (high - low) * (u[0] + 1) / 2)
    # x ** g, but several times faster on CPU; the floor keeps it defined at 0.
    image = jnp.exp(exponent * jnp.log(jnp.maximum(image, 1e-6)))
    mean = jnp.mean(image)
    return mean + (image - mean) * (1 + settings.contrast * u[1]) + settings.brightness * u[2]


def _erase(settings: Augmentation, key: jax.Array, image: jax.Array) -> jax.Array:
    height, width = image.shape[:2]
    u = jax.random.uniform(key, (5,))
    half = 0.05 + 0.1 * u[:2]
    rows = jnp.abs(jnp.arange(height) / height - u[2]) < half[0]
    columns = jnp.abs(jnp.arange(width) / width - u[3]) < half[1]
    erased = rows[:, None] & columns[None, :] & (u[4] < settings.erasing)
    return jnp.where(erased[..., None], jnp.mean(image), image)
