"""What the files of a folder hold, as they lie and unpacked: archives, pictures in pages, the text
in PNG pictures, DICOM headers and what is beside their pixels, the arrays of checkpoints."""

import base64
import bz2
import gzip
import itertools
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydicom.dataset import Dataset

from msk_jax.data.dicom.headers import quiet, read_bounded
from msk_jax.data.privacy.drawings import (
    PIXELS,
    has_bits_beside,
    overlays_and_curves,
    said_beside_pixels,
)
from msk_jax.errors import SeriesError

_BLOCK = 2**20
_MOST_TEXT = 2**26
"""Bytes that a page may have, or a text of a picture may unfold to."""

_MANIFEST = "manifest.ocdbt"
_PNG = b"\x89PNG\r\n\x1a\n"
_PICTURES = (_PNG, b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"RIFF", b"BM", b"\0\0\0\x0cjP")
_PAGES = (".html", ".htm", ".svg", ".json", ".css", ".md", ".ipynb", ".xml")
_EMBEDDED = re.compile(rb"data:[\w/+.;=-]*;base64,([A-Za-z0-9+/=\s]*)")
_ZIP = b"PK\x03\x04"
_PACKERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
_CLOSED = {
    b"%PDF": "a PDF document",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"(\xb5/\xfd": "a Zstandard archive",
}
_DICM = slice(128, 132)

Content = Iterator[tuple[str, Iterable[bytes]]]


@dataclass
class Notes:
    """What is said of files beside their bytes."""

    unread: list[tuple[str, str]] = field(default_factory=list)
    """What could not be looked at: path and reason."""

    drawn: list[tuple[str, str]] = field(default_factory=list)
    """Overlays, curves and bits beside the pixel that are not empty: path and what it is."""

    num_pictures: int = 0
    """Pictures and DICOM images, whose pixels are not read."""

    num_shards: int = 0
    """Files of records, which may hold pictures."""


def contents(file: Path, place: str, notes: Notes) -> Content:
    """Names and bytes of everything in a file, as it lies and unpacked; bytes are given as far as
    they can be read.

    Args:
        file: to be read.
        place: what to call it; what is in it is called so and, behind `!`, by its own name.
        notes: filled while the contents are read.
    """
    for name, blocks in _contents(file, place, notes):
        yield name, _as_far_as_whole(blocks, name, notes)


def _as_far_as_whole(blocks: Iterable[bytes], place: str, notes: Notes) -> Iterator[bytes]:
    try:
        yield from blocks
    except Exception as error:
        notes.unread.append((place, f"is damaged ({type(error).__name__})"))


def _contents(file: Path, place: str, notes: Notes) -> Content:
    try:
        with file.open("rb") as opened:
            start = opened.read(_DICM.stop)
            opened.seek(0)
            yield place, _blocks(opened)
    except OSError as error:
        notes.unread.append((place, f"cannot be read ({error.strerror or error})"))
        return
    notes.num_shards += ".tfrecord" in file.name
    notes.num_pictures += start.startswith(_PICTURES)
    try:
        yield from _within(file, start, place, notes)
    except Exception as error:
        notes.unread.append((place, f"cannot be unpacked ({type(error).__name__})"))
    if file.name == _MANIFEST and not (file.parent.parent / _MANIFEST).exists():
        # What each process wrote lies below, and the manifest above it refers to it.
        yield from _arrays(file, place, notes)


def _within(file: Path, start: bytes, place: str, notes: Notes) -> Content:
    for mark, opener in _PACKERS.items():
        if start.startswith(mark):
            with opener(file) as inner:
                yield f"{place}!", _unpacked(inner, f"{place}!", notes)
    is_opened = (file.parent.parent / _MANIFEST).exists()  # a piece of a checkpoint
    for mark, kind in _CLOSED.items():
        if start.startswith(mark) and not is_opened:
            notes.unread.append((place, f"is {kind}, of which only the bytes were searched"))
    if start.startswith(_ZIP):
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                name = f"{place}!{member.filename}"
                yield name, [f"/{member.filename}/".encode()]
                with archive.open(member) as inner:
                    yield name, _unpacked(inner, name, notes)
    elif start.startswith(_PNG):
        yield place, _png_texts(file.read_bytes())
    elif start[_DICM] == b"DICM":
        yield from _dicom(file, place, notes)
    elif file.suffix.lower() in _PAGES and file.stat().st_size <= _MOST_TEXT:
        yield from _embedded(file.read_bytes(), place, notes)


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    while block := stream.read(_BLOCK):
        yield block


def _unpacked(stream: BinaryIO, place: str, notes: Notes) -> Iterator[bytes]:
    block = stream.read(_BLOCK)
    if block.startswith((_ZIP, *_PACKERS, *_CLOSED)) or block[_DICM] == b"DICM":
        notes.unread.append((place, "is packed in an archive, where it is not opened"))
    notes.num_pictures += block.startswith(_PICTURES)
    yield block
    yield from _blocks(stream)


def _png_texts(content: bytes) -> Iterator[bytes]:
    """Texts of a PNG picture that lie deflated in it (ISO/IEC 15948 11.3.4), and its profile."""
    place = len(_PNG)
    while place + 12 <= len(content):
        length, kind = int.from_bytes(content[place : place + 4], "big"), content[place + 4 :][:4]
        data = content[place + 8 : place + 8 + length]
        place += length + 12
        if kind in (b"zTXt", b"iCCP", b"iTXt"):
            # Keyword, zero, method; of an iTXt language and translated keyword before the text.
            rest = data.partition(b"\0")[2]
            if kind == b"iTXt":
                if rest[:1] != b"\x01":
                    continue  # it lies open
                rest = rest[1:2] + rest[2:].partition(b"\0")[2].partition(b"\0")[2]
            yield b"\n" + zlib.decompressobj().decompress(rest[1:], _MOST_TEXT)


def _embedded(page: bytes, place: str, notes: Notes) -> Content:
    """Pictures that a page holds in base64, in which no text can be seen."""
    for number, match in enumerate(_EMBEDDED.finditer(page), 1):
        content = base64.b64decode(b"".join(match[1].split()) + b"==")
        name = f"{place}!picture {number}"
        notes.num_pictures += content.startswith(_PICTURES)
        texts = _png_texts(content) if content.startswith(_PNG) else ()
        yield name, itertools.chain([content], texts)


@quiet
def _dicom(file: Path, place: str, notes: Notes) -> list[tuple[str, list[bytes]]]:
    header = read_bounded(file)
    notes.num_pictures += any(keyword in header for keyword in PIXELS)
    notes.drawn += [(place, what) for what in sorted(overlays_and_curves(header))]
    said = [b"\n".join(_texts(header))]
    try:
        said += [b"\n" + piece for piece in said_beside_pixels(header)]
        if has_bits_beside(header):
            notes.drawn.append((place, "bits beside the pixel"))
    except SeriesError as error:
        notes.unread.append((place, f"has what is beside its pixels unread: {error}"))
    return [(place, said)]


def _texts(dataset: Dataset) -> Iterator[bytes]:
    """Values of a header, whatever character set or compression they lie in."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value or ():
                yield from _texts(item)
        elif isinstance(element.value, bytes):
            if element.keyword not in PIXELS:
                yield element.value
        elif element.value is not None:
            values = element.value if element.VM > 1 else [element.value]
            yield from (str(value).encode(errors="ignore") for value in values)


def _arrays(file: Path, place: str, notes: Notes) -> Content:
    """What a checkpoint holds, by its own reader: its values and its arrays unpacked."""
    try:
        import tensorstore

        base = {"driver": "file", "path": f"{file.parent.absolute()}/"}
        store = tensorstore.KvStore.open({"driver": "ocdbt", "base": base}).result()
        for key in store.list().result():
            name = key.decode(errors="replace")
            yield f"{place}!{name}", [store.read(key).result().value]
            array, _, about = name.rpartition("/")
            driver = {".zarray": "zarr", "zarr.json": "zarr3"}.get(about)
            if driver:
                spec = {"driver": driver, "kvstore": {**store.spec().to_json(), "path": array}}
                values = tensorstore.open(spec).result().read().result()
                yield f"{place}!{array}", [np.asarray(values).tobytes()]
    except Exception as error:
        notes.unread.append((place, f"is no checkpoint that can be read ({type(error).__name__})"))
