"""No patient in two folds, and every fold like the others."""

import json

import pytest

from msk_jax.data.shards.build_folder import COHORT_NAME, SPLITS_NAME
from msk_jax.data.shards.folds import cohort_digest, load_folds, make_folds, roles, write_folds
from msk_jax.errors import UserError
from tests.spoil import spoilt

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


@pytest.fixture
def built(tmp_path):
    """A folder as a build leaves it, without its shards."""
    write_folds(tmp_path / SPLITS_NAME, make_folds(LABELS, 5, seed=0), 0, cohort_digest(LABELS))
    counts = (
        "num_patients",
        "num_units",
        "num_stacks",
        "num_rejected",
        "num_poor",
        "num_skipped_files",
    )
    facts = {
        "is_phantom": False,
        "fingerprint": {"config": {}, "num_folds": 5, "seed": 0},
        "build": {**dict.fromkeys(counts, 1), "rejected": ""},
    }
    (tmp_path / COHORT_NAME).write_text(json.dumps(facts))
    return tmp_path


def test_round_trip(built):
    assert load_folds(built) == load_folds(built, LABELS) == make_folds(LABELS, 5, seed=0)


@pytest.mark.parametrize(
    ("other", "num_folds", "seed", "words"),
    [
        ({**LABELS, "P-28": 1}, 5, 0, "its patients or their labels are not those of the shards"),
        ({**LABELS, "P-29": 0}, 5, 0, "its patients or their labels are not those of the shards"),
        (LABELS, 5, 7, r"seed is 7 there and 0 in cohort\.json"),
        (LABELS, 4, 0, r"num_folds is 4 there and 5 in cohort\.json"),
    ],
)
def test_folds_of_another_build_are_refused(built, other, num_folds, seed, words):
    """With them someone might be tested who was trained on."""
    folds = make_folds(other, num_folds, seed)
    write_folds(built / SPLITS_NAME, folds, seed, cohort_digest(other))
    with pytest.raises(UserError, match=rf"another build \({words}\)\. Put back .*--overwrite"):
        load_folds(built, LABELS)


def test_too_few_patients_says_counts_and_way_out():
    few = {"a": 0, "b": 0, "c": 0, "d": 0, "e": 0, "x": 1, "y": 1, "z": 1}
    with pytest.raises(UserError, match=r"class 0: 5, class 1: 3.*--num-folds 3"):
        make_folds(few, 4, 0)
    with pytest.raises(UserError, match=r"class 1: 8.*Add patients\."):
        make_folds(dict.fromkeys("abcdefgh", 1), 3, 0)
    with pytest.raises(UserError, match="2 folds were asked for"):
        make_folds(LABELS, 2, 0)


def damage(built, change):
    path = built / SPLITS_NAME
    content = json.loads(path.read_text())
    change(content["folds"])
    path.write_text(json.dumps(content))


def test_a_patient_in_two_folds_is_found_on_loading(built):
    damage(built, lambda folds: folds[3].append(folds[1][0]))
    with pytest.raises(UserError, match="in fold 1 and in fold 3"):
        load_folds(built)


def test_a_patient_of_the_shards_without_fold_is_found_on_loading(built):
    damage(built, lambda folds: folds[2].pop())
    load_folds(built)
    with pytest.raises(UserError, match=r"no fold for 1 patient\(s\) of the shards"):
        load_folds(built, LABELS)


def test_missing_folds_are_found_on_loading(built):
    damage(built, lambda folds: folds[2].clear())
    with pytest.raises(UserError, match=r"some are empty\. Build the cohort again"):
        load_folds(built)


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(UserError, match="msk-jax build"):
        load_folds(tmp_path)
    (tmp_path / SPLITS_NAME).write_text('{"folds": [')
    with pytest.raises(UserError, match="cannot be read"):
        load_folds(tmp_path)


@pytest.mark.parametrize("name", [SPLITS_NAME, COHORT_NAME])
def test_keys_left_out_and_values_of_another_kind_are_one_sentence(built, name):
    content = json.loads((built / name).read_text())
    for _, was, now, damaged in spoilt(content):
        if type(was) is not type(now):
            (built / name).write_text(json.dumps(damaged))
            with pytest.raises(UserError, match=rf"{name} is damaged: .*--overwrite"):
                load_folds(built, LABELS)
