"""Studies to records, in processes and from a cache: the same records, and nothing twice."""

import os
import sys

import numpy as np
import pytest

from msk_jax.data.build import conversion
from msk_jax.data.build.beam import pipeline_options
from msk_jax.data.build.conversion import convert
from msk_jax.data.build.records import assign_series
from msk_jax.data.cohort.manifest import read_manifest
from msk_jax.data.regions.sacroiliac import SacroiliacRegion
from msk_jax.data.shards.folds import check_split, folds_by_group, roles
from msk_jax.data.sources.scan import scan
from msk_jax.errors import UserError
from tests.cohorts import cohort_of
from tests.data.ct_files import box_pelvis, rewrite, write_ct

COHORT = cohort_of(region=SacroiliacRegion(size=32, pixel_mm=3.0))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Three patients, the last of them without any bone; studies and manifest."""
    folder = tmp_path_factory.mktemp("cohort")
    hu, origin = box_pelvis((3.0, 3.0, 2.5), (40, 128, 128))
    for k, patient in enumerate("ABC"):
        values = np.full_like(hu, -1000) if patient == "C" else hu + k
        write_ct(folder / "dicom" / patient, values, origin, patient_id=patient)
    rows = "".join(f"{p},{s},normal\n" for p in "ABC" for s in ("left", "right"))
    (folder / "m.csv").write_text(f"patient_id,side,label\n{rows}")
    manifest = read_manifest(folder / "m.csv", COHORT)
    names = {p: f"P-{p}" for p in "ABC"}
    studies, _ = assign_series(manifest, scan(folder / "dicom"), "CT", names)
    return studies, manifest


def flat(converted):
    """Everything in a form that compares by value, arrays by bytes and type."""

    def plain(value):
        if isinstance(value, np.ndarray | np.generic):
            return str(value.dtype), np.shape(value), np.asarray(value).tobytes()
        return value

    return [
        ([{k: plain(v) for k, v in sorted(r.items())} for r in records], rejected, facts)
        for records, rejected, facts in converted
    ]


@pytest.fixture(scope="module")
def plain(cohort):
    studies, manifest = cohort
    return flat(convert(studies, COHORT, manifest))


def test_two_processes_give_the_same_in_the_same_order(cohort, plain):
    studies, manifest = cohort
    assert flat(convert(studies, COHORT, manifest, workers=2)) == plain
    assert [len(records) for records, _, _ in plain] == [2, 2, 0]
    assert len(plain[2][1]) == 2 and plain[2][2] is None


def test_only_what_is_new_is_converted(cohort, plain, tmp_path, monkeypatch):
    studies, manifest = cohort
    read, seen = conversion.read_study, []
    monkeypatch.setattr(
        conversion, "read_study", lambda s, *rest: seen.append(s.pseudonym) or read(s, *rest)
    )
    assert flat(convert(studies[:2], COHORT, manifest, cache=tmp_path)) == plain[:2]
    assert flat(convert(studies, COHORT, manifest, cache=tmp_path)) == plain
    assert seen == ["P-A", "P-B", "P-C"]
    os.utime(studies[0].files[3])  # as if unpacked anew
    changed, before = studies[1].files[3], studies[1].files[3].read_bytes()
    rewrite(changed, PatientComments="another file now")
    # What was rejected is tried again each time.
    assert flat(convert(studies, COHORT, manifest, cache=tmp_path)) == plain
    changed.write_bytes(before)
    other = cohort_of(region=SacroiliacRegion(size=32, pixel_mm=2.9))
    list(convert(studies[:1], other, manifest, cache=tmp_path))
    assert seen[3:] == ["P-B", "P-C", "P-A"]


def test_a_damaged_cache_is_made_again(cohort, plain, tmp_path):
    studies, manifest = cohort
    list(convert(studies, COHORT, manifest, cache=tmp_path))
    for k, file in enumerate(sorted(tmp_path.iterdir())):
        file.write_bytes(file.read_bytes()[: 100 * k])
    assert flat(convert(studies, COHORT, manifest, cache=tmp_path)) == plain
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written to"):
        list(convert(studies, COHORT, manifest, cache=tmp_path / "file" / "x"))


def test_beam_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam.options.pipeline_options", None)
    with pytest.raises(UserError, match=r"not installed: pip install 'msk_jax\[beam\]'"):
        pipeline_options(["runner=FlinkRunner"])


def rows(tmp_path, text):
    (tmp_path / "s.csv").write_text(f"patient_id,side,label,site,split\n{text}")
    read = read_manifest(tmp_path / "s.csv", COHORT)
    return read.rows, read.patient_labels()


def test_one_site_is_left_out_at_a_time(tmp_path):
    text = "".join(
        f"{site}{k},left,{COHORT.classes[k % 2]},{site},\n" for site in "xyz" for k in range(4)
    )
    manifest_rows, labels = rows(tmp_path, text)
    assert check_split(manifest_rows, labels, "site", 5) == 3
    sites = {row.patient_id: row.site for row in manifest_rows}
    folds = folds_by_group(sites, labels, "site", 3)
    for k, site in enumerate("xyz"):
        tested = {p for p, role in roles(folds, k).items() if role == "test"}
        assert tested == {p for p in sites if sites[p] == site}
    with pytest.raises(UserError, match="1 of 3 sites"):
        folds_by_group({p: s for p, s in sites.items() if s != "y"}, labels, "site", 3)


def test_split_of_the_manifest(tmp_path):
    parts = {"a": "train", "b": "train", "c": "validation", "d": "test"}
    text = "".join(f"{p},left,{COHORT.classes[p == 'b']},,{s}\n" for p, s in parts.items())
    manifest_rows, labels = rows(tmp_path, text)
    assert check_split(manifest_rows, labels, "manifest", 5) == 3
    assert roles(folds_by_group(parts, labels, "manifest", 3), 0) == parts
    with pytest.raises(UserError, match="all of one class"):
        folds_by_group(parts, dict.fromkeys(labels, 0), "manifest", 3)


@pytest.mark.parametrize(
    ("text", "split", "message"),
    [
        ("a,left,normal,x,\nb,left,normal,y,\n", "site", "2 site"),
        ("a,left,normal,x,\nb,left,normal,,\n", "site", "Row 3 of the manifest gives no site"),
        ("a,left,normal,,train\nb,left,normal,,test\n", "manifest", "are needed"),
    ],
)
def test_splits_that_cannot_be(tmp_path, text, split, message):
    with pytest.raises(UserError, match=message):
        check_split(*rows(tmp_path, text), split, 5)
