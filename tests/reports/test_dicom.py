"""Results as DICOM objects: valid, unverified, and pointing at the images they come from."""

import copy
import shutil
import subprocess

import numpy as np
import pydicom
import pytest

from msk_jax.errors import UserError
from msk_jax.phantoms.dicom_writer import Study, write_series

pytest.importorskip("highdicom", reason="highdicom is not installed")

from msk_jax.reports.dicom import (
    Finding,
    ModelIdentity,
    checkpoint_sha256,
    measurement_report,
    secondary_capture,
    segmentation,
    write,
)

MODEL = ModelIdentity("sacroiliitis", "0.1.0", "ab" * 32)
FINDINGS = [
    Finding("sacroiliitis", 0.25, "sacroiliac joint", "left"),
    Finding("sacroiliitis", 0.75, "sacroiliac joint", "right"),
    Finding("sacroiliitis", 0.75),
]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Headers of four slices, in patient order, and their folder."""
    study = Study("PAT-1", "Doe^Jane", "F", 45, "A", "B", 120.0, 7, ("test",), False)
    hu = np.zeros((4, 16, 12), np.int16)
    folder = tmp_path_factory.mktemp("sources") / "ct"
    files = write_series(folder, study, hu, (1.0, 1.0, 2.5), (0, 0, 0), np.random.default_rng(0))
    headers = [pydicom.dcmread(file) for file in files]
    return sorted(headers, key=lambda h: h.ImagePositionPatient[2])


@pytest.fixture(scope="module")
def results(sources):
    mask = np.zeros((4, 16, 12), bool)
    mask[1:3, 4:9, 2:7] = True
    picture = np.full((20, 30, 3), 128, np.uint8)
    return {
        "sr": measurement_report(sources, FINDINGS, MODEL),
        "seg": segmentation(sources, mask, "erosion", MODEL),
        "sc": secondary_capture(sources, picture, "heat map", MODEL),
    }


@pytest.mark.parametrize("kind", ["sr", "seg", "sc"])
def test_valid_by_dciodvfy_and_dcmtk(results, kind, tmp_path):
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (Debian package dicom3tools) is not installed")
    write(results[kind], tmp_path / "a.dcm")
    told = subprocess.run(["dciodvfy", str(tmp_path / "a.dcm")], capture_output=True, text=True)
    errors = [line for line in told.stderr.splitlines() if line.startswith("Error")]
    assert not errors, "\n".join(errors)
    assert pydicom.dcmread(tmp_path / "a.dcm").SOPInstanceUID == results[kind].SOPInstanceUID
    if kind == "sr" and shutil.which("dsrdump"):
        command = ["dsrdump", str(tmp_path / "a.dcm")]
        dumped = subprocess.run(command, capture_output=True, text=True)
        assert dumped.returncode == 0 and "sacroiliitis" in dumped.stdout


@pytest.mark.parametrize("kind", ["sr", "seg", "sc"])
def test_same_patient_and_study_and_every_source(results, sources, kind, tmp_path):
    result = results[kind]
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID"):
        assert result[keyword].value == sources[0][keyword].value
    assert result.SeriesInstanceUID != sources[0].SeriesInstanceUID
    write(result, tmp_path / "a.dcm")
    whole = (tmp_path / "a.dcm").read_bytes()
    named = [source.SOPInstanceUID.encode() in whole for source in sources]
    assert all(named) if kind != "seg" else named[1] and named[2]
    assert MODEL.sha256[:16].encode() in whole and MODEL.name.encode() in whole


def test_report_is_preliminary_unverified_and_holds_the_probabilities(results):
    report = results["sr"]
    assert (report.VerificationFlag, report.CompletionFlag) == ("UNVERIFIED", "PARTIAL")
    assert report.PreliminaryFlag == "PRELIMINARY"
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"

    def values(item):
        if item.ValueType == "NUM":
            yield float(item.MeasuredValueSequence[0].NumericValue)
        for inner in item.get("ContentSequence", []):
            yield from values(inner)

    assert sorted(values(report)) == [0.25, 0.75, 0.75]


def test_mask_and_picture_come_back(results):
    seg = results["seg"]
    stored = pydicom.pixels.pixel_array(seg)
    assert stored.shape == (2, 16, 12) and stored.sum() == 2 * 5 * 5
    where = [
        float(group.PlanePositionSequence[0].ImagePositionPatient[2])
        for group in seg.PerFrameFunctionalGroupsSequence
    ]
    assert sorted(where) == [2.5, 5.0]
    assert seg.ContentLabel == "UNVERIFIED"
    assert np.array_equal(results["sc"].pixel_array, np.full((20, 30, 3), 128))
    assert results["sc"].SeriesDescription.startswith("UNVERIFIED")


def test_masks_that_do_not_fit(sources):
    with pytest.raises(UserError, match=r"shape \(4, 16, 11\) and its images \(4, 16, 12\)"):
        segmentation(sources, np.ones((4, 16, 11), bool), "x", MODEL)
    with pytest.raises(UserError, match="is empty"):
        segmentation(sources, np.zeros((4, 16, 12), bool), "x", MODEL)


def test_hash_of_a_checkpoint(tmp_path):
    for name, content in (("a", b"1"), ("deep/b", b"2")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    before = checkpoint_sha256(tmp_path)
    assert before == checkpoint_sha256(tmp_path) and len(before) == 64
    (tmp_path / "deep" / "b").write_bytes(b"3")
    assert checkpoint_sha256(tmp_path) != before


def test_headers_that_lack_everything():
    with pytest.raises(UserError, match="do not allow a secondary capture"):
        secondary_capture([pydicom.Dataset()], np.zeros((2, 2, 3), np.uint8), "x", MODEL)
    with pytest.raises(UserError, match="do not allow a measurement report"):
        measurement_report([pydicom.Dataset()], FINDINGS, MODEL)


def test_one_of_several_headers_lacks_its_name(sources):
    nameless = copy.deepcopy(sources[1])
    del nameless.SOPInstanceUID
    with pytest.raises(UserError, match="SOPInstanceUID"):
        secondary_capture([sources[0], nameless], np.zeros((2, 2, 3), np.uint8), "x", MODEL)
