"""Stored pixels of DICOM files: straight from the file where all is plain, else by a codec."""

import math
from pathlib import Path

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.pixels import get_decoder
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from msk_jax.data.dicom.headers import element, has, integer, max_bytes, num_frames, text
from msk_jax.data.pixels.codestream import check_size
from msk_jax.data.pixels.colour import decode_grey, is_colour
from msk_jax.data.pixels.twelve_bits import decode_extended, is_extended
from msk_jax.errors import SeriesError

_LITTLE_ENDIAN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
_FLOAT_PIXELS = ("FloatPixelData", "DoubleFloatPixelData")


def read_stored(
    path: Path, dataset: Dataset, allow_colour: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Stored values [frames, rows, columns], and the same before unused bits were cleared.

    Args:
        path: of the file, for messages and its size.
        dataset: as `headers.read_header` opened it.
        allow_colour: read a colour image whose colours are all grey, see `colour.decode_grey`.

    Returns:
        Both in the byte order of this machine, whatever that of the file.

    Raises:
        SeriesError: see `values.read_frames`.
    """
    rows, columns = (integer(dataset, name) or 0 for name in ("Rows", "Columns"))
    count = num_frames(dataset)
    plain = _read_plain(path, dataset, (count, rows, columns))
    if plain is not None:
        return _used_bits(plain, dataset), plain
    with_colour = is_colour(dataset)
    try:
        _check_decodable(path, dataset, rows * columns * count, allow_colour)
        raw = decode_grey(path, dataset) if with_colour else _decoded(dataset, count)
    except SeriesError:
        raise
    except Exception as error:
        raise SeriesError(
            f"The pixel data of {path.name} cannot be read: the file is truncated or damaged "
            f"({type(error).__name__}). Copy it again."
        ) from error
    expected = (rows, columns) if count == 1 else (count, rows, columns)
    if raw.shape != expected:
        raise SeriesError(
            f"{path.name} holds an image of shape {raw.shape} where {expected} was "
            "promised. Copy it again."
        )
    raw = raw.reshape(count, rows, columns)
    # Whoever takes another view of the values would swap their bytes.
    raw = raw.astype(raw.dtype.newbyteorder("="), copy=False)
    return (raw if with_colour else _used_bits(raw, dataset)), raw


def _decoded(dataset: Dataset, count: int) -> np.ndarray:
    if is_extended(dataset):
        raw = decode_extended(dataset)
        return raw[0] if count == 1 else raw
    syntax = dataset.file_meta.TransferSyntaxUID
    # pydicom takes the lowest bits for the pixel, whatever HighBit says: see `_used_bits`.
    raw, _ = get_decoder(syntax).as_array(
        dataset, raw=True, correct_unused_bits=not _keeps_container(dataset)
    )
    return raw


def _keeps_container(dataset: Dataset) -> bool:
    """Whether decoding gives the bits beside the pixel as well; other codecs give the value."""
    syntax = dataset.file_meta.TransferSyntaxUID
    return not syntax.is_encapsulated or syntax == RLELossless


def _read_plain(path: Path, dataset: Dataset, shape: tuple[int, int, int]) -> np.ndarray | None:
    """Uncompressed grey values of 16 bits straight from the file, where all is as it should be and
    pydicom, which takes much longer, would give the same; else None."""
    found = element(dataset, "PixelData")
    signed = integer(dataset, "PixelRepresentation")
    is_plain = (
        isinstance(found, RawDataElement)
        and found.value is None
        and found.length == 2 * math.prod(shape) > 0
        and text(dataset.file_meta, "TransferSyntaxUID") in _LITTLE_ENDIAN
        and (not has(dataset, "NumberOfFrames") or integer(dataset, "NumberOfFrames") == shape[0])
        and integer(dataset, "SamplesPerPixel") == 1
        and integer(dataset, "BitsAllocated") == 16
        and 1 <= (integer(dataset, "BitsStored") or 0) <= 16
        and signed in (0, 1)
        and text(dataset, "PhotometricInterpretation") in ("MONOCHROME1", "MONOCHROME2")
        and not any(has(dataset, name) for name in _FLOAT_PIXELS)
    )
    if not is_plain:
        return None
    kind = np.dtype("<i2" if signed else "<u2")
    try:
        values = np.empty(shape, kind)
        with open(path, "rb", buffering=0) as file:
            file.seek(found.value_tell)
            # A file that is cut short gives fewer.
            return values if file.readinto(values.data.cast("B")) == values.nbytes else None
    except OSError:
        return None


def _check_decodable(path: Path, dataset: Dataset, num_pixels: int, allow_colour: bool) -> None:
    if is_colour(dataset) and not allow_colour:
        raise SeriesError(
            f"{path.name} is a colour image, not a slice of grey values. Remove it from the series."
        )
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise SeriesError(
            f"{path.name} does not say how its pixels are encoded (no transfer syntax). Export "
            "the series again."
        )
    if not any(k in dataset for k in ("PixelData", *_FLOAT_PIXELS)):
        raise SeriesError(f"{path.name} has no pixel data: it is truncated. Copy it again.")
    samples = integer(dataset, "SamplesPerPixel") or 1
    needed = samples * num_pixels * max(2, (integer(dataset, "BitsAllocated") or 16) // 8)
    limit = max_bytes(path)
    if needed > limit:
        raise SeriesError(
            f"{path.name} promises {needed / 2**20:,.0f} MB of pixels, too much for a file of its "
            "size: its header is damaged or made to harm. Copy it again."
        )
    if syntax.is_encapsulated:
        try:
            available = is_extended(dataset) or get_decoder(syntax).is_available
        except NotImplementedError:
            raise SeriesError(
                f"{path.name} is compressed in a way that cannot be read ({syntax.name}). Export "
                "the series uncompressed."
            ) from None
        if not available:
            raise SeriesError(
                f"{path.name} is compressed ({syntax.name}) and the codec is not installed. "
                'Install it with: pip install "msk_jax[codecs]"'
            )
        check_size(path, dataset)


def _used_bits(raw: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Clear what old files keep beside the pixel (overlays), and spread the sign (PS3.5 8.1.1)."""
    bits, allocated = integer(dataset, "BitsStored"), raw.dtype.itemsize * 8
    if raw.dtype.kind not in "iu" or not bits or bits >= allocated or bits < 1:
        return raw
    low = max(0, (integer(dataset, "HighBit") or bits - 1) + 1 - bits)
    up = allocated - bits - low
    if up < 0:
        return raw
    if low == 0 and raw.dtype.kind == "u" and raw.size and raw.max() < 2**bits:
        return raw  # as nearly always: there is nothing beside the pixel
    if not _keeps_container(dataset):
        return raw
    return np.right_shift(np.left_shift(raw, raw.dtype.type(up)), raw.dtype.type(up + low))
