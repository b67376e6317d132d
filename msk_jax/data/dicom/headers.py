"""Values of DICOM headers that may say anything: as asked for, or as if they were missing.

A header is opened once. Pixel data of uncompressed files stay on the disk until they are asked
for, and nothing is inflated beyond `max_bytes` of the file's own size.
"""

import functools
import os
import re
import warnings
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from msk_jax.data.dicom.plain_header import base_tag, read_meta, read_plain
from msk_jax.errors import SeriesError

MAX_GROWTH = 100
"""A file may unfold to this many times its own size in memory, or to `MIN_ROOM_BYTES`."""

MIN_ROOM_BYTES = 64 * 2**20

_DEFERRED_BYTES = 4096
_PLAIN_TEXT = ("AS", "CS", "LO", "SH", "UI")
# A backslash parts several values; character sets differ in it, in ~ and after an escape.
_ONE = re.compile(rb"[ -\[\]-}]*\0?").fullmatch
_SEVERAL = re.compile(rb"[ -}]*").fullmatch
_DECIMAL = re.compile(rb"[0-9+\-.eE \\]*").fullmatch
_LOCALIZER_TYPES = {"LOCALIZER", "SCOUT", "REF_SURVIEW", "TOPOGRAM"}


def quiet(function: Callable) -> Callable:
    """Without pydicom's warnings about odd values: what matters is checked and refused by name.

    A value is decoded when it is asked for, so reading alone cannot be made quiet.
    """

    @functools.wraps(function)
    def call(*args, **kwargs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args, **kwargs)

    return call


def max_bytes(path: Path) -> int:
    """How many bytes the content of a file may take in memory."""
    return max(MIN_ROOM_BYTES, MAX_GROWTH * os.path.getsize(path))


def read_header(path: Path) -> Dataset:
    """Open one file; its bulk data are read when they are asked for.

    Raises:
        SeriesError: not a DICOM file, truncated, damaged, or unfolding to more than `max_bytes`.
    """
    try:
        return read_bounded(path, defer_size=_DEFERRED_BYTES)
    except SeriesError:
        raise
    except pydicom.errors.InvalidDicomError:
        raise SeriesError(f"{path.name} is not a DICOM file. Remove it from the series.") from None
    except Exception as error:
        raise SeriesError(
            f"The header of {path.name} cannot be read ({type(error).__name__}): the file is "
            "truncated or damaged. Copy it again."
        ) from error


def read_bounded(path: Path, **options) -> Dataset:
    """`pydicom.dcmread` of a file that, if it is deflated, unfolds to `max_bytes` at most.

    Raises:
        SeriesError: it unfolds to more.
        Exception: whatever pydicom raises for a file that is damaged or no DICOM.
    """
    path = Path(path)
    with path.open("rb") as file:
        meta = read_meta(file)
        found = None if meta is None else read_plain(file, meta, **options)
        if found is not None:
            return found
        syntax = None if meta is None else meta.syntax
        if syntax is None or syntax == DeflatedExplicitVRLittleEndian:
            file.seek(0)
            read_preamble(file, False)
            # Private, but what `dcmread` goes by: the file stands where the meta information ends,
            # wherever its stated length may point.
            syntax = _read_file_meta_info(file).get("TransferSyntaxUID")
            if syntax == DeflatedExplicitVRLittleEndian:
                _check_inflated(path, file)
                # What is deflated cannot be found again by its place in the file.
                options["defer_size"] = None
        file.seek(0)
        return pydicom.dcmread(file, **options)


def _check_inflated(path: Path, file: BinaryIO) -> None:
    """Inflate what is left of an open file, block by block, and forget it."""
    inflate, size, limit = zlib.decompressobj(-zlib.MAX_WBITS), 0, max_bytes(path)
    block = file.read(2**16)
    while block and size <= limit and not inflate.eof:
        size += len(inflate.decompress(block, 2**20))
        block = inflate.unconsumed_tail or file.read(2**16)
    if size > limit:
        raise SeriesError(
            f"{path.name} unfolds to more than {limit / 2**20:,.0f} MB, {MAX_GROWTH} times its "
            "size or more: it is damaged or made to harm. Remove it from the series."
        )


@functools.cache
def _tag(keyword: str) -> tuple[BaseTag, str]:
    tag = base_tag(tag_for_keyword(keyword))
    return tag, dictionary_VR(tag)


def element(header: Dataset, keyword: str) -> RawDataElement | DataElement | None:
    """What a header holds under a keyword, its value as it lies in the file where nobody has asked
    for it yet; None where it is missing."""
    # Private, but `get_item`, which does the same, takes ten times as long and is asked for dozens
    # of values of every file.
    return header._dict.get(_tag(keyword)[0])


def has(header: Dataset, keyword: str) -> bool:
    """Whether a header has an attribute, were it an empty one."""
    return element(header, keyword) is not None


def is_same(headers: Sequence[Dataset], keyword: str) -> bool:
    """Whether all headers have the same value under a keyword, or none; a value that was asked for
    in some of them may pass for another."""
    tag = _tag(keyword)[0]
    elements = [header._dict.get(tag) for header in headers]
    first = elements[0]
    if first is None:
        return elements.count(None) == len(elements)
    value = first.value
    return all(item is not None and item.value == value for item in elements)


def _raw(header: Dataset, keyword: str) -> tuple[bytes, str, bool] | None:
    """A value as it lies in the file, its kind (VR) and whether it is little-endian, where nobody
    has asked for it yet: pydicom takes ten times as long to make one of its values. Else None."""
    found = element(header, keyword)
    if isinstance(found, RawDataElement) and isinstance(found.value, bytes):
        return found.value, found.VR or _tag(keyword)[1], found.is_little_endian
    return None


def _plain_text(header: Dataset, keyword: str, allowed: Callable) -> str | None:
    """A value that is the same letters in any character set; None: pydicom must make it one."""
    raw = _raw(header, keyword)
    is_plain = raw is not None and raw[1] in _PLAIN_TEXT and allowed(raw[0])
    return raw[0].decode("ascii") if is_plain else None


def text(header: Dataset, keyword: str) -> str:
    """A header value as plain text; '' where it is missing or cannot be decoded."""
    try:
        if not has(header, keyword):
            return ""
        value = _plain_text(header, keyword, _ONE)
        if value is None:
            value = header.get(keyword)
        return "" if value is None else str(value).strip().strip("\0").strip()
    except Exception:
        return ""


def numbers(header: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """`count` finite numbers, or None where the value is missing or is something else."""
    try:
        if not has(header, keyword):
            return None
        raw = _raw(header, keyword)
        if raw and raw[1] == "DS" and _DECIMAL(raw[0]):
            values = raw[0].split(b"\\")
        else:
            value = header.get(keyword)
            values = (value,) if isinstance(value, int | float) else tuple(value or ())
        values = tuple(float(v) for v in values)
    except Exception:
        return None
    return values if len(values) == count and np.isfinite(values).all() else None


def number(header: Dataset, keyword: str) -> float | None:
    """One finite number, the first where there are several; else None."""
    try:
        if not has(header, keyword):
            return None
        raw = _raw(header, keyword)
        if raw and raw[1] in ("DS", "IS") and _DECIMAL(raw[0]):
            value = float(raw[0].split(b"\\")[0])
        else:
            value = header.get(keyword)
            value = float(value if isinstance(value, int | float | str) else value[0])
    except Exception:
        return None
    return value if np.isfinite(value) else None


def integer(header: Dataset, keyword: str) -> int | None:
    """One whole number, or None."""
    try:
        raw = _raw(header, keyword)
        if raw and raw[1] == "US" and len(raw[0]) == 2:
            return int.from_bytes(raw[0], "little" if raw[2] else "big")
        return int(header.get(keyword)) if has(header, keyword) else None
    except Exception:
        return None


def words(header: Dataset, keyword: str) -> tuple[str, ...]:
    """The words of a value with one or several of them, in capitals."""
    try:
        plain = _plain_text(header, keyword, _SEVERAL)
        if plain is not None:
            return tuple(v.strip().upper() for v in plain.split("\\")) if plain.strip() else ()
        value = (header.get(keyword) if has(header, keyword) else None) or ()
        return tuple(str(v).strip().upper() for v in ([value] if isinstance(value, str) else value))
    except Exception:
        return ()


def items(header: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; none where it is missing or is something else."""
    try:
        value = header.get(keyword) if has(header, keyword) else None
        return [item for item in value if isinstance(item, Dataset)] if value else []
    except Exception:
        return []


def item(header: Dataset, keyword: str, index: int = 0) -> Dataset | None:
    """One item of a sequence, or None; does not walk through the others, as `items` does."""
    try:
        found = header.get(keyword)[index] if has(header, keyword) else None
    except Exception:
        return None
    return found if isinstance(found, Dataset) else None


def num_frames(header: Dataset) -> int:
    """Frames of a multi-frame object, 1 of any other."""
    return max(1, integer(header, "NumberOfFrames") or 1)


def is_localizer(header: Dataset) -> bool:
    return bool(set(words(header, "ImageType")) & _LOCALIZER_TYPES)


def is_capture(header: Dataset) -> bool:
    """A secondary capture: a screen shot, a dose page, a scanned film."""
    return "Secondary Capture" in class_name(text(header, "SOPClassUID"))


@functools.lru_cache(256)
def class_name(uid: str) -> str:
    """The name of a class of objects; `uid` itself where it is unknown."""
    return UID(uid).name
