"""A rendered projection as a hospital's DICOM export: one CR or DX image file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    generate_uid,
)

STORAGE = {"CR": ComputedRadiographyImageStorage, "DX": DigitalXRayImageStorageForPresentation}
# SNOMED CT codes of the regions and of the views (DICOM PS3.16 CID 4031 and CID 4010).
REGIONS = {"CHEST": ("816094009", "Chest"), "KNEE": ("72696002", "Knee")}
VIEWS = {
    "PA": ("272479007", "postero-anterior"),
    "AP": ("399348003", "antero-posterior"),
    "LL": ("399067008", "lateral"),
}


@dataclass(frozen=True)
class Exposure:
    """What the header of one projection says."""

    patient_id: str
    name: str
    sex: str
    age: int
    site: str
    model: str  # ManufacturerModelName
    kind: str  # CR or DX
    inverted: bool  # stored as MONOCHROME1
    body_part: str
    view: str  # PA, AP or LL
    laterality: str  # L, R or U (unpaired)
    number: int  # of the patient: makes dates and the study identifier
    instance: int  # of the image within the study, from 1
    seed: int  # the UIDs follow from seed, number and instance alone
    kvp: float
    pixel_mm: float  # at the detector
    magnification: float

    def uid(self, *what: str) -> str:
        entropy = ["msk_jax radiograph", self.body_part, str(self.seed), str(self.number), *what]
        return generate_uid(entropy_srcs=entropy)

    @property
    def series_uid(self) -> str:
        return self.uid("series", str(self.instance))


def write_radiograph(path: Path, exposure: Exposure, stored: np.ndarray) -> Path:
    """Write a picture (uint16 [rows, columns], 12 bits, dense tissue bright)."""
    dataset = _header(exposure)
    _geometry(dataset, exposure)
    levels = 4095 - stored if exposure.inverted else stored
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if exposure.inverted else "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.WindowCenter, dataset.WindowWidth = 2048, 4096
    if exposure.kind == "DX":
        dataset.PixelIntensityRelationship = "LOG"
        dataset.PixelIntensityRelationshipSign = 1 if exposure.inverted else -1
        dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "US"
        dataset.PresentationLUTShape = "INVERSE" if exposure.inverted else "IDENTITY"
        dataset.LossyImageCompression = "00"
        dataset.BurnedInAnnotation = "NO"
        dataset.DetectorType = "SCINTILLATOR"
        dataset.DetectorConfiguration = "AREA"
    dataset.PixelData = levels.astype("<u2").tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def _header(exposure: Exposure) -> Dataset:
    """Patient, study, series and equipment."""
    storage = STORAGE[exposure.kind]
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = storage
    ds.file_meta.MediaStorageSOPInstanceUID = exposure.uid("instance", str(exposure.instance))
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    ds.SOPClassUID, ds.SOPInstanceUID = storage, exposure.uid("instance", str(exposure.instance))
    number = exposure.number
    date = f"{2018 + number // 336 % 5}{1 + number // 28 % 12:02d}{1 + number % 28:02d}"
    time = f"{8 + number % 10:02d}{number * 7 % 60:02d}{10 * exposure.instance:02d}"
    for what in ("Study", "Series", "Acquisition", "Content"):
        setattr(ds, f"{what}Date", date)
        setattr(ds, f"{what}Time", time)
    ds.StudyTime = time[:4] + "00"
    ds.AccessionNumber = ""
    ds.Modality = exposure.kind
    if exposure.kind == "DX":
        ds.PresentationIntentType = "FOR PRESENTATION"
    ds.Manufacturer, ds.ManufacturerModelName = "msk_jax phantom", exposure.model
    ds.InstitutionName = f"Phantom site {exposure.site}"
    ds.ReferringPhysicianName = ""
    part = exposure.body_part.lower()
    ds.StudyDescription = f"Radiograph of the {part} (synthetic phantom)"
    ds.SeriesDescription = f"{part.capitalize()} {exposure.view}"
    ds.PatientName, ds.PatientID = exposure.name, exposure.patient_id
    ds.PatientBirthDate, ds.PatientSex = "", exposure.sex
    ds.PatientAge = f"{exposure.age:03d}Y"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = exposure.uid("study"), exposure.series_uid
    ds.StudyID, ds.SeriesNumber = str(number + 1), exposure.instance
    ds.AcquisitionNumber, ds.InstanceNumber = exposure.instance, 1
    return ds


def _geometry(ds: Dataset, exposure: Exposure) -> None:
    """Body part, view, distances and the size of a pixel."""
    ds.BodyPartExamined, ds.ViewPosition = exposure.body_part, exposure.view
    ds.KVP = exposure.kvp
    ds.DistanceSourceToDetector = 1800
    ds.DistanceSourceToPatient = round(1800 / exposure.magnification, 1)
    ds.ImagerPixelSpacing = [exposure.pixel_mm, exposure.pixel_mm]
    down = "F"
    right = {"PA": "L", "AP": "L", "LL": "A"}[exposure.view]
    ds.PatientOrientation = [right, down]
    if exposure.kind == "DX":
        ds.EstimatedRadiographicMagnificationFactor = exposure.magnification
        ds.ImageLaterality = exposure.laterality
        ds.AnatomicRegionSequence = Sequence([_code(*REGIONS[exposure.body_part])])
        ds.ViewCodeSequence = Sequence([_code(*VIEWS[exposure.view])])
        ds.ViewCodeSequence[0].ViewModifierCodeSequence = Sequence([])
        ds.PositionerType = "NONE"
        ds.AcquisitionContextSequence = Sequence([])
    elif exposure.laterality != "U":
        ds.Laterality = exposure.laterality


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "SCT", meaning
    return code
