"""TIFF files as they are stored: their samples, without what a library makes of them.

Pillow cuts 16 bits of colour to 8, passes over WhiteIsZero in grey values of 16 bits, and turns a
picture in place. So its decoders (libtiff) serve here, but each strip or tile is given to them as
rows of bytes, and what the bytes mean is worked out from the tags (TIFF 6.0, Adobe 1992; Adobe's
technical notes on deflate and on floating-point prediction).
"""

import io
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL.TiffImagePlugin import TiffImageFile

from msk_jax.data.dicom.headers import max_bytes
from msk_jax.data.images.samples import Samples
from msk_jax.data.images.tiff_tags import Tags, byte_order, number, pages
from msk_jax.errors import SeriesError

_PLAIN = 1
_OF_BYTES = (5, 8, 32773, 32946, 50000)  # LZW, deflate, PackBits, deflate, Zstd
_JPEG = 7
_OF_PICTURES = (2, 3, 4, _JPEG)  # three of CCITT
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_CHANNELS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}
_COLOURS = {_RGB: "rgb", _PALETTE: "rgb", _CMYK: "cmyk", _YCBCR: "rgb"}
_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}  # unsigned, signed, floating; 4: not said
_WHOLE_BYTES = {"u": (8, 16, 32, 64), "i": (8, 16, 32, 64), "f": (16, 32, 64)}
_MAX_SAMPLES = 16
_ASSOCIATED, _UNASSOCIATED = 1, 2
_DIFFERENCES, _FLOATING_DIFFERENCES = 2, 3
_INCHES = {2: 1.0, 3: 2.54}
_REVERSED = bytes(int(f"{k:08b}"[::-1], 2) for k in range(256))
_ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class _Layout:
    """How the one page is stored."""

    width: int
    height: int
    samples: int
    together: int
    """Samples of a pixel that lie in one segment: all, or 1 where each has segments of its own."""

    bits: int
    kind: str
    """`u`, `i` or `f`."""

    order: str
    """`<` or `>`."""

    compression: int
    predictor: int
    photometric: int
    block: tuple[int, int]
    """Rows and columns of a segment, which is a strip or a tile."""

    is_tiled: bool

    @property
    def grid(self) -> tuple[int, int]:
        """Segments down and across."""
        return -(-self.height // self.block[0]), -(-self.width // self.block[1])

    @property
    def row_bytes(self) -> int:
        """Of a row of a segment."""
        return -(-self.block[1] * self.together * self.bits // 8)

    @property
    def bytes_unpacked(self) -> int:
        """Of all segments of a plane."""
        down, across = self.grid
        return down * across * self.block[0] * self.row_bytes

    @property
    def rows(self) -> list[int]:
        """Of each segment of a plane; the last strip may be shorter."""
        down, across = self.grid
        full = [self.block[0]] * (down * across)
        return full if self.is_tiled else [*full[:-1], self.height - (down - 1) * self.block[0]]


def read_tiff(path: Path) -> Samples:
    """Read the one page of a TIFF or BigTIFF file.

    Strips and tiles, either byte order, samples side by side or in planes of their own, whole
    numbers of 1 to 64 bits, floating point, WhiteIsZero and BlackIsZero, palettes, RGB, CMYK,
    alpha; uncompressed, LZW, deflate, PackBits, Zstd, CCITT and JPEG, with either predictor.

    Raises:
        SeriesError: several pages, another photometric interpretation or compression, too large.
        Exception: whatever a damaged file leads to.
    """
    with path.open("rb") as file:
        order = byte_order(file.read(4))
        found = []
        for tags in pages(file):
            found.append(tags)
            if len(found) > 1:
                raise SeriesError(f"{path.name} has several pages. Save the one that is meant.")
        if not found:
            raise ValueError("no page")
        tags = found[0]
        layout = _layout(tags, order, path)
        if layout.bytes_unpacked > max_bytes(path):
            raise ValueError("segments far larger than the picture")
        planes = [_plane(file, tags, layout, k) for k in range(layout.samples // layout.together)]
    values = np.concatenate(planes, axis=2) if len(planes) > 1 else planes[0]
    return _meaning(values, tags, layout)


def _layout(tags: Tags, order: str, path: Path) -> _Layout:
    width, height, samples = (number(tags, t, d) for t, d in ((256, 0), (257, 0), (277, 1)))
    bits, formats = set(tags.get(258, (1,))), set(tags.get(339, (1,)))
    photometric, compression = number(tags, 262, -1), number(tags, 259, 1)
    predictor = number(tags, 317, 1)
    needed = width * height * samples * max(4, max(bits) // 8)
    if needed > max_bytes(path):
        raise SeriesError(
            f"{path.name} promises {width} x {height} pixels, too many for a file of its size: it "
            "is damaged or made to harm. Remove it."
        )
    is_jpeg = compression == _JPEG
    if photometric not in _CHANNELS or (photometric == _YCBCR and not is_jpeg):
        raise _unread(path, f"colours of another kind (photometric interpretation {photometric})")
    if compression not in (_PLAIN, *_OF_BYTES, *_OF_PICTURES):
        raise _unread(path, f"another compression (number {compression})")
    kind, bits = _KINDS.get(min(formats), ""), bits.pop() if len(bits) == 1 else 0
    is_number = len(formats) == 1 and kind and bits
    is_known = is_number and (bits in _WHOLE_BYTES[kind] or (kind == "u" and 0 < bits < 16))
    if not is_known or not _CHANNELS[photometric] <= samples <= _MAX_SAMPLES:
        raise _unread(path, f"{samples} sample(s) of {bits or 'various'} bits a pixel")
    if (compression in _OF_PICTURES and bits != (8 if is_jpeg else 1)) or (
        predictor not in (1, _DIFFERENCES, _FLOATING_DIFFERENCES)
        or (predictor != 1 and bits not in _WHOLE_BYTES[kind])
        or (predictor == _FLOATING_DIFFERENCES and kind != "f")
    ):
        raise _unread(path, f"{bits} bits in compression {compression} with predictor {predictor}")
    is_tiled = 324 in tags
    block = (
        (number(tags, 323), number(tags, 322))
        if is_tiled
        else (min(number(tags, 278, height), height), width)
    )
    together = 1 if number(tags, 284, 1) == 2 else samples
    if min(width, height, *block) < 1:
        raise ValueError("a side of no length")
    return _Layout(
        width,
        height,
        samples,
        together,
        bits,
        kind,
        order,
        compression,
        predictor,
        photometric,
        block,
        is_tiled,
    )


def _unread(path: Path, what: str) -> SeriesError:
    return SeriesError(
        f"{path.name} is a TIFF file with {what}, which is not read. Save it as grey values of 8 "
        "or 16 bits, uncompressed or LZW."
    )


def _plane(file: BinaryIO, tags: Tags, layout: _Layout, plane: int) -> np.ndarray:
    """Samples [rows, columns, samples of a segment] of all segments of one plane."""
    rows = layout.rows
    mine = slice(plane * len(rows), (plane + 1) * len(rows))
    offsets, counts = (tags.get(t) for t in ((324, 325) if layout.is_tiled else (273, 279)))
    # Of what is not compressed, old files leave the counts out or count too much.
    is_plain = layout.compression == _PLAIN
    counts = [n * layout.row_bytes for n in rows] if is_plain else counts[mine]
    if len(offsets[mine]) != len(rows) or sum(counts) > os.fstat(file.fileno()).st_size:
        raise ValueError("segments are missing, or said to be longer than the file")
    segments = []
    for offset, count in zip(offsets[mine], counts, strict=True):
        file.seek(offset)
        segment = file.read(count)
        segments.append(segment.translate(_REVERSED) if number(tags, 266, 1) == 2 else segment)
    down, across = layout.grid
    values = _decoded(segments, tags, layout).reshape(down, across, *layout.block, layout.together)
    values = values.transpose(0, 2, 1, 3, 4)
    values = values.reshape(down * layout.block[0], across * layout.block[1], layout.together)
    return values[: layout.height, : layout.width]


def _decoded(segments: list[bytes], tags: Tags, layout: _Layout) -> np.ndarray:
    """Samples [segments, rows, columns, samples]."""
    shape = (len(segments), *layout.block, layout.together)
    total = sum(layout.rows)
    if layout.compression in _OF_PICTURES:
        pixels = _by_libtiff(segments, tags, layout, layout.block[1])
        pixels = pixels.astype(np.uint8).reshape(total, layout.block[1], layout.together)
        return _filled(pixels, (shape[0] * shape[1], *shape[2:])).reshape(shape)
    if layout.compression == _PLAIN:
        rows = np.frombuffer(b"".join(segments), np.uint8).reshape(total, layout.row_bytes)
    else:
        rows = _by_libtiff(segments, tags, layout, layout.row_bytes)
    rows = _filled(rows, (shape[0] * shape[1], layout.row_bytes))
    return _numbers(rows, layout).reshape(shape)


def _filled(rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """With rows of nought below, where the last strip is shorter."""
    if rows.shape == shape:
        return rows
    filled = np.zeros(shape, rows.dtype)
    filled[: len(rows)] = rows
    return filled


def _by_libtiff(segments: list[bytes], tags: Tags, layout: _Layout, width: int) -> np.ndarray:
    """What compressed segments hold, one below the other, as a picture of `width` pixels.

    Compressions of bytes know nothing of pixels, so that a row of any samples may be called a row
    of grey values of 8 bits. JPEG and CCITT compress pictures and give these, YCbCr as RGB.
    """
    entries = {
        256: width,
        257: sum(layout.rows),
        258: 8,
        259: layout.compression,
        262: _BLACK_IS_ZERO,
        277: 1,
        278: layout.block[0],
    }
    if layout.compression in _OF_PICTURES:
        is_grey = _CHANNELS[layout.photometric] == 1
        entries[258] = (layout.bits,) * layout.together
        entries[262] = _BLACK_IS_ZERO if is_grey else layout.photometric
        entries[277] = layout.together
        entries |= {tag: tags[tag] for tag in (292, 293, 347, 530) if tag in tags}
    picture = TiffImageFile(io.BytesIO(_tiff_of(segments, entries)))
    return np.asarray(picture)


def _tiff_of(segments: list[bytes], entries: dict) -> bytes:
    """A little-endian TIFF file of these strips and tags."""
    ends = np.cumsum([len(segment) for segment in segments]).tolist()
    entries = {
        **entries,
        273: [8 + end - len(segment) for end, segment in zip(ends, segments, strict=True)],
        279: [len(segment) for segment in segments],
    }
    values = [np.atleast_1d(value).tolist() for _, value in sorted(entries.items())]
    directory = 8 + ends[-1] + ends[-1] % 2
    after = directory + 2 + 12 * len(values) + 4
    head, tail = struct.pack("<H", len(values)), b""
    for tag, numbers in zip(sorted(entries), values, strict=True):
        is_bytes = tag == 347  # tables of JPEG
        kind, letter = (
            (7, "B") if is_bytes else (4, "I") if tag in (256, 257, 273, 278, 279) else (3, "H")
        )
        packed = struct.pack(f"<{len(numbers)}{letter}", *numbers)
        inline = packed.ljust(4, b"\0")
        if len(packed) > 4:
            inline = struct.pack("<I", after + len(tail))
            tail += packed + b"\0" * (len(packed) % 2)
        head += struct.pack("<HHI", tag, kind, len(numbers)) + inline
    body = b"".join(segments) + b"\0" * (ends[-1] % 2)
    return struct.pack("<2sHI", b"II", 42, directory) + body + head + b"\0" * 4 + tail


def _numbers(rows: np.ndarray, layout: _Layout) -> np.ndarray:
    """Bytes [rows, bytes] as samples [rows, columns, samples]."""
    shape = (len(rows), layout.block[1], layout.together)
    if layout.bits not in _WHOLE_BYTES[layout.kind]:
        return _packed_numbers(rows, layout.bits, layout.block[1] * layout.together).reshape(shape)
    size = layout.bits // 8
    if layout.predictor == _FLOATING_DIFFERENCES:
        # Differences of bytes, of which all highest ones of a row come first.
        summed = np.cumsum(rows.reshape(len(rows), -1, layout.together), axis=1, dtype=np.uint8)
        ordered = summed.reshape(len(rows), size, -1).transpose(0, 2, 1)
        return np.ascontiguousarray(ordered).view(f">f{size}").reshape(shape)
    values = np.ascontiguousarray(rows).view(f"{layout.order}{layout.kind}{size}").reshape(shape)
    if layout.predictor == _DIFFERENCES:
        whole = values.view(f"{layout.order}u{size}")
        values = np.cumsum(whole, axis=1, dtype=f"u{size}").view(f"{layout.kind}{size}")
    return values


def _packed_numbers(rows: np.ndarray, bits: int, count: int) -> np.ndarray:
    """`count` whole numbers of fewer than 16 bits a row, the highest bit first."""
    values = np.empty((len(rows), count), np.uint16)
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        some = np.unpackbits(rows[first : first + _ROWS_AT_ONCE], axis=1)[:, : count * bits]
        padded = np.zeros((len(some), count, 16), np.uint8)
        padded[:, :, 16 - bits :] = some.reshape(len(some), count, bits)
        values[first : first + len(some)] = np.packbits(padded, axis=2).view(">u2")[..., 0]
    return values


def _meaning(values: np.ndarray, tags: Tags, layout: _Layout) -> Samples:
    """Samples as light, colours and opacity."""
    channels = _CHANNELS[layout.photometric]
    opacity = None
    for place, use in enumerate(tags.get(338, ()), channels):
        if use in (_ASSOCIATED, _UNASSOCIATED) and place < values.shape[2] and opacity is None:
            opacity = values[..., place].astype(np.float32)
            opacity /= 1 if layout.kind == "f" else 2 ** (layout.bits - (layout.kind == "i")) - 1
            is_multiplied = use == _ASSOCIATED and (opacity < 1).any()
    values = values[..., :channels]
    if opacity is not None and is_multiplied:
        values = values / np.where(opacity > 0, opacity, 1)[..., None]
    if layout.photometric == _PALETTE:
        colours = np.array(tags[320], np.uint16).reshape(3, -1)
        values = colours[:, values[..., 0]].transpose(1, 2, 0)
    elif layout.photometric == _WHITE_IS_ZERO:
        values = _inverted(values, layout)
    return Samples(
        values=values,
        colour=_COLOURS.get(layout.photometric, "grey"),
        opacity=opacity,
        orientation=int(number(tags, 274, 1)),
        per_inch=_per_inch(tags),
    )


def _inverted(values: np.ndarray, layout: _Layout) -> np.ndarray:
    """Whole numbers within the range of their bits, others within their own."""
    if values.dtype.kind == "f":
        return values.max() + values.min() - values
    if layout.kind == "i":
        return -1 - values
    return values.dtype.type(2**layout.bits - 1) - values


def _per_inch(tags: Tags) -> tuple[float, float] | None:
    across, down = number(tags, 282), number(tags, 283)
    inches = _INCHES.get(number(tags, 296, 2))
    if across is None or down is None or inches is None:
        return None
    return across * inches, down * inches
