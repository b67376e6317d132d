"""The written folder: DICOM, manifest, masks, and what is refused."""

import csv
import errno
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import pytest
import SimpleITK as sitk

from msk_jax.errors import UserError
from msk_jax.phantoms import SacroiliacPhantom, write_cohort
from msk_jax.phantoms.sacroiliac.cohort import render_patient
from msk_jax.phantoms.sacroiliac.patients import draw_patient
from msk_jax.phantoms.sacroiliac.settings import MANIFEST_COLUMNS

CONFIG = SacroiliacPhantom(
    patients=3, seed=4, matrix=96, pixel_mm=3.6, slice_spacing_mm=4.0, workers=1
)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("cohort") / "new"
    calls = []
    assert write_cohort(out, CONFIG, lambda *a: calls.append(a)) == out / "manifest.csv"
    assert calls == [(1, 3), (2, 3), (3, 3)]
    return out


def _digest(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_same_bytes_with_two_workers(cohort, tmp_path):
    write_cohort(tmp_path / "two", replace(CONFIG, workers=2))
    assert _digest(tmp_path / "two") == _digest(cohort)


def test_headers_are_coherent_and_voxels_come_back(cohort):
    seen = set()
    for number, folder in enumerate(sorted((cohort / "dicom").iterdir())):
        files = [pydicom.dcmread(p) for p in sorted(folder.iterdir())]
        by_name = [float(f.ImagePositionPatient[2]) for f in files]
        assert by_name != sorted(by_name) and by_name != sorted(by_name)[::-1]
        for tag in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID"):
            assert len({str(f[tag].value) for f in files}) == 1
            value = str(files[0][tag].value)
            assert value not in seen
            seen.add(value)
        assert len({f.SOPInstanceUID for f in files}) == len(files)
        assert sorted(int(f.InstanceNumber) for f in files) == list(range(1, len(files) + 1))
        normal = np.cross(*np.reshape(np.array(files[0].ImageOrientationPatient, float), (2, 3)))
        files.sort(key=lambda f: np.dot(normal, np.array(f.ImagePositionPatient, float)))
        gaps = np.diff([np.dot(normal, np.array(f.ImagePositionPatient, float)) for f in files])
        np.testing.assert_allclose(gaps, 4.0, atol=1e-3)
        assert float(files[0].SliceThickness) == 4.0
        hu = np.stack(
            [f.pixel_array * float(f.RescaleSlope) + float(f.RescaleIntercept) for f in files]
        )
        patient = draw_patient(CONFIG, number)
        rendering = render_patient(patient, CONFIG)
        np.testing.assert_array_equal(hu, rendering.hu)
        mask = sitk.ReadImage(str(cohort / "masks" / f"{files[0].PatientID}.nii.gz"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(mask), rendering.labels)
        assert mask.GetOrigin() == pytest.approx(
            [float(v) for v in files[0].ImagePositionPatient], abs=1e-3
        )
        spacing = [*map(float, reversed(files[0].PixelSpacing)), 4.0]
        assert mask.GetSpacing() == pytest.approx(spacing, abs=1e-4)
        assert {f.file_meta.TransferSyntaxUID for f in files} == {"1.2.840.10008.1.2.1"}
        assert (files[0].Modality, files[0].PatientAge) == ("CT", f"{patient.anatomy.age:03d}Y")


def test_some_series_run_from_feet_to_head():
    """Decided by the patient's own stream: over many patients both directions occur."""
    from msk_jax.phantoms.anatomy import stream

    feet = []
    for number in range(20):
        rng = stream(0, number, "export")
        rng.choice([120, 130])
        feet.append(rng.random() < 0.4)
    assert 0 < sum(feet) < 20


def test_manifest(cohort):
    with (cohort / "manifest.csv").open() as file:
        reader = csv.DictReader(file)
        assert tuple(reader.fieldnames) == MANIFEST_COLUMNS
        rows = list(reader)
    assert [r["side"] for r in rows] == ["left", "right"] * 3
    truth = pd.read_csv(cohort / "parameters.csv")
    for row, (_, true) in zip(rows, truth.iterrows(), strict=True):
        grade = int(row["grade"])
        assert row["label"] == ("sacroiliitis" if grade >= 2 else "normal")
        assert grade == true["grade"]
        low, high = map(float, true["joint_z_mm"].split(":"))
        parts = [tuple(map(float, p.split(":"))) for p in row["lesion_z_mm"].split(";") if p]
        assert bool(parts) == (grade >= 2)
        assert all(low - 4 <= a < b <= high + 4 for a, b in parts)
    labels = {r["patient_id"]: set() for r in rows}
    for r in rows:
        labels[r["patient_id"]].add(r["patient_label"])
    assert all(len(v) == 1 for v in labels.values())
    assert {v.pop() for v in labels.values()} == {"normal", "sacroiliitis"}


def test_intervals_do_not_tell_the_severity(cohort, tmp_path):
    write_cohort(tmp_path / "zero", replace(CONFIG, severity=0.0))
    one, two = (pd.read_csv(f / "manifest.csv") for f in (cohort, tmp_path / "zero"))
    pd.testing.assert_frame_equal(one, two)
    for path in (tmp_path / "zero" / "masks").iterdir():
        labels = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        assert not np.isin(labels, (1, 2, 3, 4)).any()


def test_refuses_a_folder_in_use(cohort):
    before = _digest(cohort)
    with pytest.raises(UserError, match=r"not empty.*--out"):
        write_cohort(cohort, CONFIG)
    assert _digest(cohort) == before
    with pytest.raises(UserError, match="is a file"):
        write_cohort(cohort / "manifest.csv", CONFIG)


def test_full_disk_leaves_no_manifest(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("msk_jax.phantoms.sacroiliac.cohort.write_series", full)
    with pytest.raises(UserError, match="No space left"):
        write_cohort(tmp_path / "x", CONFIG)
    assert not (tmp_path / "x" / "manifest.csv").exists()
    with pytest.raises(UserError, match="interrupted run"):
        write_cohort(tmp_path / "x", CONFIG)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"patients": 0}, "patients is 0"),
        ({"severity": 3.0}, "--severity"),
        ({"label_noise": 0.9}, "--label-noise"),
        ({"sites": ()}, "no site"),
        ({"matrix": 200}, "field of view"),
        ({"ambiguity": -0.1}, "ambiguity"),
    ],
)
def test_refuses_bad_fields(tmp_path, change, words):
    with pytest.raises(UserError, match=words):
        write_cohort(tmp_path / "x", replace(CONFIG, **change))
    assert not (tmp_path / "x").exists()
