"""Patients who are in no fold: of every class their share, and refused where that cannot be."""

import json

import pytest

from msk_jax.data.shards.build_folder import SPLITS_NAME
from msk_jax.data.shards.folds import (
    check_held_out,
    check_sites,
    cohort_digest,
    draw_held_out,
    external_sets,
    load_folds,
    load_test_sets,
    make_folds,
    write_folds,
)
from msk_jax.errors import UserError

LABELS = {f"P-{i:02d}": i % 3 for i in range(60)}


def test_every_class_gives_its_share_and_the_order_plays_no_part():
    tested = draw_held_out(LABELS, 0.2, seed=1)
    assert [sum(LABELS[p] == k for p in tested) for k in range(3)] == [4, 4, 4]
    assert draw_held_out(dict(reversed(LABELS.items())), 0.2, seed=1) == tested
    assert draw_held_out(LABELS, 0.2, seed=2) != tested
    assert draw_held_out(LABELS, 0.0, seed=1) == []


def test_what_cannot_be_held_out():
    with pytest.raises(UserError, match=r"--held-out is 0\.7"):
        check_held_out(0.7, "patient")
    with pytest.raises(UserError, match="split by site says itself who is tested"):
        check_held_out(0.2, "site")
    with pytest.raises(UserError, match="4 usable patients are too few to hold out 20%"):
        draw_held_out({"a": 0, "b": 1, "c": 2, "d": 0}, 0.2, seed=0)


def test_written_and_read_and_in_no_fold(tmp_path):
    tested = draw_held_out(LABELS, 0.2, seed=1)
    folds = make_folds({p: k for p, k in LABELS.items() if p not in tested}, 5, seed=1)
    path = tmp_path / SPLITS_NAME
    write_folds(path, folds, 1, cohort_digest(LABELS), {"held-out": tested, "empty": []})
    assert load_test_sets(tmp_path) == {"held-out": set(tested)}
    assert load_folds(tmp_path) == folds
    content = json.loads(path.read_text())
    content["test_sets"]["held-out"].append(content["folds"][0][0])
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="more than one test set, or in one and a fold"):
        load_folds(tmp_path)


SITES = {f"P-{i:02d}": "ABBC"[i % 4] for i in range(60)}


def test_other_sites_are_test_sets_of_their_own():
    tested = external_sets(SITES, "A")
    assert {name: len(members) for name, members in tested.items()} == {
        "external_B": 30,
        "external_C": 15,
    }
    assert all(SITES[p] == "B" for p in tested["external_B"])
    assert external_sets(SITES, "") == {}
    with pytest.raises(UserError, match="of the training site D; there are A, B, C"):
        external_sets(SITES, "D")
    with pytest.raises(UserError, match=r"1 patient\(s\) have no site, P-07 first"):
        external_sets({**SITES, "P-07": ""}, "A")


def test_a_patient_of_another_site_is_in_no_fold():
    tested = external_sets(SITES, "A")
    folds = {patient: 0 for patient, site in SITES.items() if site == "A"}
    check_sites(folds, {**tested, "held-out": ["P-00"]}, SITES)
    moved = {**tested, "external_B": tested["external_B"][1:]}
    with pytest.raises(UserError, match=r"site B \(1 of them are in folds\)"):
        check_sites({**folds, tested["external_B"][0]: 1}, moved, SITES)
    with pytest.raises(UserError, match=r"external_C of .* is not the patients of site C"):
        check_sites(folds, {"external_C": [*tested["external_C"], "P-00"]}, SITES)
