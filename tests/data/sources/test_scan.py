"""Folders as hospitals export them: read right, or refused with the reason."""

import shutil

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, SecondaryCaptureImageStorage

from msk_jax.data.images.series import parse_age, read_series
from msk_jax.data.sources.scan import scan
from msk_jax.errors import SeriesError, UserError
from tests.data.ct_files import ramp, rewrite, uid, write_ct


@pytest.fixture
def series(tmp_path):
    """Files of a series of 8 slices, and what they hold."""
    hu = ramp()
    return write_ct(tmp_path / "ct", hu, origin=(-10, -20, 30)), hu


def test_volume_units_and_patient(series):
    files, hu = series
    ct = read_series(files)
    assert ct.voxels.dtype == np.int16 and np.array_equal(ct.voxels, hu)
    assert ct.spacing_mm == pytest.approx((3, 3, 2.5))
    assert ct.origin_mm == pytest.approx((-10, -20, 30))
    assert (ct.patient_id, ct.age_years, ct.sex, ct.modality) == ("PAT-1", 45, "F", "CT")
    image = ct.to_sitk()
    assert image.TransformIndexToPhysicalPoint((1, 2, 3)) == pytest.approx((-7, -14, 37.5))
    assert image[1, 2, 3] == hu[3, 2, 1]


def test_scrambled_files_equal_ordered_ones(series, tmp_path):
    files, hu = series
    rng = np.random.default_rng(0)
    for k, i in enumerate(rng.permutation(len(files))):
        target = tmp_path / "scrambled" / f"deep{i % 3}" / f"IM{k}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(files[i], target)
    found = scan(tmp_path / "scrambled")
    (paths,) = found.series.values()
    assert np.array_equal(read_series(reversed(paths)).voxels, hu)


@pytest.mark.parametrize(
    ("orientation", "store"),
    [
        ((1, 0, 0, 0, 1, 0), lambda v: v),
        ((-1, 0, 0, 0, 1, 0), lambda v: v[::-1, :, ::-1]),
        ((1, 0, 0, 0, -1, 0), lambda v: v[::-1, ::-1, :]),
        ((-1, 0, 0, 0, -1, 0), lambda v: v[:, ::-1, ::-1]),
        ((0, 1, 0, 1, 0, 0), lambda v: v[::-1].transpose(0, 2, 1)),
        ((0, 1, 0, -1, 0, 0), lambda v: v[:, :, ::-1].transpose(0, 2, 1)),
    ],
)
def test_every_stored_orientation_gives_the_same_volume(tmp_path, orientation, store):
    canonical = ramp()
    spacing = np.array((2.0, 3.0, 2.5))  # of the canonical volume, x, y, z
    stored = store(canonical)
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(row, column)
    # The first stored pixel of the first slice: the low end of each axis, or its high end where
    # the axis is stored backwards.
    last = (np.array(canonical.shape[::-1]) - 1) * spacing
    first = np.where((row + column + normal) < 0, last, 0) + np.array((5, 6, 7))
    column_mm, row_mm = abs(row) @ spacing, abs(column) @ spacing
    files = write_ct(
        tmp_path, stored, origin=first, spacing=(column_mm, row_mm, 2.5), orientation=orientation
    )
    ct = read_series(files)
    assert np.array_equal(ct.voxels, canonical)
    assert ct.origin_mm == pytest.approx((5, 6, 7))
    assert ct.spacing_mm == pytest.approx(tuple(spacing))


@pytest.mark.parametrize(("vr", "value"), [("SS", -2000), ("US", 63536)])
def test_slope_padding_and_clipping(tmp_path, vr, value):
    stored = np.zeros((6, 4, 4), np.int16)
    # Padding of signed pixels is found in files as unsigned too: 63536 = 65536 - 2000.
    stored[:, 0, :3] = -2000, 100, 30000
    for k, file in enumerate(write_ct(tmp_path, stored)):
        rewrite(
            file,
            PixelData=stored[k].tobytes(),
            PixelRepresentation=1,
            RescaleSlope=2,
            RescaleIntercept=4000,
        )
        data = pydicom.dcmread(file)
        data.add_new("PixelPaddingValue", vr, value)
        data.save_as(file)
    voxels = read_series(sorted(tmp_path.iterdir())).voxels
    # Padding is air although its rescaled value would be 0.
    assert voxels[0, 0].tolist() == [-1024, 4200, 32767, 4000]


@pytest.mark.parametrize("turned", [False, True])
def test_monochrome1_with_and_without_turned_values(tmp_path, turned):
    hu = np.full((6, 12, 12), -1000, np.int16)
    hu[:, 4:8, 4:9] = 300
    for k, file in enumerate(write_ct(tmp_path, hu)):
        stored = (hu[k].astype(int) + 1024).astype(np.uint16)
        if turned:
            stored = 65535 - stored
        rewrite(file, PixelData=stored.tobytes(), PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(read_series(sorted(tmp_path.iterdir())).voxels, hu)


def test_monochrome1_that_cannot_be_told_is_refused(series):
    for file in series[0]:
        rewrite(file, PhotometricInterpretation="MONOCHROME1")
    with pytest.raises(SeriesError, match="MONOCHROME1"):
        read_series(series[0])


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"Modality": "MR"}, r"MR where CT is due \(003.dcm\)"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "1 of 8 files are localizers"),
        ({"SOPClassUID": SecondaryCaptureImageStorage}, "does not state where it lies"),
        ({"ImagePositionPatient": None}, "003.dcm does not state where it lies"),
        ({"ImageOrientationPatient": None}, "003.dcm does not state where it lies"),
        ({"PixelSpacing": None}, "003.dcm does not state where it lies"),
        ({"RescaleSlope": None}, "003.dcm has no usable rescale slope"),
        ({"RescaleSlope": 0}, "003.dcm has no usable rescale slope"),
        ({"RescaleType": "Z_EFF"}, "003.dcm are Z_EFF, not Hounsfield"),
        ({"NumberOfFrames": 3}, "003.dcm is a multi-frame object"),
        ({"Rows": 7}, "different image sizes"),
        ({"SamplesPerPixel": 3}, "003.dcm is a colour image"),
        ({"SeriesInstanceUID": uid("other")}, r"2 different series \(2 CT\)"),
        ({"PixelData": b"\0\0"}, "003.dcm cannot be read: the file is truncated"),
        ({"PixelData": None}, "003.dcm has no pixel data"),
        ({"ImagePositionPatient": [-10, -20, 30]}, "share the position z = 30.0"),
    ],
)
def test_one_bad_file_refuses_the_series(series, tags, message):
    rewrite(series[0][3], **tags)
    with pytest.raises(SeriesError, match=message):
        read_series(series[0])


@pytest.mark.parametrize(
    ("patient_id", "words"),
    [("SECRET-2", r"\(2 PatientIDs in 8 files\)"), ("", r"\(1 PatientID in 8 files, 1 of them")],
)
def test_one_series_of_several_patients_is_refused_and_names_none(series, patient_id, words):
    """Copies of an export were mixed: the series says it is one, the patients say otherwise."""
    rewrite(series[0][3], PatientID=patient_id)
    with pytest.raises(SeriesError, match=words) as caught:
        read_series(series[0])
    assert "SECRET" not in str(caught.value) and "PAT-1" not in str(caught.value)


def test_a_series_without_any_patient_id_is_read(series):
    for k, file in enumerate(series[0]):
        rewrite(file, PatientID="" if k % 2 else None)
    assert read_series(series[0]).patient_id == ""


def test_only_localizers(series):
    for file in series[0]:
        rewrite(file, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    with pytest.raises(SeriesError, match="only localizers"):
        read_series(series[0])
    assert not next(iter(scan(series[0][0].parent).headers.values())).is_volume


def test_missing_slice(series):
    with pytest.raises(SeriesError, match=r"between z = 35.0 and z = 40.0 mm \(1 missing\)"):
        read_series(series[0][:3] + series[0][4:])


def test_gantry_tilt(tmp_path):
    # 2.5 mm between slices along z while they slide 0.5 mm back: atan(0.2) = 11.3 degrees.
    files = write_ct(tmp_path, ramp(), step=(0, 0.5, 2.5))
    with pytest.raises(SeriesError, match=r"tilted by 11\.3 degrees"):
        read_series(files)


@pytest.mark.parametrize("kept", [0.3, 0.95])
def test_truncated_file_is_named(tmp_path, kept):
    files = write_ct(tmp_path, np.zeros((6, 64, 64), np.int16))
    content = files[2].read_bytes()
    files[2].write_bytes(content[: int(kept * len(content))])
    (paths,) = scan(tmp_path).series.values()
    assert len(paths) == 6, "a truncated slice must not silently leave its series"
    with pytest.raises(SeriesError, match=r"002\.dcm"):
        read_series(paths)


def test_missing_codec_names_the_extra(series, monkeypatch):
    file = series[0][0]
    data = pydicom.dcmread(file)
    data.file_meta.TransferSyntaxUID = JPEG2000Lossless
    data.PixelData = encapsulate([b"\xff\x4f\xff\x51"])
    data["PixelData"].VR = "OB"
    data.save_as(file)
    decoder = type("Decoder", (), {"is_available": False})
    monkeypatch.setattr("msk_jax.data.pixels.decode.get_decoder", lambda syntax: decoder)
    with pytest.raises(SeriesError, match=r'pip install "msk_jax\[codecs\]"'):
        read_series(series[0])


def test_scan_sorts_out_what_is_no_image(series, tmp_path):
    folder = series[0][0].parent
    (folder / "notes.txt").write_text("not an image")
    (folder / "fake.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 300)
    (folder / "empty").touch()
    content = series[0][0].read_bytes()
    (folder / "stub").write_bytes(content[:300])
    (folder / "DICOMDIR").write_bytes(content)
    found = scan(tmp_path)
    (paths,) = found.series.values()
    assert sorted(paths) == sorted(series[0])
    assert {path.name for path, _ in found.skipped} == {"notes.txt", "fake.dcm", "empty", "stub"}
    assert all(reason for _, reason in found.skipped)
    (header,) = found.headers.values()
    assert (header.patient_id, header.modality, header.num_files) == ("PAT-1", "CT", 8)


def test_a_named_pipe_does_not_block(series):
    import os

    os.mkfifo(series[0][0].parent / "pipe")
    assert [p.name for p, _ in scan(series[0][0].parent).skipped] == ["pipe"]


@pytest.mark.parametrize("content", [None, "text"])
def test_folder_without_dicom(tmp_path, content):
    if content:
        (tmp_path / "readme.txt").write_text(content)
    with pytest.raises(UserError, match=r"holds (no files|1 files but no DICOM)"):
        scan(tmp_path)


def test_missing_folder(tmp_path):
    with pytest.raises(UserError, match="There is no folder"):
        scan(tmp_path / "nowhere")


def test_age():
    assert [parse_age(v) for v in ("045Y", "018M", "006W", "012D")] == [45, 1.5, 0.11, 0.03]
    assert [parse_age(v) for v in ("54Y", "54", " 54y ", "54 Y", "18M", "3W", "0", "054.5Y")] == [
        54,
        54,
        54,
        54,
        1.5,
        0.06,
        0,
        54.5,
    ]
    unread = ("", "abcY", "Y", "-5", "999Y", "121", "1970", "54Y6M", "5-10", "54\\55", "\u0665")
    assert [parse_age(v) for v in unread] == [None] * len(unread)
    assert parse_age("120Y") == 120 and parse_age("999D") == 2.74
