"""Manifests: what is read, and that every fault is told at once."""

import math

import pandas as pd
import pytest

from msk_jax.data.cohort.manifest import read_manifest
from msk_jax.data.fields import Number
from msk_jax.errors import UserError
from msk_jax.experiments import osteoporosis
from msk_jax.files import csv_text, plain_text
from tests.cohorts import cohort_of

COHORT = cohort_of()


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
        COHORT,
    )
    left, right = read.rows
    assert (left.row, left.patient_id, left.unit) == (2, "007", "left"), "007 is no number"
    assert (left.label, left.patient_label, left.grade) == (1, 0, 2)
    assert left.lesion_z_mm == ((-112.5, -97.5), (-90, -85))
    assert left.place == (-110.5, -60)
    assert (left.site, left.age, left.sex) == ("A", 44.5, "F")
    assert (right.grade, right.lesion_z_mm, right.place) == (-1, (), None)
    assert read.has_lesions and len(read.sha256) == 64


def test_patient_is_positive_if_a_joint_is_unless_stated(manifest):
    read = read_manifest(
        manifest("patient_id,side,label\n1,left,normal\n1,right,sacroiliitis\n2,left,normal\n"),
        COHORT,
    )
    assert [row.patient_label for row in read.rows] == [1, 1, 0]
    assert not read.has_lesions


def test_spreadsheet_leftovers(manifest):
    read = read_manifest(
        manifest("\ufeffpatient_id, side ,label\n 1 ,left,normal\n\n,,\n2,left,normal\n"), COHORT
    )
    assert [(row.row, row.patient_id) for row in read.rows] == [(2, "1"), (5, "2")]


def test_a_row_that_is_longer_than_the_header_shifts_nothing(manifest):
    head = "patient_id,side,label,site,age,sex\n"
    with pytest.raises(UserError, match=r"The manifest .* one cell more in every row .*\(7, not 6"):
        read_manifest(manifest(head + "1,left,normal,A,54,5,F\n2,left,normal,A,61,0,M\n"), COHORT)
    with pytest.raises(UserError, match="row 3 has 7"):
        read_manifest(
            manifest(head + "1,left,normal,A,54,F\n2,left,normal,Ward A, East,61,M\n"), COHORT
        )
    with pytest.raises(UserError, match="'sex' names the columns 6 and 7"):
        read_manifest(manifest(head[:-1] + ",sex\n1,left,normal,A,54,F,M\n"), COHORT)


def test_a_manifest_of_a_spreadsheet_with_decimal_commas(manifest):
    text = "patient_id;side;label;site;age;sex;lesion_z_mm\n007;left;normal;Süd, A;54,5;NA;\n"
    (row,) = read_manifest(manifest(text), COHORT).rows
    assert (row.patient_id, row.site, row.age, row.sex) == ("007", "Süd, A", 54.5, "")


def test_programs_write_words_where_they_have_nothing(manifest):
    text = "patient_id,side,label,path,age,sex,grade\n1,left,normal,NA,NA,nan,#N/A\n"
    (row,) = read_manifest(manifest(text), COHORT).rows
    assert (row.path, row.age, row.sex, row.grade) == ("", None, "", -1)
    with pytest.raises(UserError, match="row 2: patient_id 'NA' names nobody"):
        read_manifest(manifest("patient_id,side,label\nNA,left,normal\n"), COHORT)


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
        read_manifest(manifest(text), COHORT)
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
            COHORT,
        )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "patient,side,label\n1,left,normal\n",
            r"lacks the column\(s\) patient_id; it has",
        ),
        ("patient_id|side|label\n1|left|normal\n", "separated by commas, semicolons or tabs"),
        ("patient_id,side,label\n", "it has no rows"),
        ("", "is empty: it has neither names of columns nor rows"),
    ],
)
def test_wrong_tables(manifest, content, message):
    with pytest.raises(UserError, match=message):
        read_manifest(manifest(content), COHORT)


def test_wrong_files(tmp_path):
    with pytest.raises(UserError, match="There is no manifest"):
        read_manifest(tmp_path / "none.csv", COHORT)
    with pytest.raises(UserError, match="cannot be read"):
        read_manifest(tmp_path, COHORT)
    (tmp_path / "binary.csv").write_bytes(b"\x00\x80patient_id")
    with pytest.raises(UserError, match=r"The manifest .* is not UTF-8 text: line 1"):
        read_manifest(tmp_path / "binary.csv", COHORT)


AGE_AND_BMI = cohort_of(
    variables=(
        Number("bmi", "kg/m2", 10, 80),
        Number("crp", "mg/l", 0, required=True),
    )
)


def test_clinical_variables_and_split(manifest):
    text = (
        "patient_id,side,label,split,bmi,crp,x_note\n1,left,normal,train,22.5,3,old film\n"
        "1,right,normal,train,,3,\n2,left,sacroiliitis,test,30,0,\n"
    )
    read = read_manifest(manifest(text), AGE_AND_BMI)
    assert [row.split for row in read.rows] == ["train", "train", "test"]
    assert read.rows[0].variables == (22.5, 3) and math.isnan(read.rows[1].variables[0])


def test_faults_of_the_schema_all_at_once(manifest):
    text = (
        "patient_id,side,label,seris_uid,split,bmi,crp\n"
        "1,left,normal,1.2,train,5,3\n1,right,normal,1.2,test,20,\n2,left,normal,1.3,somewhere,,1\n"
        "3,left,normal,1.4,,,1\n"
    )
    with pytest.raises(UserError) as caught:
        read_manifest(manifest(text), AGE_AND_BMI)
    for fault in (
        "column 'seris_uid' is unknown; is series_uid meant?",
        "row 2: bmi 5 is not between 10 and 80 kg/m2",
        "row 3: crp is empty",
        "row 4: split 'somewhere' is not one of train, validation, test",
        "rows 2, 3: patient 1 has more than one split",
        "row(s) 5: split is empty though others have one",
    ):
        assert fault in str(caught.value), fault
    with pytest.raises(UserError, match="column crp is missing"):
        read_manifest(manifest("patient_id,side,label\n1,left,normal\n"), AGE_AND_BMI)


def test_osteoporosis_follows_from_the_t_score(manifest):
    cohort = osteoporosis.experiment.cohort
    told = manifest("patient_id,t_score,site\n1,-2.5,A\n2,-2.4,A\n3,-4,A\n")
    assert [row.label for row in read_manifest(told, cohort).rows] == [1, 0, 1], "WHO: at most -2.5"
    both = "patient_id,label,t_score\n1,osteoporosis,-3\n2,non-osteoporosis,\n3,osteoporosis,\n"
    assert [row.label for row in read_manifest(manifest(both), cohort).rows] == [1, 0, 1]
    wrong = both + "4,osteoporosis,-2\n5,,-25\n6,,\n7,,low\n"
    with pytest.raises(UserError) as caught:
        read_manifest(manifest(wrong), cohort)
    for fault in (
        "row 5: label osteoporosis and t_score -2 contradict each other: that is non-osteoporosis",
        "row 6: t_score -25 is not between -10 and 10",
        "row 7: label '' is not one of",
        "row 8: t_score 'low' is not a number",
    ):
        assert fault in str(caught.value), fault
    with pytest.raises(UserError, match=r"lacks the column\(s\) label \(or t_score\)"):
        read_manifest(manifest("patient_id,age\n1,60\n"), cohort)
    asked = read_manifest(manifest("patient_id,t_score\n1,-3\n2,\n"), cohort, labelled=False)
    assert len(asked.rows) == 2


def test_parquet_is_read_as_the_same_csv(manifest, tmp_path):
    table = pd.DataFrame(
        {
            "patient_id": ["007", "8"],
            "side": ["left", "right"],
            "label": ["normal"] * 2,
            "grade": [2.0, None],
            "age": [44.5, 30.0],
        }
    )
    table.to_parquet(tmp_path / "m.parquet")
    read = read_manifest(tmp_path / "m.parquet", COHORT)
    text = "patient_id,side,label,grade,age\n007,left,normal,2,44.5\n8,right,normal,,30\n"
    assert read.rows == read_manifest(manifest(text), COHORT).rows


def test_formulas_stay_text_and_come_back(manifest):
    evil = '=HYPERLINK("http://x")'
    assert csv_text(evil) == f"'{evil}" and csv_text("-1:2") == "'-1:2" and csv_text("A-1") == "A-1"
    assert all(plain_text(csv_text(t)) == t for t in (evil, "+1", "@a", "'quoted", "", "plain"))
    text = f'patient_id,side,label\n"{csv_text(evil).replace(chr(34), chr(34) * 2)}",left,normal\n'
    assert read_manifest(manifest(text), COHORT).rows[0].patient_id == evil
