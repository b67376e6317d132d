"""Stored pixels to values: codecs, look-up tables, odd bits, real-world values."""

import base64
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
)

from msk_jax.data.dicom.headers import integer, number, numbers, quiet, read_header, text
from msk_jax.data.images.series import parse_age
from msk_jax.data.images.volume import ReadOptions, read_volume
from msk_jax.data.pixels.codestream import frame_size
from msk_jax.data.pixels.values import read_frames, read_hounsfield, read_stored
from msk_jax.data.sources.scan import scan
from msk_jax.errors import SeriesError, UserError
from tests.data.ct_files import ramp, rewrite, uid, write_ct

PYDICOM = Path(pydicom.data.__file__).parent


@quiet
def frames(file, **options):
    return read_frames(Path(file), read_header(Path(file)), **options)


def mr_file(tmp_path, stored, **tags):
    """One MR slice with these stored values (uint16)."""
    (file,) = write_ct(tmp_path, stored[None].astype(np.int32) - 1024)
    none = {"RescaleSlope": None, "RescaleIntercept": None}
    rewrite(file, Modality="MR", SOPClassUID=MRImageStorage, **none, **tags)
    return file


# What GDCM must agree with to the bit, and how far lossy JPEG may differ (its rounding is free).
EQUAL = {
    "693_J2KI.dcm": 0,
    "CT_small.dcm": 0,
    "J2K_pixelrep_mismatch.dcm": 0,
    "JPEG2000.dcm": 0,
    "JPEGLSNearLossless_08.dcm": 0,
    "JPEGLSNearLossless_16.dcm": 0,
    "JPGExtended.dcm": 1,
    "MR_small_RLE.dcm": 0,
    "MR_small_bigendian.dcm": 0,
    "MR_small_expb.dcm": 0,
    "MR_small_implicit.dcm": 0,
    "MR_small_jp2klossless.dcm": 0,
    "MR_small_jpeg_ls_lossless.dcm": 0,
    "MR_small_padded.dcm": 0,
    "image_dfl.dcm": 0,
    "examples_overlay.dcm": 0,
    "rtdose_rle.dcm": 0,
}


@pytest.mark.parametrize(("name", "tolerance"), EQUAL.items())
def test_same_values_as_gdcm(name, tolerance, need):
    need("openjpeg", "libjpeg", "rle")
    file = pydicom.data.get_testdata_file(name)
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(file))
    ours = frames(file).values
    assert np.abs(ours - theirs.reshape(ours.shape)).max() <= tolerance


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_lossless_compression_changes_nothing(tmp_path, syntax, signed, need):
    need("openjpeg", "jpeg_ls", "rle")
    hu = ramp((5, 64, 60)) % 3000 - 1000
    sign = {"PixelRepresentation": signed, "RescaleIntercept": 0 if signed else -1024}
    files = write_ct(tmp_path, hu - 1024 * signed, BitsStored=12, HighBit=11, **sign)
    for file in files:
        data = pydicom.dcmread(file)
        data.compress(syntax)
        data.save_as(file)
    assert np.array_equal(read_volume(files).voxels, hu)
    assert np.array_equal([read_hounsfield(file, read_header(file))[0] for file in files], hu)


# 8 rows of 6 columns, the squares of 0 to 47, as OpenJPH 0.26.3 compresses them without loss.
HTJ2K = base64.b64decode(
    "/0//UQApQAAAAAAGAAAACAAAAAAAAAAAAAAABgAAAAgAAAAAAAAAAAABDwEB/1AACAACAAAACf9SAAwAAgABAAEEBEAB"
    "/1wAByCIiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAGEAAf+TwAAugCMAA/8bADb9/38n/KP7g/pt"
    "/en5eb5M/gP+XQkA+LgAwAArYAAWpAACQA8BQRAEcNNZ6CN9tgDH8XgcxxHTR6wfwcAAImcfkPm4APbicwD/2Q=="
)


def test_high_throughput_jpeg_2000(tmp_path, need):
    need("openjpeg")
    (file,) = write_ct(tmp_path, np.zeros((1, 8, 6), np.int16))
    data = pydicom.dcmread(file)
    data.PixelData = pydicom.encaps.encapsulate([HTJ2K])
    data.file_meta.TransferSyntaxUID = HTJ2KLossless
    data.save_as(file)
    squares = np.arange(48).reshape(1, 8, 6) ** 2
    assert np.array_equal(frames(file).values, squares - 1024)


def test_extended_jpeg_of_12_bits():
    """Against libjpeg-turbo 3, which imagecodecs 2026.3.6 decodes it with."""
    values = frames(PYDICOM / "test_files" / "JPEG-lossy.dcm").values
    assert values.shape == (1, 1024, 256) and (values.min(), values.max()) == (0, 264)
    assert values.mean(dtype=float) == pytest.approx(14.369991302490234, abs=1e-12)
    assert values[0, 400, 124:132].tolist() == [60, 62, 65, 68, 64, 62, 62, 63]


def test_a_codestream_larger_than_its_header_is_not_decoded(tmp_path, need):
    need("openjpeg")
    (file,) = write_ct(tmp_path, ramp((1, 64, 60)))
    data = pydicom.dcmread(file)
    data.compress(JPEG2000Lossless)
    data.PixelData = data.PixelData.replace(  # Xsiz and Ysiz: columns and rows
        bytes([0, 0, 0, 60, 0, 0, 0, 64]), bytes([0, 0, 255, 255, 0, 0, 255, 255]), 1
    )
    data.save_as(file)
    with pytest.raises(SeriesError, match="65535 x 65535 pixels where 64 x 60 pixels was promised"):
        frames(file)


def test_sizes_in_jpeg_markers():
    # SOI, a comment of 4 bytes, SOF3 (lossless): length 11, 12 bits, 300 rows, 200 columns.
    stream = b"\xff\xd8\xff\xfe\x00\x04ab\xff\xc3\x00\x0b\x0c\x01\x2c\x00\xc8\x01\x01\x11\x00"
    assert frame_size(stream) == (300, 200, 1)
    # JP2: the codestream counts, not what looks like one in a box of another kind before it.
    size = b"\xff\x4f\xff\x51\0\x29\0\0" + bytes((0, 0, 0, 7, 0, 0, 0, 9)) + bytes(24) + b"\0\3"
    other = size[:11] + b"\5" + size[12:]
    boxes = ((b"jP  ", b"\r\n\x87\n"), (b"uuid", other), (b"jp2c", size))
    file = b"".join((len(b) + 8).to_bytes(4, "big") + kind + b for kind, b in boxes)
    assert frame_size(size) == frame_size(file) == (9, 7, 3)
    assert frame_size(b"") is None and frame_size(b"\xff\xd8\xff") is None


def test_modality_table(tmp_path):
    stored = np.array([[0, 1, 2, 3], [4, 5, 9, 2]], np.uint16)
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [4, 2, 16], "OD"
    table["LUTDescriptor"].VR = "US"
    table.add_new("LUTData", "US", [100, 110, 130, 170])
    file = mr_file(tmp_path, stored, ModalityLUTSequence=Sequence([table]))
    found = frames(file)
    # Below the first mapped value the first entry, above the last the last (PS3.3 C.11.1.1).
    assert found.values[0].tolist() == [[100, 100, 100, 110], [130, 170, 170, 100]]
    assert found.units == "OD"


def units_map(**entries):
    code, item = Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "mm2/s", "UCUM", "mm2/s"
    item.MeasurementUnitsCodeSequence = Sequence([code])
    item.add_new("RealWorldValueFirstValueMapped", "US", 1)
    item.add_new("RealWorldValueLastValueMapped", "US", 4)
    for keyword, value in entries.items():
        setattr(item, keyword, value)
    return Sequence([item])


def test_real_world_values(tmp_path):
    stored = np.array([[0, 1, 2], [3, 4, 5]], np.uint16)
    linear = units_map(RealWorldValueSlope=0.5, RealWorldValueIntercept=-1.0)
    file = mr_file(tmp_path, stored, RealWorldValueMappingSequence=linear)
    found = frames(file, real_world=True)
    assert found.units == "mm2/s"
    assert found.padding[0].tolist() == [[True, False, False], [False, False, True]]
    assert found.values[0][~found.padding[0]].tolist() == [-0.5, 0, 0.5, 1]
    assert frames(file).units == "arbitrary" and frames(file).values.max() == 5
    rewrite(file, RealWorldValueMappingSequence=units_map(RealWorldValueLUTData=[9.0, 8, 7, 6]))
    assert frames(file, real_world=True).values[0, 0, 1:].tolist() == [9, 8]
    rewrite(file, RealWorldValueMappingSequence=units_map(RealWorldValueLUTData=[9.0, 8]))
    with pytest.raises(SeriesError, match="neither a slope nor a whole table"):
        frames(file, real_world=True)
    rewrite(file, RealWorldValueMappingSequence=None)
    with pytest.raises(SeriesError, match="no real-world-value map"):
        frames(file, real_world=True)


@pytest.mark.parametrize("signed", [False, True])
def test_bits_beside_the_pixel_do_not_count(tmp_path, signed):
    """12 of 16 bits hold the pixel; an overlay sits above them, or noise below."""
    values = np.array([[-5, 0, 2047], [-2048, 7, 1]]) if signed else np.array([[5, 0, 4095]])
    above = ((values & 0xFFF) | 0x9000).astype(np.uint16)
    low = (((values & 0xFFF) << 4) | 0x5).astype(np.uint16)
    for name, stored, high in (("above", above, 11), ("below", low, 15)):
        file = mr_file(
            tmp_path / name, stored, BitsStored=12, HighBit=high, PixelRepresentation=int(signed)
        )
        kept, _ = read_stored(file, read_header(file))
        assert kept[0].tolist() == values.tolist()
        if name == "above":  # GDCM takes the lowest bits whatever HighBit says
            theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))[0]
            assert kept[0].tolist() == theirs.tolist()


def test_float_pixels(tmp_path):
    file = mr_file(tmp_path, np.zeros((2, 2), np.uint16), PixelData=None, BitsAllocated=32)
    data = pydicom.dcmread(file)
    data.FloatPixelData = np.array([[0.5, -1], [2, 3]], np.float32).tobytes()
    for keyword in ("BitsStored", "HighBit", "PixelRepresentation"):
        delattr(data, keyword)
    data.save_as(file)
    assert frames(file).values[0].tolist() == [[0.5, -1], [2, 3]]


def test_padding_is_the_lowest_value_outside_ct(tmp_path):
    stored = np.full((5, 4, 4), 50, np.int32)
    stored[:, 0, 0], stored[:, 1, 1] = 0, 20
    files = write_ct(tmp_path, stored - 1024)
    for file in files:
        rewrite(file, Modality="MR", RescaleSlope=None, RescaleIntercept=None)
        data = pydicom.dcmread(file)
        data.add_new("PixelPaddingValue", "US", 0)
        data.save_as(file)
    assert read_volume(files).voxels[0, :2, :2].tolist() == [[20, 50], [50, 20]]


def enhanced(folder, count=6, spacing=0.5):
    """An enhanced CT: geometry per frame in scrambled order, slope shared, two stored echoes."""
    (file,) = write_ct(folder, ramp()[:1])
    data = pydicom.dcmread(file)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    for keyword in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
    ):
        delattr(data, keyword)
    order = [3, 0, 5, 1, 4, 2]
    data.NumberOfFrames = count
    data.PixelData = np.stack([ramp()[k] for k in order]).astype(np.uint16).tobytes()

    def group(sequence, **values):
        outer, inner = Dataset(), Dataset()
        for keyword, value in values.items():
            setattr(inner, keyword, value)
        setattr(outer, sequence, Sequence([inner]))
        return outer

    shared = group("PixelMeasuresSequence", PixelSpacing=[2.0, 1.0], SliceThickness=9)
    shared.update(group("PlaneOrientationSequence", ImageOrientationPatient=[0, 1, 0, 0, 0, -1]))
    shared.update(
        group(
            "PixelValueTransformationSequence", RescaleSlope=1, RescaleIntercept=0, RescaleType="HU"
        )
    )
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    data.PerFrameFunctionalGroupsSequence = Sequence(
        [
            group("PlanePositionSequence", ImagePositionPatient=[10 - k * spacing, 2, 3])
            for k in order
        ]
    )
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = uid("enhanced", folder)
    data.save_as(file)
    return file


def test_enhanced_multi_frame(tmp_path):
    file = enhanced(tmp_path)
    volume = read_volume([file])
    stored = ramp()[:6].astype(np.uint16).astype(np.float32)
    assert np.array_equal(volume.voxels, stored) and volume.units == "HU"
    # Row to P, column to I: the normal points to R, the way in which k counts.
    assert volume.spacing_mm == pytest.approx((1, 2, 0.5))
    assert volume.origin_mm == pytest.approx((10, 2, 3))
    assert volume.patient_mm((1, 2, 3)) == pytest.approx((9.5, 2 + 3, 3 - 4))
    data = pydicom.dcmread(file)
    data.PerFrameFunctionalGroupsSequence = data.PerFrameFunctionalGroupsSequence[:5]
    data.save_as(file)
    with pytest.raises(SeriesError, match="announces 6 frames and describes 5"):
        read_volume([file], options=ReadOptions())


def test_headers_that_promise_too_much(tmp_path):
    (file,) = write_ct(tmp_path, ramp()[:1])
    rewrite(file, Rows=65535, Columns=65535)
    with pytest.raises(SeriesError, match="promises 8,192 MB of pixels"):
        frames(file)


def test_deflated_bomb(tmp_path):
    (file,) = write_ct(tmp_path, ramp()[:1])
    data = pydicom.dcmread(file)
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    data.save_as(file)
    assert frames(file).values.shape == (1, 6, 5)
    content = file.read_bytes()
    start = 144 + pydicom.dcmread(file).file_meta.FileMetaInformationGroupLength
    deflate = zlib.compressobj(9, wbits=-15)
    bomb = deflate.compress(bytes(70 * 2**20)) + deflate.flush()
    file.write_bytes(content[:start] + bomb)
    with pytest.raises(SeriesError, match="unfolds to more than 64 MB"):
        read_header(file)
    with pytest.raises(UserError, match="made to harm"):
        scan(tmp_path)


def test_a_bomb_behind_a_wrong_length_of_the_meta_information(tmp_path):
    (file,) = write_ct(tmp_path, ramp()[:1])
    data = pydicom.dcmread(file)
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    data.save_as(file)
    start = 144 + pydicom.dcmread(file).file_meta.FileMetaInformationGroupLength
    deflate = zlib.compressobj(9, wbits=-15)
    bomb = deflate.compress(bytes(70 * 2**20)) + deflate.flush()
    content = bytearray(file.read_bytes()[:start] + bomb + b"\3\0")  # an empty deflate stream
    content[140:144] = (len(content) - 2 - 144).to_bytes(4, "little")
    file.write_bytes(bytes(content))
    with pytest.raises(SeriesError, match="unfolds to more than 64 MB"):
        read_header(file)


@pytest.mark.parametrize("tags", [{"RescaleSlope": "1e300"}, {"RescaleIntercept": "-1e300"}])
def test_values_too_large_for_a_number(tmp_path, tags):
    (file,) = write_ct(tmp_path, ramp()[:1], **tags)
    with pytest.raises(SeriesError, match="too large for one"):
        frames(file)


def test_a_negative_number_of_frames(tmp_path):
    (file,) = write_ct(tmp_path, ramp()[:1], SliceThickness=3, NumberOfFrames=-1)
    with pytest.raises(SeriesError, match="truncated or damaged"):
        read_volume([file])


def test_an_age_of_odd_digits_is_unknown():
    assert parse_age("\u00b2\u00b2\u00b2Y") is None and parse_age("006M") == 0.5


def test_plain_pixels_are_what_pydicom_gives(monkeypatch):
    """The short ways - pixels straight from the file, whole numbers, raw header values - and the
    long ones give the same."""
    names = [
        "CT_small.dcm",
        "MR_small.dcm",
        "MR_small_implicit.dcm",
        "MR_small_bigendian.dcm",
        "liver_1frame.dcm",
        "rtdose_1frame.dcm",
        "JPEG-lossy.dcm",
    ]
    read = [PYDICOM / "test_files" / name for name in names]
    keywords = ["Modality", "PatientID", "SOPInstanceUID", "ImageType", "RescaleType", "PatientAge"]

    def told(file):
        header = read_header(file)
        triples = [numbers(header, "ImagePositionPatient", 3), numbers(header, "PixelSpacing", 2)]
        singles = [number(header, k) for k in ("RescaleSlope", "WindowCenter", "SliceThickness")]
        whole = [integer(header, k) for k in ("Rows", "BitsStored", "NumberOfFrames")]
        return [text(header, k) for k in keywords], triples, singles, whole

    with monkeypatch.context() as patch:
        patch.setattr("msk_jax.data.pixels.decode._read_plain", lambda *rest: None)
        patch.setattr("msk_jax.data.dicom.headers._raw", lambda *rest: None)
        patch.setattr("msk_jax.data.dicom.headers.read_plain", lambda *rest, **options: None)
        expected = [(read_stored(f, read_header(f))[0], told(f)) for f in read]
    for file, (stored, words) in zip(read, expected, strict=True):
        assert np.array_equal(read_stored(file, read_header(file))[0], stored)
        assert told(file) == words


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("intercept", [-1024, -2000, 30000])
def test_whole_numbers_become_hounsfield_units(tmp_path, signed, intercept, monkeypatch):
    stored = ramp((1, 60, 50)).astype(int) + (-3000 if signed else 1000)
    (file,) = write_ct(
        tmp_path, stored - 1024, PixelRepresentation=signed, RescaleIntercept=intercept
    )
    data = pydicom.dcmread(file)
    data.add_new("PixelPaddingValue", "SS" if signed else "US", int(stored[0, 7, 7]))
    data.save_as(file)
    expected = np.clip(stored + intercept, -1024, 32767)
    expected[0, 7, 7] = -1024
    assert np.array_equal(read_hounsfield(file, read_header(file)), expected)
    monkeypatch.setattr("msk_jax.data.pixels.values._whole_intercept", lambda *rest: None)
    assert np.array_equal(read_hounsfield(file, read_header(file)), expected)
