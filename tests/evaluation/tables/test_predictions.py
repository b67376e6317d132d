import numpy as np
import pandas as pd
import pytest

from msk_jax.errors import UserError
from msk_jax.evaluation.tables.faults import exact_numbers
from msk_jax.evaluation.tables.predictions import (
    COLUMNS,
    pool,
    read_predictions,
    write_predictions,
)


def _slices():
    rows = [
        ("a", "a/left/0", 0, 0.2),
        ("a", "a/left/1", 1, 0.6),
        ("a", "a/left/2", 1, 1.0),
        ("a", "a/right/0", 0, 0.1),
        ("a", "a/right/1", 0, 0.3),
        ("b", "b/left/0", 0, 0.25),
        ("b", "b/right/0", 0, 0.5),
    ]
    frame = pd.DataFrame(rows, columns=["patient_id", "unit_id", "label", "prob"])
    return frame.assign(level="slice", fold=[0] * 5 + [1] * 2, site="X", age=np.nan)


JOINTS = {"a/left": 1, "a/right": 0, "b/left": 0, "b/right": 0}
PATIENTS = {"a": 1, "b": 0}


def _by_unit(table, level, column="prob"):
    rows = table[table["level"] == level]
    return dict(zip(rows["unit_id"], rows[column], strict=True))


def test_pool_by_hand():
    table = pool(_slices(), JOINTS, PATIENTS)
    joints = {"a/left": 0.6, "a/right": 0.2, "b/left": 0.25, "b/right": 0.5}
    assert _by_unit(table, "joint") == pytest.approx(joints)
    assert _by_unit(table, "patient") == pytest.approx({"a": 0.6, "b": 0.5})
    assert _by_unit(table, "joint", "label") == JOINTS
    assert _by_unit(table, "patient", "label") == PATIENTS
    assert list(table.columns[:6]) == list(COLUMNS)
    assert set(table["site"]) == {"X"} and len(table) == 7 + 4 + 2


def test_pool_other_ways():
    table = pool(_slices(), JOINTS, PATIENTS, unit="max", patient="mean")
    assert _by_unit(table, "patient") == pytest.approx({"a": 0.65, "b": 0.375})
    assert _by_unit(pool(_slices(), JOINTS, PATIENTS, unit="median"), "joint")["a/left"] == 0.6


def test_labels_may_come_from_columns():
    slices = _slices().assign(
        joint_label=[1, 1, 1, 0, 0, 0, 0], patient_label=[1, 1, 1, 1, 1, 0, 0]
    )
    table = pool(slices)
    assert _by_unit(table, "joint", "label") == JOINTS
    assert "joint_label" not in table


def test_models_are_pooled_apart():
    twice = pd.concat([_slices(), _slices().assign(fold=2, prob=0.9)])
    joints = pool(twice, JOINTS, PATIENTS).query("unit_id == 'a/left'")
    assert dict(zip(joints["fold"], joints["prob"], strict=True)) == pytest.approx({0: 0.6, 2: 0.9})


def test_pool_refuses_what_it_cannot_place():
    with pytest.raises(UserError, match=r"<patient_id>/<joint>/<index>"):
        pool(_slices().assign(unit_id="a"), JOINTS, PATIENTS)
    with pytest.raises(UserError, match=r"joint\(s\) b/right"):
        pool(_slices(), {k: v for k, v in JOINTS.items() if k != "b/right"}, PATIENTS)
    with pytest.raises(UserError, match="two labels"):
        pool(_slices().assign(joint_label=[0, 1, 1, 0, 0, 0, 0]))


def test_round_trip_keeps_all_digits(tmp_path):
    table = pool(_slices().assign(prob=1 / 3), JOINTS, PATIENTS)
    again = read_predictions(write_predictions(table, tmp_path / "p.csv"))
    np.testing.assert_array_equal(again["prob"], table["prob"])
    assert list(again["unit_id"]) == list(table["unit_id"])
    assert again["age"].isna().all() and again["label"].dtype == np.int64


def test_all_faults_are_named_at_once(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text(
        "patient_id,unit_id,level,fold,label,prob\n"
        "a,a/left/0,slice,0,1,1.5\n"
        "a,a/left/1,slice,0,yes,0.5\n"
        ",b/left/0,slice,0,0,\n"
        "c,c,organ,x,0,nan\n"
    )
    with pytest.raises(UserError) as error:
        read_predictions(path)
    text = str(error.value)
    assert str(path) in text
    for part in (
        "prob is no number from 0 to 1 in 3 row(s) (row 2: '1.5'",
        "row 5: 'nan'",
        "label is neither 0 nor 1",
        "row 3: 'yes'",
        "patient_id is empty",
        "organ",
        "fold is no fold number",
    ):
        assert part in text, part


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a,u,slice,0,1,0.5\na,u,slice,0,1,0.6\n", "predicted twice"),
        ("a,u,slice,0,1,0.5\na,v,slice,1,1,0.6\n", "two test folds"),
        ("", "only a header"),
    ],
)
def test_faults_between_rows(tmp_path, rows, message):
    path = tmp_path / "p.csv"
    path.write_text("patient_id,unit_id,level,fold,label,prob\n" + rows)
    with pytest.raises(UserError, match=message):
        read_predictions(path)


def test_validation_may_predict_a_unit_by_several_models(tmp_path):
    path = tmp_path / "p.csv"
    head = "patient_id,unit_id,level,fold,label,prob\n"
    path.write_text(head + "a,u,slice,0,1,0.5\na,u,slice,1,1,0.6\n")
    assert len(read_predictions(path, "validation")) == 2
    path.write_text(head + "a,u,slice,0,1,0.5\na,u,slice,1,0,0.6\n")
    with pytest.raises(UserError, match="two labels"):
        read_predictions(path, "validation")


def test_missing_columns_and_file(tmp_path):
    path = tmp_path / "p.csv"
    with pytest.raises(UserError, match="msk-jax train"):
        read_predictions(path)
    path.write_text("patient_id,prob\na,0.5\n")
    with pytest.raises(UserError, match="lacks the columns unit_id, level, fold, label"):
        read_predictions(path)
    path.write_text("")
    with pytest.raises(UserError, match="is empty"):
        read_predictions(path)


def test_numbers_are_read_to_the_last_bit():
    drawn = np.random.default_rng(0).uniform(size=2000)
    text = pd.Series([repr(float(value)) for value in drawn])
    np.testing.assert_array_equal(exact_numbers(text), drawn)
    np.testing.assert_array_equal(
        exact_numbers(pd.Series(["1", "", "x", "1_0"])), [1] + [np.nan] * 3
    )
