"""Grey images that are stored as colour: all their colours are shades of grey."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
)

from msk_jax.data.dicom.headers import integer, text
from msk_jax.errors import SeriesError

_PALETTE = "PALETTE COLOR"
_LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000, HTJ2K)
_LOSSY_SHARE = 4 / 255
"""How far lossy compression may move the colours of a grey pixel apart, as a share of the highest
value: chroma that is one step off its middle differs by 1.77 steps in blue (ITU-R BT.601), and
codecs round it by up to two."""

_LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow makes grey of a colour picture


def is_colour(dataset: Dataset) -> bool:
    """Whether a header promises colours rather than grey values."""
    palette = text(dataset, "PhotometricInterpretation") == _PALETTE
    return palette or (integer(dataset, "SamplesPerPixel") or 1) != 1


def decode_grey(path: Path, dataset: Dataset) -> np.ndarray:
    """Grey values of a colour image (RGB, YBR or a palette) that has no colours.

    Args:
        path: of the file, for messages.
        dataset: as `headers.read_header` opened it.

    Returns:
        Unsigned integers [rows, columns], or [frames, rows, columns] of several frames: the value
        of all three channels, of a lossy image their luminance.

    Raises:
        SeriesError: pixels of which red, green and blue differ.
        Exception: whatever pydicom raises where the pixels cannot be decoded.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    values, about = get_decoder(syntax).as_array(dataset, raw=True)
    coding = about["photometric_interpretation"]
    highest = 2 ** int(about["bits_stored"]) - 1
    if coding == _PALETTE:
        values = apply_color_lut(values, dataset)
        highest = np.iinfo(values.dtype).max
    is_luma = coding.startswith("YBR_FULL")
    if not (is_luma or coding in ("RGB", _PALETTE)):
        raise SeriesError(
            f"{path.name} is a colour image ({coding}) that is not read as grey values. Export it "
            "as MONOCHROME2."
        )
    is_lossy = syntax in _LOSSY or text(dataset, "LossyImageCompression") == "01"
    slack = highest * _LOSSY_SHARE if is_lossy else 0
    signed = values.astype(np.int32)
    if is_luma:  # grey has both chroma channels at the middle
        apart = np.abs(signed[..., 1:] - (highest + 1) // 2).max(axis=-1)
    else:
        apart = np.ptp(signed, axis=-1)
    differing = int((apart > slack).sum())
    if differing:
        raise SeriesError(
            f"{path.name} is a colour image: red, green and blue differ in {differing:,} of "
            f"{apart.size:,} pixels, by up to {int(apart.max())} of {highest}. An image of grey "
            "values is due: export the original without coloured marks."
        )
    if is_lossy and not is_luma:
        return np.rint(signed @ np.array(_LUMINANCE)).astype(values.dtype)
    return values[..., 0]
