"""No patient in two folds, and every fold like the others."""

import json

import pytest

from msk_jax.data.folds import (
    SPLITS_NAME,
    cohort_digest,
    load_folds,
    make_folds,
    roles,
    write_folds,
)
from msk_jax.errors import UserError

LABELS = {f"P-{i:02d}": int(i < 11) for i in range(29)}  # 11 positive, 18 negative


def test_folds_are_stratified_complete_and_disjoint():
    folds = make_folds(LABELS, 5, seed=3)
    assert set(folds) == set(LABELS)
    for k in range(5):
        members = [patient for patient, fold in folds.items() if fold == k]
        assert len(members) in (5, 6)
        assert sum(LABELS[patient] for patient in members) in (2, 3)


def test_folds_follow_the_seed_not_the_order():
    folds = make_folds(LABELS, 5, seed=3)
    assert make_folds(dict(reversed(LABELS.items())), 5, seed=3) == folds
    assert make_folds(LABELS, 5, seed=4) != folds


def test_roles():
    folds = {"a": 0, "b": 1, "c": 2, "d": 3}
    assert roles(folds, 1) == {"a": "train", "b": "test", "c": "validation", "d": "train"}
    assert roles(folds, 3) == {"a": "validation", "b": "train", "c": "train", "d": "test"}
    with pytest.raises(ValueError, match="fold 4 of 4"):
        roles(folds, 4)


def test_every_patient_is_tested_once_and_validates_once():
    folds = make_folds(LABELS, 5, seed=0)
    seen = [roles(folds, k) for k in range(5)]
    for patient in LABELS:
        assert sorted(role[patient] for role in seen) == ["test"] + ["train"] * 3 + ["validation"]


def test_round_trip(tmp_path):
    folds = make_folds(LABELS, 5, seed=0)
    write_folds(tmp_path / SPLITS_NAME, folds, 0, cohort_digest(LABELS))
    assert load_folds(tmp_path) == load_folds(tmp_path, LABELS) == folds


def test_too_few_patients_says_counts_and_way_out():
    few = {"a": 0, "b": 0, "c": 0, "d": 0, "e": 0, "x": 1, "y": 1, "z": 1}
    with pytest.raises(UserError, match=r"class 0: 5, class 1: 3.*--num-folds 3"):
        make_folds(few, 4, 0)
    with pytest.raises(UserError, match=r"class 1: 8.*Add patients\."):
        make_folds(dict.fromkeys("abcdefgh", 1), 3, 0)
    with pytest.raises(UserError, match="2 folds were asked for"):
        make_folds(LABELS, 2, 0)


def damage(tmp_path, change):
    folds = make_folds(LABELS, 5, seed=0)
    path = tmp_path / SPLITS_NAME
    write_folds(path, folds, 0, "")
    content = json.loads(path.read_text())
    change(content["folds"])
    path.write_text(json.dumps(content))


def test_a_patient_in_two_folds_is_found_on_loading(tmp_path):
    damage(tmp_path, lambda folds: folds[3].append(folds[1][0]))
    with pytest.raises(UserError, match="in fold 1 and in fold 3"):
        load_folds(tmp_path)


def test_a_patient_of_the_shards_without_fold_is_found_on_loading(tmp_path):
    damage(tmp_path, lambda folds: folds[2].pop())
    load_folds(tmp_path)
    with pytest.raises(UserError, match=r"no fold for 1 patient\(s\) of the shards"):
        load_folds(tmp_path, LABELS)


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(UserError, match="msk-jax build"):
        load_folds(tmp_path)
    (tmp_path / SPLITS_NAME).write_text('{"folds": [')
    with pytest.raises(UserError, match="cannot be read"):
        load_folds(tmp_path)
