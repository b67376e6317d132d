"""Bits of a stored word that are no pixel (DICOM PS3.5 8.1.1), where old files keep overlays."""

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from msk_jax.data.dicom.headers import integer
from msk_jax.errors import SeriesError

_SIZES = (8, 16, 32, 64)
_OVERLAY_GROUPS = range(0x6000, 0x6020, 2)
_OVERLAY_BIT_POSITION = 0x0102


def words_of(data: bytes, dataset: Dataset) -> np.ndarray:
    """Whole words of uncompressed pixels as unsigned numbers, in the byte order of the file.

    Raises:
        SeriesError: they have another size than 8, 16, 32 or 64 bits.
    """
    allocated = integer(dataset, "BitsAllocated")
    if allocated not in _SIZES:
        raise SeriesError(
            f"Pixels of {allocated} bits (BitsAllocated) cannot be looked into. Export the image "
            "with 8 or 16."
        )
    order = ">" if dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian else "<"
    size = allocated // 8
    return np.frombuffer(data, f"{order}u{size}", len(data) // size)


def unused_bits(dataset: Dataset, allocated: int) -> tuple[int, int]:
    """How many bits of a word lie below and above those of the pixel.

    Raises:
        SeriesError: the header contradicts itself.
    """
    stored, high = integer(dataset, "BitsStored") or 0, integer(dataset, "HighBit")
    below = max(0, (stored - 1 if high is None else high) + 1 - stored)
    above = allocated - stored - below
    if stored < 1 or above < 0:
        raise SeriesError(
            f"The header contradicts itself on which bits are the pixel (BitsAllocated "
            f"{allocated}, BitsStored {stored}, HighBit {high}). Export the image again."
        )
    return below, above


def cleared(words: np.ndarray, dataset: Dataset) -> np.ndarray:
    """The same words with nothing beside the pixel.

    Signed pixels have their sign above them, others zeros. What marks a word as padding stays:
    PixelPaddingValue may lie beyond the stored bits. Words that say nothing there are returned as
    they are.

    Raises:
        SeriesError: see `unused_bits`.
    """
    size = words.dtype.itemsize
    below, above = unused_bits(dataset, 8 * size)
    if below == above == 0:
        return words
    signed = bool(integer(dataset, "PixelRepresentation"))
    pixels = words.astype(f"{'i' if signed else 'u'}{size}")
    kind = pixels.dtype.type
    pixels <<= kind(above)
    pixels >>= kind(above + below)
    pixels <<= kind(below)
    pixels = pixels.view(f"u{size}")
    padding = _padding(words, dataset, below, above)
    if padding is not None:
        pixels[padding] = words[padding]
    if below == 0 and not (words >> words.dtype.type(8 * size - above)).any():
        return words  # a sign that nobody has spread says nothing
    return words if np.array_equal(pixels, words) else pixels


def _padding(words: np.ndarray, dataset: Dataset, below: int, above: int) -> np.ndarray | None:
    """bool, as `words`: the padding value, where that lies beyond the stored bits.

    None: it does not, or its bits there are those of an overlay, or of a range they differ.
    """
    value, limit = (
        integer(dataset, name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")
    )
    if value is None or below or not above:
        return None
    allocated = 8 * words.dtype.itemsize
    low, high = sorted(v & (2**allocated - 1) for v in (value, value if limit is None else limit))
    beyond = low >> (allocated - above)
    overlays = sum(1 << bit for bit in _overlay_bits(dataset)) >> (allocated - above)
    if beyond != high >> (allocated - above) or not beyond & ~overlays:
        return None
    return (words >= low) & (words <= high)


def _overlay_bits(dataset: Dataset) -> set[int]:
    """Bits of the pixel's word that hold overlays."""
    elements = (dataset.get((group, _OVERLAY_BIT_POSITION)) for group in _OVERLAY_GROUPS)
    positions = {element.value for element in elements if element is not None}
    return {position for position in positions if isinstance(position, int) and 0 < position < 64}
