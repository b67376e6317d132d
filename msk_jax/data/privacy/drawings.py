"""What a DICOM file draws or says beside its pixels: overlays, curves, bits of the pixel's word
that are no pixel, comments in compressed frames, bytes after the end.

Pixels stay as they are: where what is beside them cannot be taken away, the file is refused. What
is drawn into the pixels themselves is not looked at.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.pixels import get_decoder, get_encoder
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from msk_jax.data.dicom.headers import integer, num_frames, text
from msk_jax.data.pixels.codestream import frame_bits
from msk_jax.data.pixels.pixel_bits import cleared, unused_bits, words_of
from msk_jax.data.pixels.streams import StreamError, Stripped, rle_stripped, stripped
from msk_jax.errors import SeriesError

PIXELS = {"PixelData": 0, "FloatPixelData": 4, "DoubleFloatPixelData": 8}
"""Bytes of a value; 0: BitsAllocated says."""

_NATIVE = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)
# JPEG (also its retired processes), JPEG-LS, JPEG 2000 and its high-throughput kind (PS3.6 A-1).
_STREAMS = {
    f"1.2.840.10008.1.2.4.{k}" for k in (*range(50, 67), 70, 80, 81, *range(90, 94), 201, 202, 203)
}
_ITEM = b"\xfe\xff\x00\xe0"
_OFFSETS, _LENGTHS = "ExtendedOffsetTable", "ExtendedOffsetTableLengths"
_SAYING = ("OB", "OW", "UN", "LO", "LT", "SH", "ST", "UT")


def is_drawing(tag) -> bool:
    """Whether a tag belongs to a curve or an overlay (groups 50xx and 60xx)."""
    return tag.group & 0xFF00 in (0x5000, 0x6000) and not tag.is_private


def overlays_and_curves(dataset: Dataset) -> set[str]:
    """Names of those, nested ones too, that hold anything but their sizes."""
    names = set()
    for element in dataset:
        if element.VR == "SQ":
            names |= {name for item in element.value or () for name in overlays_and_curves(item)}
        elif is_drawing(element.tag) and element.VR in _SAYING:
            value = element.value or b""
            if value.strip(b"\0") if isinstance(value, bytes) else str(value).strip():
                kind = "overlay" if element.tag.group >= 0x6000 else "curve"
                names.add(f"{kind} {element.tag.group:04X}")
    return names


def clean_pixel_data(dataset: Dataset) -> None:
    """Clear what is beside the pixels, in place.

    Args:
        dataset: with its file meta information and its overlays: they say where bits are theirs.

    Raises:
        SeriesError: it cannot be told what is beside the pixels, or it cannot be cleared without
            compressing them anew.
    """
    for keyword in PIXELS:
        if dataset.get(keyword) and _is_encapsulated(dataset):
            _clean_frames(dataset)
        elif dataset.get(keyword):
            dataset[keyword].value = _clean_native(dataset, keyword)
    if "PixelDataProviderURL" in dataset:
        raise SeriesError("The pixels lie on a server (PixelDataProviderURL). Export the image.")


def has_bits_beside(dataset: Dataset) -> bool:
    """Whether bits beside the pixel say anything.

    Raises:
        SeriesError: they cannot be looked at.
    """
    if not dataset.get("PixelData"):
        return False
    if _is_encapsulated(dataset):
        return any(
            _decoded_and_cleared(dataset, k, frame) for k, frame in enumerate(_frames(dataset))
        )
    if integer(dataset, "BitsAllocated") == 1:
        return False
    words = words_of(_in_order(dataset, "PixelData")[: _num_bytes(dataset, "PixelData")], dataset)
    return cleared(words, dataset) is not words


def said_beside_pixels(dataset: Dataset) -> Iterator[bytes]:
    """Comments, application data and boxes of compressed frames, and what follows the pixels.

    Raises:
        SeriesError: a frame cannot be looked into.
    """
    for keyword in PIXELS:
        if dataset.get(keyword) and _is_encapsulated(dataset):
            for frame in _frames(dataset):
                parts = _strip(dataset, frame)
                yield from (frame,) if parts is None else parts.removed
        elif dataset.get(keyword):
            yield _in_order(dataset, keyword)[_num_bytes(dataset, keyword) :]


def _is_encapsulated(dataset: Dataset) -> bool:
    """Whether the pixels are compressed frames.

    Raises:
        SeriesError: they are not what the transfer syntax says, or that cannot be looked into.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax not in (*_NATIVE, *_STREAMS, RLELossless):
        raise SeriesError(
            f"The pixels are stored in a way that cannot be looked into ({syntax.name}), so that "
            "comments in it would stay. Export the image uncompressed."
        )
    if "PixelData" in dataset and (dataset.PixelData[:4] == _ITEM) == (syntax in _NATIVE):
        raise SeriesError(
            f"The pixels are not stored as the file says ({syntax.name}). Export the image again."
        )
    return syntax not in _NATIVE


def _clean_native(dataset: Dataset, keyword: str) -> bytes:
    num_bytes = _num_bytes(dataset, keyword)
    data = _in_order(dataset, keyword)[:num_bytes]
    if keyword == "PixelData" and integer(dataset, "BitsAllocated") == 1:
        unused = -get_expected_length(dataset, "pixels") % 8
        if len(data) == num_bytes and unused:
            data = data[:-1] + bytes([data[-1] & 0xFF >> unused])
    elif keyword == "PixelData":
        words = words_of(data, dataset)
        data = cleared(words, dataset).astype(words.dtype, copy=False).tobytes()
    return _swapped(dataset, keyword, data + b"\0" * (len(data) % 2))


def _in_order(dataset: Dataset, keyword: str) -> bytes:
    return _swapped(dataset, keyword, dataset[keyword].value)


def _swapped(dataset: Dataset, keyword: str, data: bytes) -> bytes:
    """Bytes of pixels in their order: in big-endian words of two, the first is the second."""
    is_swapped = (
        dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian
        and dataset[keyword].VR == "OW"
        and (integer(dataset, "BitsAllocated") or 0) <= 8
        and len(data) % 2 == 0
    )
    return np.frombuffer(data, "u2").byteswap().tobytes() if is_swapped else data


def _num_bytes(dataset: Dataset, keyword: str) -> int:
    """Bytes of pixels, without the one that makes their number even."""
    try:
        if PIXELS[keyword]:
            pixels = (integer(dataset, "Rows") or 0) * (integer(dataset, "Columns") or 0)
            return pixels * num_frames(dataset) * PIXELS[keyword]
        expected = get_expected_length(dataset)
    except Exception as error:
        raise SeriesError(
            "The header does not say how large the image is, so that it cannot be told what is "
            "beside its pixels. Export it again."
        ) from error
    if text(dataset, "PhotometricInterpretation") == "YBR_FULL_422":
        whole = expected // 2 * 3  # some files say so of colours that are not halved
        return whole if len(dataset.PixelData) >= whole else expected
    return expected


def _frames(dataset: Dataset) -> list[bytes]:
    tables = dataset.get(_OFFSETS), dataset.get(_LENGTHS)
    count = num_frames(dataset)
    try:
        frames = list(
            generate_frames(
                dataset.PixelData,
                number_of_frames=count,
                extended_offsets=tables if all(tables) else None,
            )
        )
    except Exception as error:
        raise SeriesError(
            f"The compressed frames cannot be told apart ({type(error).__name__}). Export the "
            "image again."
        ) from error
    if len(frames) < count:
        raise SeriesError(
            f"The file promises {count} frames and has {len(frames)}. Export the image again."
        )
    return frames


def _strip(dataset: Dataset, frame: bytes) -> Stripped | None:
    """See `streams.stripped`; None: a frame of RLE that has to be written anew."""
    try:
        if dataset.file_meta.TransferSyntaxUID != RLELossless:
            return stripped(frame)
        rows, columns, samples, allocated = (
            integer(dataset, name) or 0
            for name in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
        )
        return rle_stripped(frame, samples * allocated // 8, rows * columns)
    except StreamError as error:
        raise SeriesError(
            f"A compressed frame {error}, so that comments in it cannot be taken out. Export the "
            "image uncompressed."
        ) from error


def _decoded_and_cleared(dataset: Dataset, index: int, frame: bytes) -> np.ndarray | None:
    """The pixels of a compressed frame, where its words hold anything beside them; else None.

    Raises:
        SeriesError: they may, and cannot be decoded.
    """
    allocated = integer(dataset, "BitsAllocated") or 0
    below, above = unused_bits(dataset, allocated)
    is_rle = dataset.file_meta.TransferSyntaxUID == RLELossless
    bits = allocated if is_rle else frame_bits(frame)
    if below == 0 and (above == 0 or (bits is not None and bits <= allocated - above)):
        return None
    values = _decoded(dataset, index)
    words = values.view(f"u{values.dtype.itemsize}")
    pixels = cleared(words, dataset)
    return None if pixels is words else pixels.view(values.dtype)


def _decoded(dataset: Dataset, index: int) -> np.ndarray:
    decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
    try:
        values, _ = decoder.as_array(dataset, index=index, raw=True, correct_unused_bits=False)
    except Exception as error:
        raise SeriesError(
            "The compressed words are longer than the pixels, and it cannot be seen what else is "
            f"in them ({type(error).__name__}). Export the image uncompressed."
        ) from error
    return values


def _clean_frames(dataset: Dataset) -> None:
    is_rle = dataset.file_meta.TransferSyntaxUID == RLELossless
    frames, has_lost = [], False
    for k, frame in enumerate(_frames(dataset)):
        parts, pixels = _strip(dataset, frame), _decoded_and_cleared(dataset, k, frame)
        if pixels is not None and not is_rle:
            raise SeriesError(
                "Bits beside the pixel are set, as of an overlay, and the frames are compressed. "
                "Export the image uncompressed."
            )
        if parts is None or pixels is not None:
            frames.append(_in_rle(dataset, _decoded(dataset, k) if pixels is None else pixels))
        else:
            frames.append(parts.kept)
            has_lost = has_lost or bool(parts.removed)
    before = _digests(dataset) if has_lost else None
    _put_frames(dataset, frames)
    if before and _digests(dataset) != before:
        raise SeriesError(
            "The compressed frames have other pixels without the comments and application data in "
            "them. Export the image uncompressed."
        )


def _put_frames(dataset: Dataset, frames: list[bytes]) -> None:
    """One fragment each, and a table of where they begin."""
    if _OFFSETS in dataset and _LENGTHS in dataset:
        data, offsets, lengths = encapsulate_extended(frames)
        dataset[_OFFSETS].value, dataset[_LENGTHS].value = offsets, lengths
    else:
        has_table = sum(map(len, frames)) + 9 * len(frames) < 2**32
        data = encapsulate(frames, has_bot=has_table)
        for name in {_OFFSETS, _LENGTHS} & set(dataset.dir()):
            del dataset[name]
    if "EncapsulatedPixelDataValueTotalLength" in dataset:
        del dataset.EncapsulatedPixelDataValueTotalLength
    dataset["PixelData"].value = data


def _in_rle(dataset: Dataset, values: np.ndarray) -> bytes:
    bits = 8 * values.dtype.itemsize
    return get_encoder(RLELossless).encode(
        values,
        rows=values.shape[0],
        columns=values.shape[1],
        number_of_frames=1,
        samples_per_pixel=integer(dataset, "SamplesPerPixel"),
        photometric_interpretation=text(dataset, "PhotometricInterpretation"),
        bits_allocated=bits,
        bits_stored=bits,
        pixel_representation=integer(dataset, "PixelRepresentation") or 0,
        planar_configuration=0,
    )


def _digests(dataset: Dataset) -> list[bytes] | None:
    """Of every decoded frame; None where there is no codec, or it cannot read them."""
    try:
        decoded = get_decoder(dataset.file_meta.TransferSyntaxUID).iter_array(dataset, raw=True)
        return [hashlib.sha256(values.tobytes()).digest() for values, _ in decoded]
    except Exception:
        return None
