"""Does anything that a build or a run left behind name a patient?

Every identifier in the source headers is looked for, in the ways in which it may be written (see
`spellings`), in the bytes of every file of a folder, in what is packed in them (see `unpacked`),
and in file names. Overlays, curves and bits beside the pixel that are not empty count too: nobody
can read what they draw. Nor can the pixels be read: how many pictures there are is counted.
"""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.misc import is_dicom

from msk_jax.data.dicom.headers import quiet, read_bounded
from msk_jax.data.privacy.search import Sought
from msk_jax.data.privacy.spellings import MIN_LENGTH, MIN_SHORT, OF_PERSONS
from msk_jax.data.privacy.unpacked import Notes, contents
from msk_jax.data.privacy.vocabulary import product_vocabulary

_PERSON = "PersonName"
"""What a name in a private attribute is called."""

_KEYWORDS = {
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "OtherPatientIDs",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientMotherBirthName",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "AccessionNumber",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "FrameOfReferenceUID",
    "StudyID",
    "InstitutionName",
    "InstitutionAddress",
    "InstitutionalDepartmentName",
    "StationName",
    "ReferringPhysicianName",
    "PerformingPhysicianName",
    "OperatorsName",
    "NameOfPhysiciansReadingStudy",
    "RequestingPhysician",
    "PhysiciansOfRecord",
    "DeviceSerialNumber",
    "IssuerOfPatientID",
    "StudyDate",
    "SeriesDate",
    "AcquisitionDate",
    "ContentDate",
    "AcquisitionDateTime",
    "FillerOrderNumberImagingServiceRequest",
    "PlacerOrderNumberImagingServiceRequest",
    "MilitaryRank",
    "CountryOfResidence",
    "MedicalRecordLocator",
    "EthnicGroup",
    "Occupation",
    "PatientComments",
    "RequestedProcedureID",
    "AdmissionID",
}


@dataclass(frozen=True)
class Hit:
    """An identifier of a source header in a file that should have none."""

    file: str
    """Path below the folder; a member of an archive behind `!`."""

    keyword: str
    """What the identifier is; its value is not repeated. Or what is drawn beside the pixels."""


@dataclass(frozen=True)
class Audit:
    """What was found, and what was not looked at."""

    hits: tuple[Hit, ...]
    num_files: int
    num_identifiers: int
    """That were searched for."""

    num_short: int
    """Too short to be searched for."""

    num_common: int
    """That cannot be told from what the product writes without any patient."""

    unread: tuple[tuple[str, str], ...]
    """Files that could not be looked into, with the reason."""

    num_pictures: int
    """Pictures and DICOM images: text that is drawn into their pixels was not read."""

    num_shards: int
    """Files of records, which may hold pictures."""


@quiet
def identifiers(
    files: Iterable[Path], unread: list[Path] | None = None
) -> tuple[dict[str, str], int]:
    """What names somebody in the headers of files, nested sequences too.

    Args:
        files: of any kind; what is no DICOM has no header.
        unread: gets those that are DICOM and cannot be read.

    Returns:
        Keyword by value, and how many values were too short.
    """
    values: dict[str, str] = {}
    for file in files:
        try:
            header = read_bounded(file, stop_before_pixels=True)
        except Exception:
            if unread is not None and file.is_file() and is_dicom(file):
                unread.append(file)
            continue
        _collect(header, values)
    sought = {
        value: keyword
        for value, keyword in values.items()
        if len(value.encode()) >= (MIN_SHORT if keyword in OF_PERSONS else MIN_LENGTH)
    }
    return sought, len(values) - len(sought)


def audit(folder: Path, names: dict[str, str], num_short: int = 0) -> Audit:
    """Look for identifiers in all files below a folder.

    Args:
        folder: shards, a run, reports, copies without names.
        names: see `identifiers`.
        num_short: passed on.
    """
    sought = Sought.of(names, product_vocabulary())
    hits, count, notes = set(), 0, Notes()
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        count += 1
        place = str(file.relative_to(folder))
        hits |= {Hit(place, keyword) for keyword in sought.keywords_in([os.fsencode(f"/{place}/")])}
        for where, blocks in contents(file, place, notes):
            hits |= {Hit(where, keyword) for keyword in sought.keywords_in(blocks)}
    hits |= {Hit(*drawn) for drawn in notes.drawn}
    return Audit(
        hits=tuple(sorted(hits, key=lambda hit: (hit.file, hit.keyword))),
        num_files=count,
        num_identifiers=len(names) - sought.num_unsought,
        num_short=num_short,
        num_common=sought.num_unsought,
        unread=tuple(notes.unread),
        num_pictures=notes.num_pictures,
        num_shards=notes.num_shards,
    )


def _collect(dataset: Dataset, values: dict[str, str]) -> None:
    for tag in dataset.keys():  # noqa: SIM118 - elements are decoded one by one
        with contextlib.suppress(Exception):  # a damaged value hides no other
            _collect_element(dataset[tag], values)


def _collect_element(element: pydicom.DataElement, values: dict[str, str]) -> None:
    if element.VR == "SQ":
        for item in element.value or []:
            _collect(item, values)
    elif element.keyword in _KEYWORDS or element.VR == "PN":
        for value in element.value if element.VM > 1 else [element.value]:
            text = str(value or "").strip()
            if text:
                values.setdefault(text, element.keyword or _PERSON)
