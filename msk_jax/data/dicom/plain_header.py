"""Headers of files in Explicit VR Little Endian, in a fraction of pydicom's time.

The result is a data set of pydicom's, element by element what `pydicom.dcmread` gives; wherever a
file is anything but ordinary there is none, and pydicom must read it.
"""

import functools
import os
import struct
from collections.abc import Collection
from dataclasses import dataclass
from typing import BinaryIO

from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataelem import DataElement, RawDataElement, empty_value_for_VR
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.filereader import read_sequence
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, STANDARD_VR
from pydicom.values import convert_string

BLOCK = 8192
"""Bytes that are read at a time: as many as most headers have."""

_PREAMBLE = 132
_ELEMENT = struct.Struct("<HH2sH")
_LENGTH = struct.Struct("<I")
_UNDEFINED = 0xFFFFFFFF
_CHARACTER_SET = 0x00080005
_SYNTAX = 0x00020010
_AFTER_META = 0x00030000
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_DELIMITERS = 0xFFFE0000
# Name of a kind of value, and the bytes before the value.
_KINDS = {
    kind.value.encode(): (str(kind.value), 12 if kind in EXPLICIT_VR_LENGTH_32 else 8)
    for kind in STANDARD_VR
}

base_tag = functools.lru_cache(8192)(BaseTag)
"""The same object for the same tag: looked up in a data set, it is found without a comparison."""


@dataclass(frozen=True)
class Meta:
    """The meta information at the start of a file."""

    elements: dict[BaseTag, RawDataElement]
    end: int
    """Where the data set begins."""

    start: bytes
    """The first `BLOCK` bytes of the file."""

    @property
    def syntax(self) -> str | None:
        """The transfer syntax; None where it is not stated."""
        found = self.elements.get(base_tag(_SYNTAX))
        return found and (found.value or b"").rstrip(b"\0 ").decode("ascii", "replace")


def read_meta(file: BinaryIO) -> Meta | None:
    """The meta information of a file opened at its start; None where pydicom must look."""
    start = file.read(BLOCK)
    if start[_PREAMBLE - 4 : _PREAMBLE] != b"DICM":
        return None
    walked = _walk(file, start, _PREAMBLE, _AFTER_META)
    return walked and Meta(walked[0], walked[1], start)


def read_plain(
    file: BinaryIO,
    meta: Meta,
    defer_size: int | None = None,
    stop_before_pixels: bool = False,
    specific_tags: Collection[int] = (),
) -> FileDataset | None:
    """What `pydicom.dcmread` gives with the same options; None where it must be asked.

    Args:
        file: opened.
        meta: of this file.
        defer_size: longer values stay in the file until they are asked for.
        stop_before_pixels: leave out pixel data.
        specific_tags: leave out all others; () leaves out none.
    """
    if meta.syntax != ExplicitVRLittleEndian:
        return None
    limit = _PIXELS[0] if stop_before_pixels else _DELIMITERS
    walked = _walk(file, meta.start, meta.end, limit, defer_size, specific_tags)
    if walked is None or walked[2] not in (None, *_PIXELS):
        return None
    about = FileMetaDataset(meta.elements)
    about.set_original_encoding(False, True, default_encoding)
    found = FileDataset(file, walked[0], meta.start[: _PREAMBLE - 4], about, False, True)
    found.set_original_encoding(False, True, _encodings(walked[0]))
    return found


def _walk(
    file: BinaryIO,
    block: bytes,
    place: int,
    limit: int,
    defer_size: int | None = None,
    wanted: Collection[int] = (),
) -> tuple[dict[BaseTag, RawDataElement | DataElement], int, int | None] | None:
    """Elements below the tag `limit`, where the next one lies, and its tag (None: the file ends).

    None where tags do not rise, a kind of value is unknown, the character set is none of words, or
    the file ends within an element.
    """
    found, base, last, size = {}, 0, -1, os.fstat(file.fileno()).st_size
    while True:
        if place + 12 > len(block):
            if base + place == size:
                return found, size, None
            base, place, block = base + place, 0, _block_at(file, base + place, BLOCK)
            if len(block) < 12:
                return None
        group, element, kind, length = _ELEMENT.unpack_from(block, place)
        tag = group << 16 | element
        if tag >= limit:
            return found, base + place, tag
        if tag <= last or kind not in _KINDS or (tag == _CHARACTER_SET and kind != b"CS"):
            return None
        last, (kind, before) = tag, _KINDS[kind]
        if before == 12:
            (length,) = _LENGTH.unpack_from(block, place + 8)
        if length == _UNDEFINED:
            if kind != "SQ":
                return None
            file.seek(base + place + before)
            value = read_sequence(file, False, True, length, _encodings(found))
            if not wanted or tag in wanted:
                found[base_tag(tag)] = DataElement(
                    base_tag(tag), kind, value, base + place + before, is_undefined_length=True
                )
            place = file.tell() - base
            continue
        if base + place + before + length > size:
            return None
        if not wanted or tag in wanted or tag == _CHARACTER_SET:
            value = None
            if length == 0:
                value = empty_value_for_VR(kind, raw=True)
            elif defer_size is None or length <= defer_size or tag == _CHARACTER_SET:
                if place + before + length > len(block):
                    base, block = base + place, _block_at(file, base + place, before + length)
                    place = 0
                value = block[place + before : place + before + length]
            found[base_tag(tag)] = RawDataElement(
                base_tag(tag), kind, length, value, base + place + before, False, True
            )
        place += before + length


def _block_at(file: BinaryIO, place: int, length: int) -> bytes:
    file.seek(place)
    return file.read(max(BLOCK, length))


def _encodings(elements: dict) -> str | list[str]:
    """The character sets of a data set."""
    stated = elements.get(base_tag(_CHARACTER_SET))
    return default_encoding if stated is None else list(_encodings_of(stated.value or b""))


@functools.lru_cache(64)
def _encodings_of(value: bytes) -> list[str]:
    return convert_encodings(convert_string(value, True))
