"""Which series belongs to which row, what a stack is called, and what becomes of a bad study."""

import numpy as np
import pytest

from msk_jax.data.build.records import (
    assign_series,
    in_intervals,
    read_study,
    reject,
    stack_labels,
)
from msk_jax.data.cohort.manifest import read_manifest
from msk_jax.data.sources.scan import scan
from tests.cohorts import cohort_of
from tests.data.ct_files import ramp, rewrite, uid, write_ct

COHORT = cohort_of()


def assign(tmp_path, rows: str, columns="patient_id,side,label,series_uid,path"):
    path = tmp_path / "manifest.csv"
    path.write_text(f"{columns}\n{rows}")
    manifest = read_manifest(path, COHORT)
    names = {row.patient_id: f"P-{row.patient_id}" for row in manifest.rows}
    return (*assign_series(manifest, scan(tmp_path / "dicom"), "CT", names), manifest)


def test_by_uid_by_path_and_by_patient(tmp_path):
    by_uid = write_ct(tmp_path / "dicom" / "x", ramp(), patient_id="A", series="thin")
    write_ct(tmp_path / "dicom" / "x", ramp(), patient_id="A", series="thick", name="t{}")
    by_path = write_ct(tmp_path / "dicom" / "y" / "deep", ramp(), patient_id="B")
    by_patient = write_ct(tmp_path / "dicom" / "z", ramp(), patient_id="C")
    scout = write_ct(
        tmp_path / "dicom" / "z", ramp((1, 4, 4)), patient_id="C", series="s", name="scout{}"
    )
    rewrite(scout[0], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    studies, rejected, _ = assign(
        tmp_path,
        f"A,left,normal,{uid('A', 'thin')},\nA,right,normal,{uid('A', 'thin')},\n"
        "B,left,normal,,y\nC,left,normal,,\n",
    )
    assert not rejected
    files = {study.patient_id: set(study.files) for study in studies}
    assert files == {"A": set(by_uid), "B": set(by_path), "C": set(by_patient)}
    assert [row.unit for row in studies[0].rows] == ["left", "right"]


def test_rows_without_a_series_are_rejected(tmp_path):
    write_ct(tmp_path / "dicom" / "a1", ramp(), patient_id="A", series="1")
    write_ct(tmp_path / "dicom" / "a2", ramp(), patient_id="A", series="2")
    for file in write_ct(tmp_path / "dicom" / "m", ramp(), patient_id="M"):
        rewrite(file, Modality="MR")
    studies, rejected, _ = assign(
        tmp_path,
        "A,left,normal,,\nB,left,normal,,\nM,left,normal,,\nC,left,normal,9.9.9,\n"
        "D,left,normal,,nowhere\n",
    )
    assert not studies
    reasons = {item.row: item.reason for item in rejected}
    assert "2 CT series" in reasons[2]
    assert "No file in the DICOM folder has this PatientID" in reasons[3]
    assert "no CT series but only MR" in reasons[4]
    assert "no series of this series_uid" in reasons[5]
    assert "no image at this path" in reasons[6]


def test_a_patient_whose_name_was_taken_for_a_number_is_shown_the_way(tmp_path):
    write_ct(tmp_path / "dicom", ramp(), patient_id="0012")
    _, rejected, _ = assign(tmp_path, "12,left,normal,,\n0012.0,left,normal,,\n7,left,normal,,\n")
    reasons = [item.reason for item in rejected]
    alike = "(one has it with other leading zeros, or without .0)"
    assert [alike in reason for reason in reasons] == [True, True, False]


def test_two_series_in_one_path_are_refused_when_read(tmp_path):
    write_ct(tmp_path / "dicom" / "a", ramp(), patient_id="A", series="1")
    write_ct(tmp_path / "dicom" / "a", ramp(), patient_id="A", series="2", name="b{}")
    studies, _, manifest = assign(tmp_path, "A,left,normal,,a\n")
    records, rejected, facts = read_study(studies[0], COHORT, manifest)
    assert not records and facts is None
    assert "2 different series (2 CT)" in rejected[0].reason


def test_series_of_another_patient_of_the_manifest(tmp_path):
    write_ct(tmp_path / "dicom" / "a", ramp(), patient_id="A")
    write_ct(tmp_path / "dicom" / "b", ramp(), patient_id="B")
    studies, rejected, _ = assign(tmp_path, "A,left,normal,,b\nB,left,normal,,\n")
    assert [study.patient_id for study in studies] == ["B"]
    assert "PatientID of another patient" in rejected[0].reason


def test_one_person_under_two_names(tmp_path):
    # Scanned twice, given two study numbers: would land in two folds.
    for folder, patient in (("a", "X"), ("b", "X"), ("c", "Y")):
        write_ct(tmp_path / "dicom" / folder, ramp(), patient_id=patient, series=folder)
    studies, rejected, _ = assign(
        tmp_path, "S1,left,normal,,a\nS2,left,normal,,b\nS3,left,normal,,c\n"
    )
    assert [study.patient_id for study in studies] == ["S3"]
    assert {item.row for item in rejected} == {2, 3}
    assert "one person cannot be in two folds" in rejected[0].reason


def test_anonymised_files_that_all_say_the_same(tmp_path):
    for folder in "abc":
        write_ct(tmp_path / "dicom" / folder, ramp(), patient_id="ANON", series=folder)
    studies, rejected, _ = assign(
        tmp_path, "S1,left,normal,,a\nS2,left,normal,,b\nS3,left,normal,,c\n"
    )
    assert len(studies) == 3 and not rejected


def test_unforeseen_error_becomes_a_reason_without_paths_or_names(tmp_path, monkeypatch):
    write_ct(tmp_path / "dicom" / "a", ramp(), patient_id="MUSTER-4711")
    studies, _, manifest = assign(tmp_path, "MUSTER-4711,left,normal,,\n")

    def fail(files, modality):
        raise MemoryError(f"{files[0]} of MUSTER-4711")

    monkeypatch.setattr(type(COHORT.region), "read", staticmethod(fail))
    _, rejected, _ = read_study(studies[0], COHORT, manifest)
    assert rejected[0].reason == (
        "The series could not be read (MemoryError: file 1 of 8 by name of the patient)."
    )


def test_reason_is_one_line(tmp_path):
    write_ct(tmp_path / "dicom" / "a", ramp(), patient_id="A")
    _, _, manifest = assign(tmp_path, "A,left,normal,,\n")
    assert reject(manifest.rows[0], "P-1", "a\n  b").reason == "a b"


def test_slices_within_lesions():
    z = np.arange(0, 20, 2.5)
    # Intervals are closed and widened by half a slice: 4.0 - 1.25 = 2.75 to 6.25.
    inside = in_intervals(z, [(4.0, 5.0), (17.5, 17.5)], 1.25)
    assert z[inside].tolist() == [5.0, 17.5]
    assert not in_intervals(z, [], 1.25).any()


@pytest.mark.parametrize(("context", "expected"), [(2, [1, 1, 1, 0]), (0, [0, 0, 1, *[0] * 5])])
def test_stack_is_positive_if_any_of_its_slices_is(context, expected):
    slices = np.zeros(8, bool)
    slices[2] = True
    # With 2 context slices the centres are 2 to 5 and reach 0-4, 1-5, 2-6, 3-7.
    assert stack_labels(slices, context).tolist() == expected
