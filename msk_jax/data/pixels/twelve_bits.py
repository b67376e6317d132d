"""JPEG Extended with 12 bits (process 4 of ISO/IEC 10918-1).

None of pydicom's codecs decodes it; GDCM does, and comes with SimpleITK.
"""

import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import JPEGExtended12Bit, SecondaryCaptureImageStorage, generate_uid

from msk_jax.data.dicom.headers import integer

_SHAPE = (
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelData",
)


def is_extended(dataset: Dataset) -> bool:
    """Whether the pixels are compressed so."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    return syntax == JPEGExtended12Bit and (integer(dataset, "BitsStored") or 0) > 8


def decode_extended(dataset: Dataset) -> np.ndarray:
    """Stored values [frames, rows, columns] of grey images.

    Raises:
        RuntimeError: damaged data.
    """
    # A file of the pixels alone: GDCM would apply the rescale slope and intercept of the whole.
    copy = Dataset()
    for keyword in _SHAPE:
        if keyword in dataset:
            copy[keyword] = dataset[keyword]
    copy.SOPClassUID, copy.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    copy.file_meta = FileMetaDataset()
    copy.file_meta.TransferSyntaxUID = JPEGExtended12Bit
    with tempfile.TemporaryDirectory(prefix="msk_jax-") as folder:
        path = Path(folder, "a.dcm")
        copy.save_as(path, enforce_file_format=True)
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))
