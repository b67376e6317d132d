"""Ages that headers write in odd ways: read where they mean one thing, else said to be unknown."""

import csv

import numpy as np
import pytest

from msk_jax.data.build.builder import build_cohort
from msk_jax.data.cohort.draft import draft_rows
from msk_jax.data.regions.sacroiliac import SacroiliacRegion
from msk_jax.data.shards.stored import read_records
from msk_jax.data.sources.scan import scan
from msk_jax.verbs.build import _say_outcome
from tests.cohorts import cohort_of
from tests.data.ct_files import box_pelvis, write_ct

COHORT = cohort_of(region=SacroiliacRegion(size=16, pixel_mm=6.0))
WRITTEN = {"P-0": "054Y", "P-1": "55", "P-2": "18M", "P-3": "abt60", "P-4": "55Y", "P-5": "055"}


@pytest.fixture(scope="module")
def dicom(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dicom")
    spacing = (6.0, 6.0, 2.5)
    hu, origin = box_pelvis(spacing, (40, 64, 64))
    for patient, age in WRITTEN.items():
        write_ct(folder / patient, hu, origin, spacing, patient_id=patient, PatientAge=age)
    return folder


def build(dicom, folder, ages=None):
    header = "patient_id,side,label" + (",age" if ages else "")
    rows = [
        f"{patient},{side},{('normal', 'sacroiliitis')[k % 2]}" + (f",{ages}" if ages else "")
        for k, patient in enumerate(WRITTEN)
        for side in ("left", "right")
    ]
    (folder / "manifest.csv").write_text("\n".join([header, *rows]) + "\n")
    (folder / "key").write_text("0123456789abcdef0123456789abcdef")
    return build_cohort(
        COHORT, dicom, folder / "manifest.csv", folder / "data", folder / "key", num_folds=3
    )


@pytest.mark.filterwarnings("ignore")
def test_an_age_that_cannot_be_read_is_said_to_be_unknown(dicom, tmp_path, capsys):
    summary = build(dicom, tmp_path)
    ages = np.sort([float(record["age"]) for record in read_records(tmp_path / "data")])
    assert ages[:10:2].tolist() == [1.5, 54, 55, 55, 55] and np.isnan(ages[10:]).all()
    assert summary.num_unread_ages == 1
    with (tmp_path / "data" / "quality.csv").open() as file:
        lacking = [row["missing_tags"].split() for row in csv.DictReader(file)]
    assert sum("PatientAge(unread)" in tags for tags in lacking) == 1
    for said in (summary, build(dicom, tmp_path)):  # built, and nothing to do
        _say_outcome(said, COHORT.levels, tmp_path / "data")
        assert "The age of 1 scan(s) is unknown" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore")
def test_an_age_of_the_manifest_leaves_nothing_unknown(dicom, tmp_path, capsys):
    summary = build(dicom, tmp_path, ages=70)
    assert {float(record["age"]) for record in read_records(tmp_path / "data")} == {70}
    _say_outcome(summary, COHORT.levels, tmp_path / "data")
    assert "The age of" not in capsys.readouterr().out


def test_a_draft_leaves_it_for_a_person_to_correct(dicom):
    rows = draft_rows(scan(dicom), COHORT)
    assert {row["patient_id"]: row["age"] for row in rows} == {
        "P-0": "54",
        "P-1": "55",
        "P-2": "1.5",
        "P-3": "abt60",
        "P-4": "55",
        "P-5": "55",
    }
