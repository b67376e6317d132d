"""The tags of TIFF and BigTIFF files, in either byte order."""

import struct
from collections.abc import Iterator
from typing import BinaryIO

MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""The first four bytes of a TIFF or BigTIFF file."""

Tags = dict[int, tuple]
"""Numbers by tag; of a rational one the quotient."""

_TYPES = {
    1: "B",
    2: "B",
    3: "H",
    4: "I",
    5: "II",
    6: "b",
    7: "B",
    8: "h",
    9: "i",
    10: "ii",
    11: "f",
    12: "d",
    13: "I",
    16: "Q",
    17: "q",
    18: "Q",
}
_RATIONAL = (5, 10)
_READ = frozenset(
    (
        254,
        255,
        256,
        257,
        258,
        259,
        262,
        266,
        273,
        274,
        277,
        278,
        279,
        282,
        283,
        284,
        292,
        293,
        296,
        317,
        320,
        322,
        323,
        324,
        325,
        338,
        339,
        347,
        530,
    )
)
"""Tags that say how pixels are stored, and what they mean."""
_MAX_BYTES = 2**22
"""Of one tag: a million segments."""
_MAX_PAGES = 10_000
_SUBFILE, _OLD_SUBFILE = 254, 255


def byte_order(head: bytes) -> str:
    """`<` or `>`, of the first bytes of a file."""
    return "<" if head[:1] == b"I" else ">"


def pages(file: BinaryIO) -> Iterator[Tags]:
    """The tags of each page of an open file, but of smaller copies of a page.

    Raises:
        ValueError: the file ends before they do.
    """
    head = _read(file, 0, 16)
    order, is_big = byte_order(head), 43 in head[2:4]
    offset = struct.unpack_from(f"{order}Q" if is_big else f"{order}I", head, 8 if is_big else 4)[0]
    visited: set[int] = set()
    while offset and offset not in visited and len(visited) < _MAX_PAGES:
        visited.add(offset)
        tags, offset = _directory(file, offset, order, is_big)
        is_smaller_copy = number(tags, _SUBFILE, 0) & 1 or number(tags, _OLD_SUBFILE, 1) == 2
        if not is_smaller_copy:
            yield tags


def number(tags: Tags, tag: int, default=None):
    """The first number of a tag."""
    return tags[tag][0] if tags.get(tag) else default


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    found = file.read(length)
    if len(found) < length and offset:
        raise ValueError("the file ends before its tags do")
    return found.ljust(length, b"\0")


def _directory(file: BinaryIO, offset: int, order: str, is_big: bool) -> tuple[Tags, int]:
    """The tags at an offset, and the offset of the next page."""
    count_format, entry_format = ("Q", "HHQ8s") if is_big else ("H", "HHI4s")
    start = struct.calcsize(f"<{count_format}")
    count = struct.unpack(f"{order}{count_format}", _read(file, offset, start))[0]
    size = struct.calcsize(f"<{entry_format}")
    block = _read(file, offset + start, min(count, 2**16) * size)
    tags = {}
    for entry in struct.iter_unpack(f"{order}{entry_format}", block):
        tag, kind, length, inline = entry
        bytes_due = length * struct.calcsize(f"<{_TYPES.get(kind, '')}")
        if tag not in _READ or not 0 < bytes_due <= _MAX_BYTES:
            continue
        if bytes_due <= len(inline):
            data = inline[:bytes_due]
        else:
            place = struct.unpack(f"{order}{'Q' if is_big else 'I'}", inline)[0]
            file.seek(place)
            data = file.read(bytes_due)
        if len(data) == bytes_due:  # what is cut off counts as missing
            tags[tag] = _values(data, kind, length, order)
    end = offset + start + len(block)
    following = file.seek(end) and file.read(8 if is_big else 4)
    if len(following) < (8 if is_big else 4):  # as some writers leave it
        return tags, 0
    return tags, struct.unpack(f"{order}{'Q' if is_big else 'I'}", following)[0]


def _values(data: bytes, kind: int, length: int, order: str) -> tuple:
    letter = _TYPES[kind][0]
    if kind not in _RATIONAL:
        return struct.unpack(f"{order}{length}{letter}", data)
    parts = struct.unpack(f"{order}{2 * length}{letter}", data)
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return tuple(above / below if below else float("nan") for above, below in pairs)
