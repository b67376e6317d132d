"""From stored int16 values to a network's input, on the device: window, normalise, augment."""

from collections.abc import Callable

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


def augment(
    settings: Augmentation, key: jax.Array, image: jax.Array
) -> tuple[jax.Array, Callable[[], tuple[jax.Array, jax.Array]]]:
    """The picture of `Augmentation.__call__`, and what gives the motion of
    `Augmentation.with_motion`: computed only where somebody asks."""
    chex.assert_rank(image, 3)
    geometry, tone, sigma, noise, erase = jax.random.split(key, 5)
    flipped, turns = False, 0
    if settings.flip:
        flipped = jax.random.bernoulli(jax.random.fold_in(key, 5), settings.flip)
        image = jnp.where(flipped, image[:, ::-1], image)
    if settings.quarter_turns:
        turns = jax.random.randint(jax.random.fold_in(key, 7), (), 0, 4)
        image = _turned(image, turns)
    moved = jax.random.bernoulli(jax.random.fold_in(key, 6), settings.moved)
    matrix, shift = _drawn_map(settings, geometry, image.shape, moved)
    image = affine(image, matrix, shift, turn=settings.rotation)
    image = _tone(settings, tone, image)
    sigma = settings.noise * jax.random.uniform(sigma)
    image = jnp.clip(image + sigma * jax.random.normal(noise, image.shape), 0.0, 1.0)
    image = _erase(settings, erase, image)

    def motion() -> tuple[jax.Array, jax.Array]:
        """All three in the order that a pixel is looked up: the map, the turn, the flip."""
        before = _flip_matrix(flipped) @ _turn_matrix(turns)
        return before @ matrix, before @ shift

    return image, motion


def _turned(image: jax.Array, turns: jax.Array) -> jax.Array:
    """The picture turned anticlockwise by so many right angles."""
    if image.shape[0] != image.shape[1]:
        raise UserError(
            f"--quarter-turns needs square pictures, and these have {image.shape[0]} x "
            f"{image.shape[1]} pixels. Leave it out, or give --crop."
        )
    return jax.lax.switch(turns, [lambda x, k=k: jnp.rot90(x, k) for k in range(4)], image)


def _turn_matrix(turns: jax.Array | int) -> jax.Array:
    """Where (row, column) from the centre of a turned picture was: `rot90` shows at (r, c) what was
    at (c, -r)."""
    matrices = [[[1, 0], [0, 1]], [[0, 1], [-1, 0]], [[-1, 0], [0, -1]], [[0, -1], [1, 0]]]
    return jnp.array(matrices, jnp.float32)[turns]


def _flip_matrix(flipped: jax.Array | bool) -> jax.Array:
    """The same of a picture whose left and right may be exchanged."""
    return jnp.where(flipped, jnp.diag(jnp.array([1.0, -1.0])), jnp.eye(2))


def move_boxes(
    boxes: jax.Array, matrix: jax.Array, shift: jax.Array, shape: tuple[int, int], least: float
) -> tuple[jax.Array, jax.Array]:
    """Boxes taken along with a picture that was moved.

    Args:
        boxes: `[n, 4]`, x0, y0, x1, y1 in pixels.
        matrix: `[2, 2]` and `shift` `[2]`: see `Augmentation.with_motion`.
        shift: see there.
        shape: height and width of the picture.
        least: share of a box's area that must stay inside for it to be kept.

    Returns:
        The boxes around the moved corners, clipped, `[n, 4]`, zeros for those that are not kept;
        and which are, `[n]`. A box turned by less than a right angle has a wider one around it.
    """
    height, width = shape
    middle = jnp.array([height, width]) / 2
    corners = boxes[:, jnp.array([[1, 0], [1, 2], [3, 0], [3, 2]])]  # [n, 4, (row, column)]
    moved = (corners - middle - shift) @ jnp.linalg.inv(matrix).T + middle
    low, high = jnp.min(moved, 1), jnp.max(moved, 1)
    limits = jnp.array([height, width], boxes.dtype)
    inside = jnp.clip(low, 0, limits), jnp.clip(high, 0, limits)
    area, left = jnp.prod(high - low, -1), jnp.prod(inside[1] - inside[0], -1)
    kept = (area > 0) & (left >= least * area)
    found = jnp.concatenate([inside[0][:, ::-1], inside[1][:, ::-1]], -1)
    return jnp.where(kept[:, None], found, 0), kept


def _drawn_map(
    settings: Augmentation, key: jax.Array, shape: tuple[int, ...], moved: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Matrix and shift of `warp.affine`."""
    height, width = shape[:2]
    u = moved * jax.random.uniform(key, (4,), minval=-1.0, maxval=1.0)
    angle = jnp.deg2rad(settings.rotation) * u[0]
    zoom = 1.0 / (1.0 + settings.scaling * u[1])
    cos, sin = zoom * jnp.cos(angle), zoom * jnp.sin(angle)
    matrix = jnp.array([[cos, -sin], [sin, cos]])
    return matrix, settings.translation * jnp.array([height * u[2], width * u[3]])


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
