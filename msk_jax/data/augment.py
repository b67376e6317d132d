"""From stored int16 values to a network's input, on the device: window, normalise, augment."""

import dataclasses
import math

import chex
import jax
import jax.numpy as jnp

from msk_jax.config import check_limits
from msk_jax.data.warp import affine
from msk_jax.errors import UserError

_FLAT = 0.02
"""Added to the deviation of the surroundings, so that noise where nothing is stays small."""


@dataclasses.dataclass(frozen=True)
class Preprocess:
    """What every picture goes through, in training and in prediction."""

    window_level: float = 400.0
    """Middle of the intensity window, HU."""
    window_width: float = 1500.0
    """Width of the intensity window, HU; what lies outside is clipped."""
    mean: float = 0.449
    """Subtracted after scaling the window to 0..1; the grey mean of ImageNet, whose weights
    may start the encoder."""
    std: float = 0.226
    """Divided by afterwards; the grey standard deviation of ImageNet."""
    crop: int | None = None
    """Side in pixels of a central crop; none keeps the stored size."""
    shrink: int = 1
    """Pixels along each side whose mean becomes one pixel, after cropping."""
    local: float | None = None
    """Take each pixel against its surroundings in place of `mean` and `std`: a Gaussian of this
    standard deviation in pixels, after shrinking [U]. None, by default: CT values mean the same
    everywhere. Radiographs have a background that is thick and thin soft tissue."""

    def window(self, stored: jax.Array) -> jax.Array:
        """`[..., height, width, slices]` stored values to 0..1, cropped and shrunk."""
        low = self.window_level - self.window_width / 2
        image = jnp.clip((stored.astype(jnp.float32) - low) / self.window_width, 0.0, 1.0)
        if self.crop is not None:
            if not 1 <= self.crop <= min(image.shape[-3:-1]):
                raise UserError(
                    f"--crop is {self.crop}, but the pictures have {image.shape[-3]} x "
                    f"{image.shape[-2]} pixels; give a number up to {min(image.shape[-3:-1])}."
                )
            top, left = ((n - self.crop) // 2 for n in image.shape[-3:-1])
            image = image[..., top : top + self.crop, left : left + self.crop, :]
        return image if self.shrink == 1 else self._shrunk(image)

    def _shrunk(self, image: jax.Array) -> jax.Array:
        *batch, height, width, slices = image.shape
        if self.shrink < 1 or height % self.shrink or width % self.shrink:
            raise UserError(
                f"--shrink is {self.shrink}, which does not divide {height} x {width} pixels. Give "
                "a divisor of both, or another --crop."
            )
        blocks = (height // self.shrink, self.shrink, width // self.shrink, self.shrink)
        return jnp.mean(image.reshape(*batch, *blocks, slices), axis=(-4, -2))

    def normalise(self, image: jax.Array) -> jax.Array:
        """`[..., height, width, slices]` in 0..1 to about zero mean and unit variance."""
        if self.local is None:
            return (image - self.mean) / self.std
        image = image - _around(image, self.local)
        return image / (jnp.sqrt(_around(jnp.square(image), self.local)) + _FLAT)


def _around(image: jax.Array, sigma: float) -> jax.Array:
    """Means of `[..., height, width, slices]` weighted by a Gaussian, over the picture alone."""

    def weights(pixels: int) -> jax.Array:
        place = jnp.arange(pixels)
        near = jnp.exp(-jnp.square((place[:, None] - place) / sigma) / 2)
        return near / jnp.sum(near, axis=1, keepdims=True)

    rows, columns = (weights(pixels) for pixels in image.shape[-3:-1])
    return jnp.einsum("ij,...jks,lk->...ils", rows, image, columns, precision="highest")


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes of a training picture; one draw for all slices of a stack."""

    moved: float = 1.0
    """Probability that the picture is turned, resized and shifted. Interpolation blurs: below 1,
    some training pictures stay as sharp as those that are predicted later."""
    rotation: float = 15.0
    """Largest rotation either way, degrees."""
    scaling: float = 0.1
    """Largest relative change of size."""
    translation: float = 0.1
    """Largest shift either way, as a share of the side."""
    gamma: tuple[float, float] = (0.8, 1.25)
    """Range of the exponent applied to the windowed picture."""
    contrast: float = 0.1
    """Largest relative change of contrast about the picture's mean."""
    brightness: float = 0.05
    """Largest shift of brightness either way; the window is 0..1."""
    noise: float = 0.02
    """Largest standard deviation of added noise; the window is 0..1."""
    erasing: float = 0.1
    """Probability that a random rectangle is replaced by the picture's mean."""
    flip: float = 0.0
    """Probability that left and right are exchanged; only where sides mean nothing."""

    def check(self) -> None:
        """Raises UserError where a field cannot be what it is."""
        check_limits(
            self,
            **dict.fromkeys(("moved", "erasing", "flip", "translation"), (0, 1)),
            **dict.fromkeys(("contrast", "brightness", "noise"), (0, math.inf)),
            rotation=(0, 180),
            scaling=(0, 0.9),
        )
        if not 0 < self.gamma[0] <= self.gamma[1]:
            raise UserError("--gamma is a smaller and a larger exponent, both over 0: `0.8 1.25`.")

    def __call__(self, key: jax.Array, image: jax.Array) -> jax.Array:
        """`image` `[height, width, slices]` in 0..1 -> the same shape and range."""
        chex.assert_rank(image, 3)
        geometry, tone, sigma, noise, erase = jax.random.split(key, 5)
        if self.flip:
            turned = jax.random.bernoulli(jax.random.fold_in(key, 5), self.flip)
            image = jnp.where(turned, image[:, ::-1], image)
        moved = jax.random.bernoulli(jax.random.fold_in(key, 6), self.moved)
        image = self._affine(geometry, image, moved)
        image = self._tone(tone, image)
        sigma = self.noise * jax.random.uniform(sigma)
        image = jnp.clip(image + sigma * jax.random.normal(noise, image.shape), 0.0, 1.0)
        return self._erase(erase, image)

    def _affine(self, key: jax.Array, image: jax.Array, moved: jax.Array) -> jax.Array:
        height, width = image.shape[:2]
        u = moved * jax.random.uniform(key, (4,), minval=-1.0, maxval=1.0)
        angle = jnp.deg2rad(self.rotation) * u[0]
        zoom = 1.0 / (1.0 + self.scaling * u[1])
        cos, sin = zoom * jnp.cos(angle), zoom * jnp.sin(angle)
        matrix = jnp.array([[cos, -sin], [sin, cos]])
        shift = self.translation * jnp.array([height * u[2], width * u[3]])
        return affine(image, matrix, shift, turn=self.rotation)

    def _tone(self, key: jax.Array, image: jax.Array) -> jax.Array:
        """Gamma, contrast and brightness; noise and clipping follow."""
        u = jax.random.uniform(key, (3,), minval=-1.0, maxval=1.0)
        low, high = jnp.log(self.gamma[0]), jnp.log(self.gamma[1])
        exponent = jnp.exp(low + (high - low) * (u[0] + 1) / 2)
        # x ** g, but several times faster on CPU; the floor keeps it defined at 0.
        image = jnp.exp(exponent * jnp.log(jnp.maximum(image, 1e-6)))
        mean = jnp.mean(image)
        return mean + (image - mean) * (1 + self.contrast * u[1]) + self.brightness * u[2]

    def _erase(self, key: jax.Array, image: jax.Array) -> jax.Array:
        height, width = image.shape[:2]
        u = jax.random.uniform(key, (5,))
        half = 0.05 + 0.1 * u[:2]
        rows = jnp.abs(jnp.arange(height) / height - u[2]) < half[0]
        columns = jnp.abs(jnp.arange(width) / width - u[3]) < half[1]
        erased = rows[:, None] & columns[None, :] & (u[4] < self.erasing)
        return jnp.where(erased[..., None], jnp.mean(image), image)
