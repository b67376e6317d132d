"""From stored values to a network's input: how pictures are windowed, normalised and augmented."""

import dataclasses
import math
from typing import TYPE_CHECKING

from msk_jax.config import check_limits
from msk_jax.errors import UserError

if TYPE_CHECKING:
    import jax


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

    def window(self, stored: "jax.Array") -> "jax.Array":
        """`[..., height, width, slices]` stored values to 0..1, cropped and shrunk."""
        from msk_jax.data.feed import on_device

        return on_device.window(self, stored)

    def normalise(self, image: "jax.Array") -> "jax.Array":
        """`[..., height, width, slices]` in 0..1 to about zero mean and unit variance."""
        from msk_jax.data.feed import on_device

        return on_device.normalise(self, image)


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
    quarter_turns: bool = False
    """Turn by none to three right angles, each as often; only where no side is up."""

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

    def __call__(self, key: "jax.Array", image: "jax.Array") -> "jax.Array":
        """`image` `[height, width, slices]` in 0..1 -> the same shape and range."""
        from msk_jax.data.feed import on_device

        return on_device.augment(self, key, image)[0]

    def with_motion(
        self, key: "jax.Array", image: "jax.Array"
    ) -> "tuple[jax.Array, tuple[jax.Array, jax.Array]]":
        """The same picture, and how it was moved, for what lies in it to be taken along.

        Returns:
            The picture, and a matrix `[2, 2]` and a shift `[2]`, see `warp.affine`: the pixel at
            (row, column) from the centre shows what was at the matrix times it plus the shift.
        """
        from msk_jax.data.feed import on_device

        picture, motion = on_device.augment(self, key, image)
        return picture, motion()
