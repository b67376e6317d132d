"""Manifests: what is read, and that every fault is told at once."""

import pytest

from msk_jax.data.cohort import read_manifest
from msk_jax.errors import UserError

CLASSES = ("normal", "sacroiliitis")


@pytest.fixture
def manifest(tmp_path):
    def write(text: str):
        path = tmp_path / "manifest.csv"
        path.write_text(text)
        return path

    return write


def test_all_columns(manifest):
    read = read_manifest(
        manifest(
            "patient_id,series_uid,side,label,patient_label,grade,lesion_z_mm,joint_top_mm,"
            "joint_bottom_mm,site,age,sex\n"
            "007,1.2,left,sacroiliitis,normal,2,-112.5:-97.5; -90:-85.0,-60,-110.5,A,44.5,F\n"
            "007,1.2,right,normal,normal,,,,,A,44.5,F\n"
        ),
        CLASSES,
    )
    left, right = read.rows
    assert (left.row, left.patient_id, left.side) == (2, "007", "left"), "007 is no number"
    assert (left.label, left.patient_label, left.grade) == (1, 0, 2)
    assert left.lesion_z_mm == ((-112.5, -97.5), (-90, -85))
    assert left.joint_z_mm == (-110.5, -60)
    assert (left.site, left.age, left.sex) == ("A", 44.5, "F")
    assert (right.grade, right.lesion_z_mm, right.joint_z_mm) == (-1, (), None)
    assert read.has_lesions and len(read.sha256) == 64


def test_patient_is_positive_if_a_joint_is_unless_stated(manifest):
    read = read_manifest(
        manifest("patient_id,side,label\n1,left,normal\n1,right,sacroiliitis\n2,left,normal\n"),
        CLASSES,
    )
    assert [row.patient_label for row in read.rows] == [1, 1, 0]
    assert not read.has_lesions


def test_spreadsheet_leftovers(manifest):
    read = read_manifest(
        manifest("\ufeffpatient_id, side ,label\n 1 ,left,normal\n\n,,\n2,left,normal\n"), CLASSES
    )
    assert [(row.row, row.patient_id) for row in read.rows] == [(2, "1"), (5, "2")]


def test_all_faults_at_once_with_their_rows(manifest):
    text = (
        "patient_id,side,label,sex,age,grade,lesion_z_mm,joint_top_mm,joint_bottom_mm,path\n"
        "1,left,normal,F,30,,,,,a\n"
        "1,left,normal,M,30,,,,,a\n"
        "2,up,normal,F,30,,,,,a\n"
        "3,left,maybe,F,30,,,,,../b\n"
        "4,left,normal,F,old,7,,,,\n"
        "5,left,normal,F,30,,5:1;x,,,\n"
        "6,left,normal,F,200,,,-80,-20,\n"
        "7,left,normal,F,30,,,-80,,\n"
        ",left,normal,F,30,,,,,\n"
    )
    with pytest.raises(UserError) as caught:
        read_manifest(manifest(text), CLASSES)
    message = str(caught.value)
    for fault in (
        "rows 2, 3: the left joint of 1 is given twice",
        "rows 2, 3: patient 1 has more than one sex",
        "rows 2, 3, 4: one path is given for several patients",
        "row 4: side 'up' is not one of left, right",
        "row 5: label 'maybe' is not one of normal, sacroiliitis",
        "row 5: path must be relative",
        "row 6: age 'old' is not a number",
        "row 6: grade 7",
        "row 7: lesion_z_mm '5:1' is not an interval",
        "row 7: lesion_z_mm 'x' is not an interval",
        "row 8: age 200",
        "row 8: joint_top_mm -80 does not lie above joint_bottom_mm -20",
        "row 9: joint_top_mm and joint_bottom_mm must be given together",
        "row 10: patient_id is empty",
    ):
        assert fault in message, fault
    assert "14 fault(s)" in message


def test_contradicting_patient_labels(manifest):
    with pytest.raises(UserError, match="rows 2, 3: patient 1 has more than one patient_label"):
        read_manifest(
            manifest(
                "patient_id,side,label,patient_label\n1,left,normal,normal\n"
                "1,right,normal,sacroiliitis\n"
            ),
            CLASSES,
        )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "patient,side,label\n1,left,normal\n",
            r"lacks the column\(s\) patient_id; it has",
        ),
        ("patient_id;side;label\n1;left;normal\n", "separated by commas"),
        ("patient_id,side,label\n", "it has no rows"),
        ("", "not a CSV file"),
    ],
)
def test_wrong_tables(manifest, content, message):
    with pytest.raises(UserError, match=message):
        read_manifest(manifest(content), CLASSES)


def test_wrong_files(tmp_path):
    with pytest.raises(UserError, match="There is no manifest"):
        read_manifest(tmp_path / "none.csv", CLASSES)
    with pytest.raises(UserError, match="cannot be read"):
        read_manifest(tmp_path, CLASSES)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x80patient_id")
    with pytest.raises(UserError, match="not a CSV file in UTF-8"):
        read_manifest(tmp_path / "binary.csv", CLASSES)
