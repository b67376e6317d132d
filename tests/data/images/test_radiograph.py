"""Projections: which way is bright, and in which plane a millimetre is one."""

from pathlib import Path

import numpy as np
import pydicom.data
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from msk_jax.data.images.radiograph import read_radiograph, spacing_of
from msk_jax.errors import SeriesError
from tests.data.ct_files import rewrite, write_ct

STORED = np.array([[0, 100, 4095], [50, 60, 69]])
NO_PLACE = dict.fromkeys(
    ("ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept")
)


@pytest.fixture
def film(tmp_path):
    (file,) = write_ct(tmp_path, STORED[None] - 1024, BitsStored=12, HighBit=11)
    rewrite(file, Modality="DX", ViewPosition="AP", ImageLaterality="L", **NO_PLACE)
    return file


def test_bright_and_dark(film):
    plain = read_radiograph(film)
    assert plain.pixels.tolist() == STORED.tolist()
    assert (plain.modality, plain.view, plain.laterality) == ("DX", "AP", "L")
    rewrite(film, PhotometricInterpretation="MONOCHROME1", WindowCenter=1000, WindowWidth=400)
    dark = read_radiograph(film)
    assert dark.pixels.tolist() == (4095 - STORED).tolist()
    assert dark.window == (3095, 400)


def test_window_and_table_as_a_viewer_applies_them(film):
    rewrite(film, WindowCenter=60, WindowWidth=21)
    shown = read_radiograph(film, voi=True).pixels
    # PS3.3 C.11.2.1.2.1: y = ((x - (c - 0.5)) / (w - 1) + 0.5) * 4095
    assert shown[1] == pytest.approx(((np.array([50, 60, 69]) - 59.5) / 20 + 0.5) * 4095, abs=1e-3)
    assert shown[0].tolist() == [0, 4095, 4095]
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [3, 50, 12])
    table.add_new("LUTData", "US", [7, 8, 9])
    rewrite(film, VOILUTSequence=Sequence([table]), WindowCenter=None, WindowWidth=None)
    assert read_radiograph(film, voi=True).pixels.tolist() == [[7, 9, 9], [7, 9, 9]]


@pytest.mark.parametrize("name", ["6154", "6247", "6278"])
def test_dark_computed_radiographs_equal_gdcm(name):
    """MONOCHROME1 with a rescale slope: real files of three views."""
    (file,) = Path(pydicom.data.__file__).parent.rglob(name)
    ours, theirs = read_radiograph(file).pixels, sitk.GetArrayFromImage(sitk.ReadImage(file))[0]
    assert np.abs(ours - theirs).max() < 1e-3


@pytest.mark.parametrize(
    ("tags", "mm", "plane"),
    [
        ({"PixelSpacing": [0.15, 0.15]}, (0.15, 0.15), "detector"),
        ({"ImagerPixelSpacing": [0.2, 0.1]}, (0.2, 0.1), "detector"),
        ({"ImagerPixelSpacing": [0.2, 0.1], "PixelSpacing": [0.2, 0.1]}, (0.2, 0.1), "detector"),
        ({"ImagerPixelSpacing": [0.2, 0.2], "PixelSpacing": [0.17, 0.17]}, (0.17,) * 2, "patient"),
        (
            {"PixelSpacing": [0.2, 0.2], "PixelSpacingCalibrationType": "FIDUCIAL"},
            (0.2, 0.2),
            "patient",
        ),
        (
            {"ImagerPixelSpacing": [0.2, 0.2], "EstimatedRadiographicMagnificationFactor": 1.25},
            (0.16, 0.16),
            "patient",
        ),
        ({"NominalScannedPixelSpacing": [0.1, 0.1]}, (0.1, 0.1), "film"),
        ({"ImagerPixelSpacing": [0, 0]}, None, "unknown"),
        ({}, None, "unknown"),
    ],
)
def test_which_spacing_holds(tags, mm, plane):
    header = Dataset()
    for keyword, value in tags.items():
        setattr(header, keyword, value)
    found = spacing_of(header)
    assert found.plane == plane
    assert found.mm == (mm and pytest.approx(mm))


def test_several_frames_are_no_radiograph(film):
    rewrite(film, NumberOfFrames=3)
    with pytest.raises(SeriesError, match="3 frames where one projection is due"):
        read_radiograph(film)


@pytest.mark.parametrize("limit", [69, 4095])
def test_padding_that_leaves_one_value_or_none(film, limit):
    data = pydicom.dcmread(film)
    data.add_new("PixelPaddingValue", "US", 0)
    data.save_as(film)
    assert read_radiograph(film).pixels.min() == 50  # of what is no padding
    data.add_new("PixelPaddingRangeLimit", "US", limit)
    data.PixelData = np.where(STORED == 100, 60, STORED).astype(np.uint16).tobytes()
    data.save_as(film)
    with pytest.raises(SeriesError, match="PixelPaddingValue marks all pixels"):
        read_radiograph(film)


def test_pixels_that_are_not_square(film):
    rewrite(film, PixelAspectRatio=[2, 1])
    assert read_radiograph(film).spacing.mm is not None
    rewrite(film, PixelSpacing=None)
    with pytest.raises(SeriesError, match=r"not square \(PixelAspectRatio 2 to 1\)"):
        read_radiograph(film)
    rewrite(film, PixelAspectRatio=[1, 1])
    assert read_radiograph(film).spacing.mm is None
