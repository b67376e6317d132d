"""A rendered volume as a scanner's DICOM export: one CT Image Storage file per slice."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

INTERCEPT = -1024


@dataclass(frozen=True)
class Study:
    """What the headers of one series say besides geometry."""

    patient_id: str
    name: str
    sex: str
    age: int
    site: str
    kernel: str
    kvp: float
    number: int  # makes dates and the study identifier
    entropy: tuple[str, ...]  # the UIDs follow from this alone
    feet_first: bool  # the table moved the other way: instance 1 is the lowest slice
    model: str = "P1 sacroiliac"
    body_part: str = "PELVIS"
    description: str = "Sacroiliac joints, axial, bone"

    def uid(self, *what: str) -> str:
        return generate_uid(entropy_srcs=["msk_jax phantom", *self.entropy, *what])

    @property
    def series_uid(self) -> str:
        return self.uid("series")


def write_series(
    folder: Path, study: Study, hu: np.ndarray, spacing_mm, origin_mm, rng: np.random.Generator
) -> list[Path]:
    """Write hu (int16 [slices, rows, columns], z and y ascending) and return the paths.

    spacing_mm and origin_mm are (x, y, z); the origin is the centre of voxel [0, 0, 0]. Files are
    named in an order that is neither anatomical nor that of the instance numbers.
    """
    folder.mkdir(parents=True)
    count = len(hu)
    stored = (np.clip(hu.astype(np.int32) - INTERCEPT, 0, 4095)).astype("<u2")
    names = rng.permutation(count)
    paths = []
    for k in range(count):
        instance = k + 1 if study.feet_first else count - k
        position = (origin_mm[0], origin_mm[1], origin_mm[2] + k * spacing_mm[2])
        dataset = _slice(study, stored[k], instance, position, spacing_mm, k)
        path = folder / f"I{int(names[k]):05d}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _slice(study: Study, pixels: np.ndarray, instance: int, position, spacing_mm, k: int):
    """One CT image with the attributes its storage class asks for."""
    uid = study.uid("instance", str(k))
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = Dataset()
    ds.file_meta = meta
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, uid
    date = (
        f"{2020 + study.number // 336 % 5}{1 + study.number // 28 % 12:02d}"
        f"{1 + study.number % 28:02d}"
    )
    time = f"{8 + study.number % 10:02d}{study.number * 7 % 60:02d}00"
    for what in ("Study", "Series", "Acquisition", "Content"):
        setattr(ds, f"{what}Date", date)
        setattr(ds, f"{what}Time", time)
    ds.AccessionNumber = ""
    ds.Modality = "CT"
    ds.Manufacturer = "msk_jax phantom"
    ds.ManufacturerModelName = study.model
    ds.InstitutionName = f"Phantom site {study.site}"
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = f"CT {study.body_part.lower()} (synthetic phantom)"
    ds.SeriesDescription = study.description
    ds.PatientName, ds.PatientID = study.name, study.patient_id
    ds.PatientBirthDate = ""
    ds.PatientSex, ds.PatientAge = study.sex, f"{study.age:03d}Y"
    ds.BodyPartExamined = study.body_part
    ds.KVP = study.kvp
    ds.SliceThickness = spacing_mm[2]
    ds.ConvolutionKernel = study.kernel
    ds.PatientPosition = "HFS"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study.uid("study"), study.series_uid
    ds.FrameOfReferenceUID = study.uid("frame")
    ds.PositionReferenceIndicator = ""
    ds.StudyID, ds.SeriesNumber, ds.AcquisitionNumber = str(study.number + 1), 2, 1
    ds.InstanceNumber = instance
    ds.ImagePositionPatient = [round(float(v), 4) for v in position]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing = [spacing_mm[1], spacing_mm[0]]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.WindowCenter, ds.WindowWidth = 400, 1500
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = INTERCEPT, 1, "HU"
    ds.PixelData = pixels.tobytes()
    return ds
