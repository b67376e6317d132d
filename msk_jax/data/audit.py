"""Does anything that a build or a run left behind name a patient?

Every identifier in the source headers is looked for, as it is and as JSON and HTML write it, in
the bytes of every file of a folder, in the members of zip archives (also `.npz`) and gzip files,
in the arrays of checkpoints, and in file names; what is packed otherwise, as it lies. Short ones
occur in any file by chance and must stand alone, see `_short_ways`.
"""

import contextlib
import gzip
import html
import itertools
import json
import os
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import markupsafe
import numpy as np
import pydicom
from pydicom.dataset import Dataset

from msk_jax.data.headers import quiet, read_bounded

_BLOCK = 2**20
MIN_LENGTH = 5
"""Shorter identifiers are looked for where they stand alone."""

MIN_SHORT = 2
"""Still shorter ones are counted and not looked for."""

_OF_PERSONS = {
    "PatientID", "PatientName", "OtherPatientIDs", "OtherPatientNames", "PatientBirthName",
    "PatientMotherBirthName", "AccessionNumber", "AdmissionID", "MedicalRecordLocator",
}  # fmt: skip
"""Of short ones only these: that a department is called CT names nobody."""

_MANIFEST = "manifest.ocdbt"
_KEYWORDS = {
    "PatientID", "PatientName", "PatientBirthDate", "OtherPatientIDs", "OtherPatientNames",
    "PatientBirthName", "PatientMotherBirthName", "PatientAddress", "PatientTelephoneNumbers",
    "AccessionNumber", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID",
    "FrameOfReferenceUID", "StudyID", "InstitutionName", "InstitutionAddress",
    "InstitutionalDepartmentName", "StationName", "ReferringPhysicianName",
    "PerformingPhysicianName", "OperatorsName", "NameOfPhysiciansReadingStudy",
    "RequestingPhysician", "PhysiciansOfRecord", "DeviceSerialNumber", "IssuerOfPatientID",
    "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "AcquisitionDateTime",
    "FillerOrderNumberImagingServiceRequest", "PlacerOrderNumberImagingServiceRequest",
    "MilitaryRank", "CountryOfResidence", "MedicalRecordLocator", "EthnicGroup", "Occupation",
    "PatientComments", "RequestedProcedureID", "AdmissionID",
}  # fmt: skip


@dataclass(frozen=True)
class Hit:
    """An identifier of a source header in a file that should have none."""

    file: str
    """Path below the folder; a member of an archive behind `!`."""

    keyword: str
    """What the identifier is; its value is not repeated."""


@dataclass(frozen=True)
class Audit:
    hits: tuple[Hit, ...]
    num_files: int
    num_identifiers: int
    """That were searched for."""

    num_short: int
    """Too short to be searched for."""


@dataclass(frozen=True)
class _Sought:
    """Many byte strings, made ready to be looked for all at once."""

    names: dict[bytes, str]
    lengths: dict[bytes, tuple[int, ...]]
    """Of those that begin with these `MIN_LENGTH` bytes."""

    first: np.ndarray
    """bool [2^24]: whether any begins with these three bytes."""

    second: np.ndarray
    """The same of the third to fifth byte."""

    @classmethod
    def of(cls, names: dict[str, str]) -> "_Sought":
        """Of keywords by value."""
        found = {}
        for value, keyword in names.items():
            ways = _ways(value) if len(value) >= MIN_LENGTH else _short_ways(value)
            found |= dict.fromkeys(ways, keyword)
        lengths: dict[bytes, set[int]] = {}
        first, second = np.zeros(2**24, bool), np.zeros(2**24, bool)
        for way in found:
            lengths.setdefault(way[:MIN_LENGTH], set()).add(len(way))
            first[int.from_bytes(way[:3], "big")] = True
            second[int.from_bytes(way[2:5], "big")] = True
        return cls(found, {k: tuple(v) for k, v in lengths.items()}, first, second)

    def keywords_in(self, blocks: Iterable[bytes]) -> set[str]:
        """Of the strings that occur in a stream, also across the borders of its blocks."""
        found, tail = set(), b""
        longest = max(map(len, self.names), default=1)
        for block in blocks:
            content = tail + block
            found |= self._in_block(content)
            tail = content[max(0, len(content) - longest + 1) :]
        return found

    def _in_block(self, content: bytes) -> set[str]:
        if len(content) < MIN_LENGTH:
            return set()
        values = np.frombuffer(content, np.uint8).astype(np.int32)
        three = values[:-2] << 16 | values[1:-1] << 8 | values[2:]
        found = set()
        for place in np.flatnonzero(self.first[three[:-2]] & self.second[three[2:]]):
            for length in self.lengths.get(content[place : place + MIN_LENGTH], ()):
                found.add(self.names.get(content[place : place + length], ""))
        return found - {""}


@quiet
def identifiers(files: Iterable[Path]) -> tuple[dict[str, str], int]:
    """What names somebody in the headers of files, nested sequences too.

    Returns:
      Keyword by value, and how many values were too short.
    """
    found: dict[str, str] = {}
    for file in files:
        try:
            header = read_bounded(file, stop_before_pixels=True)
        except Exception:
            continue  # not DICOM: it has no header
        _collect(header, found)
    sought = {
        value: keyword
        for value, keyword in found.items()
        if len(value) >= (MIN_SHORT if keyword in _OF_PERSONS else MIN_LENGTH)
    }
    return sought, len(found) - len(sought)


def audit(folder: Path, names: dict[str, str], num_short: int = 0) -> Audit:
    """Look for identifiers in all files below a folder.

    Args:
      folder: shards, a run, reports.
      names: see `identifiers`.
      num_short: passed on.
    """
    sought = _Sought.of(names)
    hits, count = set(), 0
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        count += 1
        place = str(file.relative_to(folder))
        hits |= {Hit(place, keyword) for keyword in sought.keywords_in([os.fsencode(f"/{place}/")])}
        for where, blocks in itertools.chain(_contents(file, place), _arrays(file, place)):
            hits |= {Hit(where, keyword) for keyword in sought.keywords_in(blocks)}
    ordered = sorted(hits, key=lambda hit: (hit.file, hit.keyword))
    return Audit(tuple(ordered), count, len(names), num_short)


def _ways(value: str) -> set[bytes]:
    """How a value may be written: as it is, in a DICOM file, in JSON, in HTML."""
    texts = {value, json.dumps(value)[1:-1], html.escape(value), html.escape(value, quote=False)}
    texts.add(str(markupsafe.escape(value)))
    ways = {text.encode(errors="ignore") for text in texts} | {value.encode("latin-1", "ignore")}
    return {way for way in ways if len(way) >= MIN_LENGTH}


def _short_ways(value: str) -> set[bytes]:
    """How a value of fewer than `MIN_LENGTH` characters may stand alone: as a text of a TFRecord or
    of JSON; one with a letter also as a cell of a table, in a tag of HTML or as part of a path; one
    with a digit too, as a word."""
    raw = value.encode(errors="ignore")
    # A bytes_list of one value in a tf.train.Feature: two messages, each with its tag and length.
    ways = {bytes((0x0A, len(raw) + 2, 0x0A, len(raw))) + raw}
    ways |= {b'"' + raw + b'"' + after for after in (b"", *(b"%c" % c for c in b",:]} \n"))}
    if any(c.isalpha() for c in value):
        space = b" " if any(c.isdigit() for c in value) else b""
        before, after = b",;>/\\\n\t" + space, b",;</\\\n\r\t._" + space
        ways |= {b"%c%b%c" % (b, raw, a) for b in before for a in after}
    return {way for way in ways if len(way) >= MIN_LENGTH}


def _arrays(file: Path, place: str) -> Iterator[tuple[str, Iterator[bytes]]]:
    """What a checkpoint holds, by its own reader: its values and its arrays unpacked."""
    # What each process wrote lies below, and the manifest above it refers to it.
    if file.name != _MANIFEST or (file.parent.parent / _MANIFEST).exists():
        return
    try:
        import tensorstore

        base = {"driver": "file", "path": f"{file.parent.absolute()}/"}
        store = tensorstore.KvStore.open({"driver": "ocdbt", "base": base}).result()
        for key in store.list().result():
            name = key.decode(errors="replace")
            yield f"{place}!{name}", iter([store.read(key).result().value])
            array, _, about = name.rpartition("/")
            driver = {".zarray": "zarr", "zarr.json": "zarr3"}.get(about)
            if driver:
                spec = {"driver": driver, "kvstore": {**store.spec().to_json(), "path": array}}
                values = tensorstore.open(spec).result().read().result()
                yield f"{place}!{array}", iter([np.asarray(values).tobytes()])
    except Exception:
        return  # damaged, or no checkpoint: its bytes have been searched


def _contents(file: Path, place: str) -> Iterator[tuple[str, Iterator[bytes]]]:
    with file.open("rb") as opened:
        start = opened.read(4)
        opened.seek(0)
        yield place, _blocks(opened)
    try:
        if start[:2] == b"\x1f\x8b":
            with gzip.open(file) as inner:
                yield f"{place}!", _unpacked(inner)
        elif start == b"PK\x03\x04":
            with zipfile.ZipFile(file) as archive:
                for member in archive.namelist():
                    with archive.open(member) as inner:
                        yield f"{place}!{member}", _unpacked(inner)
    except Exception:
        return  # looks like an archive and is none: its bytes have been searched


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    while block := stream.read(_BLOCK):
        yield block


def _unpacked(stream: BinaryIO) -> Iterator[bytes]:
    with contextlib.suppress(Exception):  # damaged from here on
        yield from _blocks(stream)


def _collect(dataset: Dataset, found: dict[str, str]) -> None:
    for tag in dataset.keys():  # noqa: SIM118 - elements are decoded one by one
        with contextlib.suppress(Exception):  # a damaged value hides no other
            _collect_element(dataset[tag], found)


def _collect_element(element: pydicom.DataElement, found: dict[str, str]) -> None:
    if element.VR == "SQ":
        for item in element.value or []:
            _collect(item, found)
    elif element.keyword in _KEYWORDS or element.VR == "PN":
        values = element.value if element.VM > 1 else [element.value]
        for value in values:
            _note(str(value or "").strip(), element.keyword, element.VR, found)


def _note(value: str, keyword: str, kind: str, found: dict[str, str]) -> None:
    if not value:
        return
    found.setdefault(value, keyword)
    if kind == "PN":  # family and given name alone name somebody too
        for part in value.replace("=", "^").split("^"):
            if part.strip():
                found.setdefault(part.strip(), keyword)
