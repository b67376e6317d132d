"""De-identified copies of DICOM files by the basic profile of PS3.15 Annex E.

Which attribute is removed, emptied, replaced or renamed is the table of the dicom-anonymizer
package (edition 2026c); applying it to nested sequences, keyed pseudonyms, keyed UIDs and shifted
dates is done here. Options of the profile that are used: modified dates (113107) and, if asked,
patient characteristics (113108). More than the profile asks for goes what may draw or say a name
where no table of attributes sees it: whole overlays and curves, pictures in sequences (icons), what
somebody has encrypted, and what `drawings` clears beside the pixels. Pixels are not looked at: what
says that it has burned-in text, or is a screen capture, is refused.
"""

import datetime
import hashlib
import hmac
import re
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from msk_jax.data.dicom.headers import is_capture, quiet, read_header, text
from msk_jax.data.privacy.drawings import PIXELS, clean_pixel_data, is_drawing
from msk_jax.data.privacy.pseudonyms import pseudonym
from msk_jax.errors import SeriesError, UserError
from msk_jax.files import replacing

_TABLE = "dicomfields_2026c"
_CHARACTERISTICS = {"PatientAge", "PatientSex", "PatientSize", "PatientWeight"}
_MAX_SHIFT_DAYS = 3650
_UID_ROOT = "2.25."
_DATES = ("DA", "DT")
_TIMES = ("TM",)
_OF_BIRTH = {"PatientBirthDate", "PatientBirthTime"}
"""Not among the dates that the option retains: beside a study's date they would tell the age."""

_DUMMY = {
    "AE": "ANON",
    "AS": "000Y",
    "CS": "ANON",
    "DS": "0",
    "FD": 0.0,
    "FL": 0.0,
    "IS": "0",
    "LO": "ANON",
    "LT": "ANON",
    "PN": "ANON",
    "SH": "ANON",
    "SL": 0,
    "SS": 0,
    "ST": "ANON",
    "UC": "ANON",
    "UL": 0,
    "UR": "urn:anon",
    "US": 0,
    "UT": "ANON",
}


@dataclass(frozen=True)
class Rules:
    """What to do with which attribute."""

    exact: dict[int, str]
    """Action by tag: `remove`, `empty`, `replace` or `uid`."""

    repeating: tuple[tuple[int, int, int, int, str], ...]
    """Group, element and their masks, action, as for curves and overlays."""

    def action(self, tag: pydicom.tag.BaseTag) -> str:
        if tag.is_private or not keyword_for_tag(tag):
            return "remove"  # what no dictionary knows may say anything
        if is_drawing(tag) or keyword_for_tag(tag) == "EncryptedAttributesSequence":
            return "remove"
        found = self.exact.get(int(tag), "")
        for group, element, group_mask, element_mask, action in self.repeating:
            if not found and (tag.group & group_mask, tag.element & element_mask) == (
                group & group_mask,
                element & element_mask,
            ):
                found = action
        return found


def basic_profile() -> Rules:
    """The table of PS3.15 E.1-1.

    Raises:
        UserError: the extra is not installed.
    """
    try:
        from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector
    except ImportError:
        raise UserError(
            "The table of the de-identification profile comes with dicom-anonymizer, which is not "
            'installed. Install it with: pip install "msk_jax[deidentify]"'
        ) from None
    table = dicom_anonymization_database_selector(_TABLE)
    actions = {
        "X_TAGS": "remove",
        "X_Z_TAGS": "empty",
        "Z_TAGS": "empty",
        "D_TAGS": "replace",
        "Z_D_TAGS": "replace",
        "X_D_TAGS": "replace",
        "X_Z_D_TAGS": "replace",
        "U_TAGS": "uid",
        "X_Z_U_STAR_TAGS": "uid",
    }
    exact, repeating = {}, []
    for name, action in actions.items():
        for tag in table[name]:
            if len(tag) == 2:
                exact[tag[0] << 16 | tag[1]] = action
            else:
                repeating.append((*tag, action))
    return Rules(exact, tuple(repeating))


@quiet
def deidentify(
    dataset: Dataset,
    key: bytes,
    rules: Rules,
    keep_characteristics: bool = False,
    allow_burned_in: bool = False,
) -> Dataset:
    """A copy of a data set that names nobody.

    Args:
        dataset: with its file meta information; not changed.
        key: of the pseudonyms; the same key gives the same pseudonyms, UIDs and date shifts.
        rules: see `basic_profile`.
        keep_characteristics: keep age, sex, size and weight.
        allow_burned_in: also of images that may show text.

    Raises:
        SeriesError: the image has, or may have, burned-in annotation and that was not allowed, or
            a value cannot be understood, or the file does not identify itself, or what is beside
            its pixels cannot be cleared, see `drawings.clean_pixel_data`.
    """
    burned = text(dataset, "BurnedInAnnotation").upper()
    if not allow_burned_in and (burned == "YES" or (is_capture(dataset) and burned != "NO")):
        raise SeriesError(
            "The image has, or as a screen capture may have, burned-in annotation. Look at it, and "
            "allow it if it names nobody."
        )
    patient = _owner(dataset)
    kept = _CHARACTERISTICS if keep_characteristics else set()
    try:
        copy = _copied(dataset)
        copy.file_meta = dataset.file_meta
        clean_pixel_data(copy)
        _clean(copy, rules, key, _shift_days(patient, key), kept)
        copy.file_meta = _file_meta(dataset.file_meta.TransferSyntaxUID, copy)
    except SeriesError:
        raise
    except Exception as error:  # what a damaged value raises depends on how it is damaged
        raise SeriesError(
            f"The header has a value that cannot be understood, or lacks what identifies the image "
            f"({type(error).__name__}). Export it again."
        ) from error
    name = pseudonym(patient, key)
    copy.PatientID = copy.PatientName = name
    copy.PatientIdentityRemoved = "YES"
    copy.DeidentificationMethod = "msk_jax: PS3.15 basic profile, modified dates"
    codes = [
        ("113100", "Basic Application Confidentiality Profile"),
        ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ]
    if keep_characteristics:
        codes.append(("113108", "Retain Patient Characteristics Option"))
    copy.DeidentificationMethodCodeSequence = Sequence([_code(*code) for code in codes])
    copy.LongitudinalTemporalInformationModified = "MODIFIED"
    return copy


def _owner(dataset: Dataset) -> str:
    """What tells a patient from others: files without a PatientID may be anyone's, so that each
    study of theirs, or series, or file is taken for a patient."""
    keywords = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    return next(filter(None, (text(dataset, keyword) for keyword in keywords)), "")


def _file_meta(syntax: str, copy: Dataset) -> pydicom.dataset.FileMetaDataset:
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = copy.SOPClassUID
    meta.MediaStorageSOPInstanceUID = copy.SOPInstanceUID
    return meta


def deidentify_file(path: Path, target: Path, key: bytes, rules: Rules, **options) -> None:
    """Write a de-identified copy of a file; see `deidentify`.

    Raises:
        SeriesError: the file cannot be read, or no valid file can be made of it; see `deidentify`.
    """
    copy = deidentify(read_header(path), key, rules, **options)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with replacing(target) as temporary:
            copy.save_as(temporary, enforce_file_format=True)
    except UserError:
        raise
    except Exception as error:  # a value that pydicom reads and will not write
        raise SeriesError(
            f"{path.name} cannot be written as a valid file ({type(error).__name__}). Export it "
            "again."
        ) from error


def keyed_uid(uid: str, key: bytes) -> str:
    """Another UID for a UID, the same for the same key (PS3.5 B.2: 2.25 and 128 bits)."""
    digest = hmac.new(key, f"uid {uid.strip()}".encode(), hashlib.sha256).digest()
    return f"{_UID_ROOT}{int.from_bytes(digest[:16], 'big')}"


def _shift_days(patient_id: str, key: bytes) -> int:
    """How many days a patient's dates move back: 1 to 3650."""
    digest = hmac.new(key, f"dates {patient_id.strip()}".encode(), hashlib.sha256).digest()
    return 1 + int.from_bytes(digest[:4], "big") % _MAX_SHIFT_DAYS


def _copied(dataset: Dataset) -> Dataset:
    """Data sets and sequences anew, values shared."""
    new = Dataset()
    for element in dataset:
        value = element.value
        if element.VR == "SQ":
            value = Sequence([_copied(item) for item in value or []])
        new.add(pydicom.DataElement(element.tag, element.VR, value, already_converted=True))
    return new


def _clean(dataset: Dataset, rules: Rules, key: bytes, days: int, kept: set[str]) -> None:
    for element in list(dataset):
        action = "" if element.keyword in kept else rules.action(element.tag)
        is_moment = action and not element.tag.is_private and element.keyword not in _OF_BIRTH
        if is_moment and element.VR in _DATES:
            element.value = _shifted(element.value, days)
        elif is_moment and element.VR in _TIMES:
            # The time of day says little without its date.
            if not re.fullmatch(r"[0-9:. ]*", text(dataset, element.keyword)):
                element.value = None
        elif action == "uid" and element.VR == "UI":
            element.value = _keyed(element.value, key)
        elif action == "remove":
            del dataset[element.tag]
        elif element.VR == "SQ" and action in ("", "replace", "uid"):
            for item in element.value:
                for keyword in PIXELS:  # a picture of a picture: of an icon, of a film
                    item.pop(keyword, None)
                _clean(item, rules, key, days, kept)
        elif action == "empty":
            element.value = Sequence() if element.VR == "SQ" else None
        elif action:
            _replace(dataset, element)


def _replace(dataset: Dataset, element: pydicom.DataElement) -> None:
    if element.VR in _DUMMY:
        element.value = _DUMMY[element.VR]
    else:
        del dataset[element.tag]


def _keyed(value, key: bytes):
    if isinstance(value, str) or value is None:
        return keyed_uid(value, key) if value else value
    return [keyed_uid(str(one), key) for one in value]


def _shifted(value, days: int):
    """A date or date with time moved back; what is no date is emptied."""
    if value is None or value == "":
        return value
    if not isinstance(value, str | datetime.date):
        return [_shifted(one, days) for one in value]
    found = re.fullmatch(r"([0-9]{8})([0-9.+-]*)", str(value).strip())
    try:
        date = datetime.datetime.strptime(found[1], "%Y%m%d").date()
        return f"{date - datetime.timedelta(days):%Y%m%d}{found[2]}"
    except (TypeError, ValueError, OverflowError):
        return ""


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning[:64]
    return item
