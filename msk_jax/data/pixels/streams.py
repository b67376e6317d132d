"""Compressed frames without what is no part of the picture: comments, application data, boxes of
other kinds, and bytes after the end.

Nothing is decoded. What decides about a decoded value is kept, rewritten without its room for text:
the JFIF and Adobe segments (which colours these are) and `mrfx` (HP's colour transform in JPEG-LS).

Sources: ISO/IEC 10918-1 B.1 (JPEG), 14495-1 C.1 (JPEG-LS), 15444-1 A and I (JPEG 2000, JP2),
15444-15 (high throughput), DICOM PS3.5 Annex G (RLE).
"""

import itertools
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_JPEG_START, _JPEG_END, _SCAN, _COMMENT = 0xD8, 0xD9, 0xDA, 0xFE
_APPLICATION = range(0xE0, 0xF0)
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
_JPEG_CONTENT = {*range(0xC0, 0xD0), *range(0xDA, 0xE0), 0xF7, 0xF8} - {0xC8}
# In the data of a scan, 0xFF is followed by a zero bit at least (JPEG: a zero byte), or by a marker
# that restarts the decoder.
_END_OF_SCAN = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")

_J2K_START, _J2K_END, _TILE_PART, _TILE_DATA = 0x4F, 0xD9, 0x90, 0x93
_J2K_COMMENT, _TILE_LENGTHS = 0x64, 0x55
_J2K_CONTENT = {
    *range(0x50, 0x60),
    0x60,
    0x61,
    0x63,
    *range(0x72, 0x7A),
    _TILE_LENGTHS,
}

_JP2_MARK = b"\0\0\0\x0cjP  \r\n\x87\n"
_JP2_KIND = b"\0\0\0\x14ftypjp2 \0\0\0\0jp2 "
_HEADER_BOXES = {b"ihdr", b"bpcc", b"colr", b"pclr", b"cmap", b"cdef", b"res "}

_RLE_HEADER = struct.Struct("<16I")


class StreamError(ValueError):
    """A frame that cannot be looked into; the message ends the sentence "The frame ..."."""


@dataclass(frozen=True)
class Stripped:
    """A frame in two."""

    kept: bytes
    """What a decoder needs."""

    removed: tuple[bytes, ...]
    """What was beside it, piece by piece."""


def stripped(frame: bytes) -> Stripped:
    """A frame of JPEG, JPEG-LS or JPEG 2000, bare or in a JP2 file, without what is no picture.

    Raises:
        StreamError: none of these, damaged, or it has segments of a kind that is unknown.
    """
    if frame[:2] == b"\xff\xd8":
        return _jpeg(frame)
    if frame[:2] == b"\xff\x4f":
        return _j2k(frame)
    if frame[4:8] == b"jP  ":
        return _jp2(frame)
    raise StreamError("begins like none of JPEG, JPEG-LS and JPEG 2000")


def jpeg_segments(frame: bytes) -> Iterator[tuple[int, int, int]]:
    """Markers of a JPEG or JPEG-LS frame after its first, and where what follows each begins and
    ends, the data of a scan as part of its header.

    Raises:
        StreamError: there is no marker where one must be, or a segment is longer than the frame.
    """
    place = 2
    while place < len(frame):
        start = place
        while frame[place : place + 1] == b"\xff":  # any number of them may fill up
            place += 1
        if place == start or place == len(frame):
            raise StreamError("is damaged (no marker where one must be)")
        marker, place = frame[place], place + 1
        end = place
        if marker != _JPEG_END and marker not in _ALONE:
            end = _segment_end(frame, place)
        if marker == _SCAN:
            following = _END_OF_SCAN.search(frame, end)
            end = following.start() if following else len(frame)
        yield marker, place, end
        if marker == _JPEG_END:
            return
        place = end


def boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kinds and contents of the boxes of a JP2 file, or of a box that holds boxes (15444-1 I.4).

    Raises:
        StreamError: a box is shorter than its own header.
    """
    place = 0
    while place + 8 <= len(content):
        length, kind = int.from_bytes(content[place : place + 4], "big"), content[place + 4 :][:4]
        start = place + (16 if length == 1 else 8)
        if length == 1:
            length = int.from_bytes(content[place + 8 : place + 16], "big")
        end = len(content) if length == 0 else place + length
        if end < start:
            raise StreamError("is damaged (a box shorter than its own header)")
        yield kind, content[start:end]
        place = end


def _segment_end(frame: bytes, place: int) -> int:
    """Where the segment ends whose length lies at `place`."""
    length = int.from_bytes(frame[place : place + 2], "big")
    if length < 2 or place + length > len(frame):
        raise StreamError("is damaged (a segment that is longer than the frame)")
    return place + length


def _jpeg(frame: bytes) -> Stripped:
    kept, removed, end = [frame[:2]], [], len(frame)
    for marker, start, end in jpeg_segments(frame):
        if marker in _APPLICATION or marker == _COMMENT:
            essential = _essential(marker, frame[start + 2 : end])
            kept.append(essential)
            if essential != b"\xff" + frame[start - 1 : end]:
                removed.append(frame[start + 2 : end])
        elif marker in _JPEG_CONTENT or marker in _ALONE or marker == _JPEG_END:
            kept.append(b"\xff" + frame[start - 1 : end])
        else:
            raise StreamError(f"has a segment of an unknown kind (0xFF{marker:02X})")
    return Stripped(b"".join(kept), (*removed, *_surplus(frame[end:])))


def _essential(marker: int, content: bytes) -> bytes:
    """What decoders go by in an application segment, as a segment of its own; b"": nothing."""
    if marker == 0xE0 and content[:5] == b"JFIF\0":
        return b"\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"
    if marker == 0xE8 and content[:4] == b"mrfx" and len(content) >= 5:
        return b"\xff\xe8\0\x07mrfx" + content[4:5]
    if marker == 0xEE and content[:5] == b"Adobe" and len(content) >= 12:
        return b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + content[11:12]
    return b""


def _surplus(rest: bytes) -> tuple[bytes, ...]:
    """What follows the end, if it is more than padding."""
    return (rest,) if rest.strip(b"\0") else ()


def _j2k(frame: bytes) -> Stripped:
    header, removed, place = _j2k_header(frame, 2, _TILE_PART)
    parts, shorter = [], []
    while frame[place : place + 2] == b"\xff\x90":
        part, comments, place = _tile_part(frame, place)
        removed += comments
        parts.append(part)
        shorter.append(sum(len(comment) + 4 for comment in comments))
    if not parts or (frame[place:].strip(b"\0") and frame[place : place + 2] != b"\xff\xd9"):
        raise StreamError("is damaged (no marker where one must be)")
    end = frame[place : place + 2]
    kept = [frame[:2], *_shortened(header, shorter), *parts, end if end == b"\xff\xd9" else b""]
    return Stripped(b"".join(kept), (*removed, *_surplus(frame[place + 2 :])))


def _j2k_header(frame: bytes, place: int, until: int) -> tuple[list[bytes], list[bytes], int]:
    """Segments that are kept and comments of a main or tile-part header, and where the marker
    `until` lies that ends it."""
    kept, comments = [], []
    while True:
        if frame[place : place + 1] != b"\xff" or place + 2 > len(frame):
            raise StreamError("is damaged (no marker where one must be)")
        marker = frame[place + 1]
        if marker == until:
            return kept, comments, place
        end = _segment_end(frame, place + 2)
        if marker == _J2K_COMMENT:
            comments.append(frame[place + 4 : end])
        elif marker in _J2K_CONTENT:
            kept.append(frame[place:end])
        else:
            raise StreamError(f"has a segment of an unknown kind (0xFF{marker:02X})")
        place = end


def _tile_part(frame: bytes, place: int) -> tuple[bytes, list[bytes], int]:
    """A tile-part without comments and with its new length, the comments, and where it ended."""
    start = _segment_end(frame, place + 2)
    if start - place != 12:
        raise StreamError("is damaged (the header of a tile-part has another length)")
    length = int.from_bytes(frame[place + 6 : place + 10], "big")
    kept, comments, data = _j2k_header(frame, start, _TILE_DATA)
    end = place + length
    if length == 0:  # it goes on to the end, and no marker occurs in its data (15444-1 A.4.2)
        end = frame.find(b"\xff\xd9", data)
        end = len(frame) if end < 0 else end
    elif end < data + 2:
        raise StreamError("is damaged (a tile-part shorter than its header)")
    new = length and length - sum(len(comment) + 4 for comment in comments)
    start_of_part = frame[place : place + 6] + new.to_bytes(4, "big") + frame[place + 10 : start]
    return start_of_part + b"".join(kept) + frame[data:end], comments, min(end, len(frame))


def _shortened(header: list[bytes], shorter: list[int]) -> list[bytes]:
    """A main header whose table of the lengths of tile-parts says by how much each is shorter."""
    changed, part = [], 0
    for segment in header:
        if segment[1] == _TILE_LENGTHS and any(shorter):
            index_bytes, length_bytes = segment[5] >> 4 & 3, 4 if segment[5] >> 6 & 1 else 2
            table = bytearray(segment)
            for entry in range(6, len(table) - length_bytes + 1, index_bytes + length_bytes):
                at = slice(entry + index_bytes, entry + index_bytes + length_bytes)
                less = shorter[part] if part < len(shorter) else 0
                length = max(0, int.from_bytes(table[at], "big") - less)
                table[at] = length.to_bytes(length_bytes, "big")
                part += 1
            segment = bytes(table)
        changed.append(segment)
    return changed


def _jp2(frame: bytes) -> Stripped:
    kept, removed = [_JP2_MARK, _JP2_KIND], []
    streams = 0
    for kind, content in boxes(frame):
        if kind == b"jp2h":
            inner = [(name, value) for name, value in boxes(content) if name in _HEADER_BOXES]
            removed += [v for name, v in boxes(content) if name not in _HEADER_BOXES]
            kept.append(_box(kind, b"".join(_box(*one) for one in inner)))
        elif kind == b"jp2c" and not streams:
            stream = _j2k(content)
            removed += stream.removed
            kept.append(_box(kind, stream.kept))
            streams += 1
        elif kind not in (b"jP  ", b"ftyp"):
            removed.append(content)
    if not streams:
        raise StreamError("is damaged (a JP2 file without a codestream)")
    return Stripped(b"".join(kept), tuple(removed))


def _box(kind: bytes, content: bytes) -> bytes:
    return (len(content) + 8).to_bytes(4, "big") + kind + content


def rle_stripped(frame: bytes, num_planes: int, plane_bytes: int) -> Stripped | None:
    """An RLE frame without what its segments, or the room between them, hold beside the pixels.

    Args:
        frame: with its header.
        num_planes: bytes of a pixel, of all its samples.
        plane_bytes: pixels of a frame.

    Returns:
        None where it cannot be cut, because the last run of a segment goes beyond its pixels.

    Raises:
        StreamError: the header does not fit the image, or a segment has fewer pixels.
    """
    if len(frame) < _RLE_HEADER.size:
        raise StreamError("is damaged (shorter than its header)")
    count, *offsets = _RLE_HEADER.unpack_from(frame)
    bounds = [*offsets[:count], len(frame)]
    if count != num_planes or bounds[0] < 64 or sorted(bounds) != bounds:
        raise StreamError("is damaged (its header does not fit the image)")
    segments, removed = [], [frame[4 + 4 * count : bounds[0]]]
    for start, end in itertools.pairwise(bounds):
        used = _packbits_length(frame[start:end], plane_bytes)
        if used is None:
            return None
        segment = frame[start : start + used]
        segments.append(segment + b"\0" * (len(segment) % 2))
        removed.append(frame[start + used : end])
    starts = [64 + sum(map(len, segments[:k])) for k in range(count)]
    header = _RLE_HEADER.pack(count, *starts, *[0] * (15 - count))
    pieces = tuple(piece for piece in removed if piece.strip(b"\0"))
    return Stripped(header + b"".join(segments), pieces)


def _packbits_length(segment: bytes, num_bytes: int) -> int | None:
    """How much of a segment unfolds to `num_bytes`; None where no run ends there."""
    place = unfolded = 0
    while unfolded < num_bytes:
        if place >= len(segment):
            raise StreamError("is damaged (a segment with too few pixels)")
        code = segment[place]
        if code < 128:
            unfolded, place = unfolded + code + 1, place + code + 2
        elif code > 128:
            unfolded, place = unfolded + 257 - code, place + 2
        else:
            place += 1
    return place if unfolded == num_bytes and place <= len(segment) else None
