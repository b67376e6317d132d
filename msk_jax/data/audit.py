"""Does anything that a build or a run left behind name a patient?

Every identifier in the source headers is looked for, as bytes, in every file of a folder, in the
members of zip archives (also `.npz`) and gzip files, and in file names.
"""

import gzip
import mmap
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from msk_jax.data.headers import max_bytes, quiet

MIN_LENGTH = 5
"""Shorter identifiers occur in any file by chance and are counted, not searched."""

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


@quiet
def identifiers(files: Iterable[Path]) -> tuple[dict[bytes, str], int]:
    """What names somebody in the headers of files, nested sequences too.

    Returns:
      Keyword by value, and how many values were too short.
    """
    found: dict[str, str] = {}
    for file in files:
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True)
        except Exception:
            continue  # not DICOM: it has no header
        _collect(header, found)
    long = {value: keyword for value, keyword in found.items() if len(value) >= MIN_LENGTH}
    encoded = {value.encode(): keyword for value, keyword in long.items()}
    return encoded, len(found) - len(long)


def audit(folder: Path, names: dict[bytes, str], num_short: int = 0) -> Audit:
    """Look for identifiers in all files below a folder.

    Args:
      folder: shards, a run, reports.
      names: see `identifiers`.
      num_short: passed on.
    """
    hits, count = set(), 0
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        count += 1
        place = str(file.relative_to(folder))
        hits |= {Hit(place, k) for value, k in names.items() if value in place.encode()}
        for where, content in _contents(file, place):
            hits |= {Hit(where, k) for value, k in names.items() if content.find(value) >= 0}
    ordered = sorted(hits, key=lambda hit: (hit.file, hit.keyword))
    return Audit(tuple(ordered), count, len(names), num_short)


def _contents(file: Path, place: str) -> Iterator[tuple[str, bytes | mmap.mmap]]:
    if file.stat().st_size == 0:
        return
    with file.open("rb") as opened:
        mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        yield place, mapped
        start = mapped[:4]
    limit = max_bytes(file)
    try:
        if start[:2] == b"\x1f\x8b":
            with gzip.open(file) as inner:
                yield f"{place}!", inner.read(limit)
        elif start == b"PK\x03\x04":
            with zipfile.ZipFile(file) as archive:
                for member in archive.namelist():
                    with archive.open(member) as inner:
                        yield f"{place}!{member}", inner.read(limit)
    except Exception:
        return  # looks like an archive and is none: its bytes have been searched


def _collect(dataset: Dataset, found: dict[str, str]) -> None:
    for element in dataset:
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
