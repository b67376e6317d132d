"""MR sequences as protocols write them, and how sure one may be."""

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from msk_jax.data.dicom.mr import plane_of, recognise


def header(te=None, tr=None, ti=None, said="", kind="SE", options=(), flip=None, plane=None):
    data = Dataset()
    values = {"EchoTime": te, "RepetitionTime": tr, "InversionTime": ti, "FlipAngle": flip}
    for keyword, value in values.items():
        if value is not None:
            setattr(data, keyword, value)
    data.SeriesDescription, data.ScanningSequence = said, kind
    data.ScanOptions = list(options)
    data.ImageOrientationPatient = plane or [1, 0, 0, 0, 0, -1]
    return data


@pytest.mark.parametrize(
    ("data", "weighting", "fat", "confidence"),
    [
        (header(12, 600, said="COR T1 TSE"), "T1", None, "high"),
        (header(90, 4000, said="ax t2 fs", options=["FS"]), "T2", True, "high"),
        (header(30, 3000, said="SAG PD SPAIR"), "PD", True, "high"),
        (header(35, 4500, 160, said="COR STIR", kind="IR"), "STIR", True, "high"),
        (header(60, 5000, 220, said="cor TIRM", kind=["SE", "IR"]), "STIR", True, "high"),
        (header(110, 9000, 2500, said="flair", kind="IR"), "FLAIR", None, "high"),
        (header(15, 500, said="ax medic", kind="GR", flip=30), "T2*", None, "high"),
        (header(3, 8, said="VIBE 3D", kind="GR", flip=20), "T1", None, "high"),
        (header(12, 600, said="series 7"), "T1", None, "medium"),
        (header(said="COR T1"), "T1", None, "medium"),
        (header(12, 600, said="T2 weighted"), "T1", None, "low"),
        (header(said="hip"), "unknown", None, "none"),
        (header(20, 1400, said=""), "unknown", None, "none"),
        (header(12, 600, said="ax t1", options=["PFF"]), "T1", False, "high"),
    ],
)
def test_sequences(data, weighting, fat, confidence):
    found = recognise(data)
    assert (found.weighting, found.fat_suppressed, found.confidence) == (weighting, fat, confidence)
    assert bool(found.evidence) == (confidence != "none")


def test_enhanced_header():
    shared, echo, timing, modifier = Dataset(), Dataset(), Dataset(), Dataset()
    echo.EffectiveEchoTime, timing.RepetitionTime = 85.0, 3500.0
    modifier.SpectrallySelectedSuppression = "FAT"
    shared.MREchoSequence = Sequence([echo])
    shared.MRTimingAndRelatedParametersSequence = Sequence([timing])
    shared.MRModifierSequence = Sequence([modifier])
    data = Dataset()
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    found = recognise(data)
    assert (found.weighting, found.fat_suppressed, found.confidence) == ("T2", True, "medium")


@pytest.mark.parametrize(
    ("orientation", "plane"),
    [
        ([1, 0, 0, 0, 1, 0], "axial"),
        ([1, 0, 0, 0, 0, -1], "coronal"),
        ([0, 1, 0, 0, 0, -1], "sagittal"),
        ([1, 0, 0, 0, 0.940, -0.342], "axial"),  # 20 degrees
        ([1, 0, 0, 0, 0.766, -0.643], "oblique"),  # 40 degrees
    ],
)
def test_planes(orientation, plane):
    assert plane_of(header(plane=orientation)) == plane


def test_no_plane():
    assert plane_of(Dataset()) == "unknown"
