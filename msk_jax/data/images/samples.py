"""Stored samples of a picture, whatever its file form, to upright grey values."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from msk_jax.errors import SeriesError

_LUMINANCE = np.array([19595, 38470, 7471]) / 65536
"""Of red, green and blue (ITU-R BT.601-7), in the 16 bits that pillow reckons with."""
_TURNED = (5, 6, 7, 8)
"""Orientations whose stored rows are columns of the upright picture."""
_DEEP_BITS = 24
"""Of more, float32 would lose some."""


@dataclass(frozen=True)
class Samples:
    """What a file stores, as it stores it."""

    values: np.ndarray
    """Any real kind of number [stored rows, stored columns, channels]; light is high."""

    colour: Literal["grey", "rgb", "cmyk"]
    """What the channels are: one, three or four."""

    opacity: np.ndarray | None = None
    """float32 [stored rows, stored columns], 0 to 1; None: all of it is opaque."""

    orientation: int = 1
    """Where the stored row 0 and column 0 belong (TIFF 6.0, section 8, tag 274; the same in Exif):
    1 top and left, 2 top and right, 3 bottom and right, 4 bottom and left, 5 left and top, 6 right
    and top, 7 right and bottom, 8 left and bottom. Any other number counts as 1."""

    per_inch: tuple[float, float] | None = None
    """Pixels along a stored row and along a stored column; None where the file does not say."""

    @property
    def is_turned(self) -> bool:
        """Whether stored rows are columns of the upright picture."""
        return self.orientation in _TURNED

    def grey(self, name: str) -> np.ndarray:
        """Upright grey values.

        Equal channels are grey already; colours become luminance, of whole numbers to a whole
        number. What is transparent lies outside the picture and becomes its darkest value, as the
        padding of a DICOM file does, what is half transparent half of it.

        Args:
            name: of the file, for messages.

        Returns:
            float32 (float64 where more than 24 bits are stored) [rows, columns].

        Raises:
            SeriesError: values that are no numbers, or nothing but transparency.
        """
        values = self.values
        if not np.isfinite(values).all():
            raise SeriesError(f"{name} holds values that are no numbers. Save it again.")
        if self.colour == "cmyk":
            values = _without_ink(values)
        values = values[..., 0] if _are_equal(values) else _luminance(values)
        values = values.astype(_precision(self.values.dtype))
        if self.opacity is not None and (self.opacity < 1).any():
            values = _before_dark(values, self.opacity, name)
        return np.ascontiguousarray(upright(values, self.orientation))

    def colours(self, name: str) -> np.ndarray:
        """Upright colours; what is transparent is white, as the light of a microscope is.

        Args:
            name: of the file, for messages.

        Returns:
            uint8 [rows, columns, 3]: red, green, blue; of grey values three times the same.

        Raises:
            SeriesError: other than 8 bits of each colour, or inks of a print.
        """
        if self.values.dtype != np.uint8 or self.colour == "cmyk":
            kind = "inks of a print" if self.colour == "cmyk" else f"{self.values.dtype} values"
            raise SeriesError(
                f"{name} holds {kind}; pictures in colour need 8 bits of red, green and blue. Save "
                "it again as RGB."
            )
        values = np.broadcast_to(self.values, (*self.values.shape[:2], 3))
        if self.opacity is not None and (self.opacity < 1).any():
            share = self.opacity[..., None]
            values = np.rint(share * values + (1 - share) * 255).astype(np.uint8)
        return np.ascontiguousarray(upright(values, self.orientation))


def upright(picture: np.ndarray, orientation: int) -> np.ndarray:
    """A picture [rows, columns, ...] as it is to be looked at; see `Samples.orientation`."""
    if orientation in _TURNED:
        picture = np.swapaxes(picture, 0, 1)
    down = -1 if orientation in (3, 4, 7, 8) else 1
    across = -1 if orientation in (2, 3, 6, 7) else 1
    return picture[::down, ::across]


def _precision(kind: np.dtype) -> type:
    bits = np.finfo(kind).nmant if kind.kind == "f" else 8 * kind.itemsize
    return np.float64 if bits > _DEEP_BITS else np.float32


def _without_ink(values: np.ndarray) -> np.ndarray:
    """Cyan, magenta, yellow and black to red, green and blue, without a profile of the print."""
    top = float(np.iinfo(values.dtype).max)
    light = top - values.astype(np.float64)
    return np.rint(light[..., :3] * light[..., 3:] / top).astype(values.dtype)


def _are_equal(values: np.ndarray) -> bool:
    return all(np.array_equal(values[..., 0], values[..., k]) for k in range(1, values.shape[-1]))


def _luminance(values: np.ndarray) -> np.ndarray:
    mixed = values.astype(np.float64) @ _LUMINANCE
    return mixed if values.dtype.kind == "f" else np.floor(mixed + 0.5)


def _before_dark(values: np.ndarray, opacity: np.ndarray, name: str) -> np.ndarray:
    """The picture before a ground of its darkest opaque value."""
    shown = opacity >= 1
    shown = shown if shown.any() else opacity > 0
    if not shown.any():
        raise SeriesError(f"{name} is transparent everywhere. Save it without transparency.")
    dark = values[shown].min()
    return dark + (values - dark) * opacity.astype(values.dtype)
