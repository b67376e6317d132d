"""Tiny CT series written with pydicom, and a pelvis of boxes whose joints are where we put them."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = (1, 0, 0, 0, 1, 0)
JOINT_Z = (-25.0, 25.0)
"""Bottom and top of the box pelvis' joints, mm."""


def uid(*words) -> str:
    """The same identifier for the same words."""
    return generate_uid(entropy_srcs=["msk_jax tests", *map(str, words)])


def box_pelvis(spacing=(3.0, 3.0, 2.5), shape=(48, 128, 128), shift=(0.0, 0.0)):
    """HU int16 [z, y, x] and the origin (x, y, z); midline at x = shift[0], symmetric.

    Wings at 48 to 125 mm beside the midline in every slice; the sacrum, 45 mm wide on each side
    and 45 mm behind y = 0, only within JOINT_Z; above and below it a narrow spine.
    """
    origin = [-(n - 1) / 2 * s for n, s in zip(shape[::-1], spacing, strict=True)]
    z, y, x = np.meshgrid(
        *(o + np.arange(n) * s for o, n, s in zip(origin[::-1], shape, spacing[::-1], strict=True)),
        indexing="ij",
    )
    x, y = np.abs(x - shift[0]), y - shift[1]
    hu = np.where((x / 170) ** 2 + ((y - 10) / 120) ** 2 < 1, 40, -1000)
    wing = (x >= 48) & (x <= 125) & (y >= -20) & (y <= 30)
    in_joint = (z >= JOINT_Z[0]) & (z <= JOINT_Z[1])
    sacrum = (x <= np.where(in_joint, 45, 20)) & (y >= 0) & (y <= 45)
    return np.where(wing | sacrum, 500, hu).astype(np.int16), tuple(origin)


def write_ct(
    folder: Path,
    hu: np.ndarray,
    origin=(0.0, 0.0, 0.0),
    spacing=(3.0, 3.0, 2.5),
    orientation=AXIAL,
    step=None,
    patient_id="PAT-1",
    series="a",
    name="{:03d}.dcm",
    **tags,
) -> list[Path]:
    """Write hu [slices, rows, columns], as stored, one file a slice.

    `spacing` is (between columns, between rows, between slices) in mm, `origin` the position of
    the first pixel of the first slice, `step` the way to the next slice (default: along the
    slice normal).
    """
    folder.mkdir(parents=True, exist_ok=True)
    row, column = np.array(orientation[:3], float), np.array(orientation[3:], float)
    step = np.cross(row, column) * spacing[2] if step is None else np.asarray(step)
    files = []
    for k, image in enumerate(hu):
        file = folder / name.format(k)
        position = np.asarray(origin) + k * step
        write_slice(file, image, position, orientation, spacing, patient_id, series, k, **tags)
        files.append(file)
    return files


def write_slice(file, image, position, orientation, spacing, patient_id, series, number, **tags):
    """One CT slice; stored value = HU + 1024, 16 bits unsigned unless tags say otherwise."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = uid(patient_id, series, number, file)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(file), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID = CTImageStorage
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID = uid(patient_id, "study")
    data.SeriesInstanceUID = uid(patient_id, series)
    data.PatientID, data.PatientName = patient_id, f"Doe^{patient_id}"
    data.PatientAge, data.PatientSex, data.PatientBirthDate = "045Y", "F", "19810203"
    data.AccessionNumber, data.InstitutionName = "ACC4711", "Hospital Elsewhere"
    data.Modality, data.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    # Scanners count in any direction: nothing may rely on it.
    data.InstanceNumber = 1000 - number
    data.ImagePositionPatient = [f"{v:.4f}" for v in position]
    data.ImageOrientationPatient = [f"{v:.6f}" for v in orientation]
    data.PixelSpacing = [spacing[1], spacing[0]]
    data.Rows, data.Columns = image.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.RescaleSlope, data.RescaleIntercept = 1, -1024
    data.PixelData = (image.astype(np.int32) + 1024).astype(np.uint16).tobytes()
    edit(data, tags)
    data.save_as(file, enforce_file_format=True)


def edit(data, tags: dict) -> None:
    """Set tags; None deletes one."""
    for keyword, value in tags.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)


def rewrite(file: Path, **tags) -> None:
    """Change tags of a file in place."""
    data = pydicom.dcmread(file)
    edit(data, tags)
    data.save_as(file)


def ramp(shape=(8, 6, 5)) -> np.ndarray:
    """A small volume in which every voxel differs, [z, y, x]."""
    return (np.arange(np.prod(shape)).reshape(shape) * 3 - 200).astype(np.int16)
