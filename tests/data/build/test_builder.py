"""DICOM and manifest to shards: good studies in, bad ones listed, nothing half-made, no names."""

import csv
import errno
import json
import resource
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from msk_jax.data.build.builder import build_cohort
from msk_jax.data.privacy.pseudonyms import pseudonym
from msk_jax.data.quality.grading import QualityLimits
from msk_jax.data.regions.sacroiliac import SacroiliacRegion
from msk_jax.data.shards.folds import load_folds
from msk_jax.errors import UserError
from msk_jax.reports.cohort import cohort_rows
from msk_jax.verbs import cohort as cohort_verb
from tests.cohorts import cohort_of
from tests.data.ct_files import box_pelvis, rewrite, write_ct

COHORT = cohort_of(region=SacroiliacRegion(size=32, pixel_mm=3.0))
KEY = "0123456789abcdef0123456789abcdef"
GOOD = {f"KLINIK-{i:03d}": i % 2 for i in range(6)}
COLUMNS = "patient_id,side,label,lesion_z_mm,site,age,sex"


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Six good patients, of whom every other one is sick on the left; and bad ones."""
    folder = tmp_path_factory.mktemp("source")
    lines = [COLUMNS]
    for i, (patient, sick) in enumerate(GOOD.items()):
        spacing = (3.0, 3.0, 2.5)
        hu, origin = box_pelvis(spacing, (40, 128, 128), shift=(i, -i))
        write_ct(folder / "dicom" / f"{i}", hu, origin, spacing, patient_id=patient)
        left = "sacroiliitis,-3:1" if sick else "normal,"
        about = f"{'AB'[i // 3]},{20 + 10 * i},{'FM'[i % 2]}"
        lines += [f"{patient},left,{left},{about}", f"{patient},right,normal,,{about}"]
    small = np.zeros((6, 8, 8), np.int16)
    for k, file in enumerate(write_ct(folder / "dicom" / "cut", small, patient_id="KLINIK-CUT")):
        if k == 5:
            file.write_bytes(file.read_bytes()[:-40])
    for file in write_ct(folder / "dicom" / "mr", small, patient_id="KLINIK-MR"):
        rewrite(file, Modality="MR")
    lines += [f"KLINIK-{name},left,normal,,A,50,F" for name in ("CUT", "MR", "GONE")]
    (folder / "dicom" / "letter.txt").write_text("Dear colleague")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    (folder / "pseudonym.key").write_text(KEY)
    return folder


def build(source: Path, data_dir: Path, cohort=COHORT, **options):
    options = {"num_folds": 3, **options}
    return build_cohort(cohort, source / "dicom", source / "manifest.csv", data_dir, **options)


@pytest.fixture(scope="module")
def built(source, tmp_path_factory):
    notes = []
    data_dir = tmp_path_factory.mktemp("built") / "data"
    summary = build(source, data_dir, progress=lambda *report: notes.append(report))
    return summary, notes


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def records(data_dir: Path) -> dict[str, dict]:
    (version,) = data_dir.glob("sacroiliitis/*")
    rows = tfds.as_numpy(tfds.builder_from_directory(version).as_dataset(split="all"))
    return {row["unit_id"].decode(): row for row in rows}


def test_summary_and_progress(built):
    summary, notes = built
    assert summary.built and (summary.num_patients, summary.num_units) == (6, 12)
    assert summary.num_rejected == 3 and summary.num_skipped_files == 1
    reading = [note for note in notes if note[2] != "reading headers"]
    assert reading[0][:2] == (0, 7) and reading[-1][:2] == (7, 7)
    assert not any("KLINIK" in note for _, _, note in notes)


def test_records_without_our_class(built):
    rows = records(built[0].data_dir)
    expected = {f"{pseudonym(p, KEY.encode())}/{s}" for p in GOOD for s in ("left", "right")}
    assert set(rows) == expected
    name = pseudonym("KLINIK-003", KEY.encode())
    left, right = rows[f"{name}/left"], rows[f"{name}/right"]
    assert left["volume"].dtype == np.int16 and left["volume"].shape[1:] == (32, 32)
    assert len(left["positions_mm"]) == len(left["volume"]) == len(left["stack_labels"]) + 4
    # The lesion, -3 to 1 mm and half a slice, is in every stack whose 5 slices reach it.
    reached = (left["positions_mm"] >= -3 - 1.25) & (left["positions_mm"] <= 1 + 1.25)
    stacks = [int(reached[k : k + 5].any()) for k in range(len(left["stack_labels"]))]
    assert left["stack_labels"].tolist() == stacks and sum(stacks) > 0
    assert not right["stack_labels"].any()
    assert (left["label"], right["label"], right["patient_label"]) == (1, 0, 1)
    assert left["direction"][0] == -1 and right["direction"][0] == 1, "left mirrored"
    assert (left["site"], left["sex"], left["age"], left["grade"]) == (b"B", b"M", 50, -1)
    assert left["spacing_mm"].tolist() == [3, 3, 2.5]
    # Bone and air came through as Hounsfield units.
    assert left["volume"].max() == 500 and left["volume"].min() >= -1024


def test_rejected_are_listed_with_row_and_reason(built):
    with (built[0].data_dir / "rejected.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["row"] for row in rows] == ["14", "15", "16"]
    assert [row["patient_id"] for row in rows] == [
        pseudonym(f"KLINIK-{name}", KEY.encode()) for name in ("CUT", "MR", "GONE")
    ]
    assert "file 6 of 6 by name" in rows[0]["reason"] and "005" not in rows[0]["reason"]
    assert "/" not in rows[0]["reason"]
    assert "no CT series but only MR" in rows[1]["reason"]
    assert "No file in the DICOM folder" in rows[2]["reason"]


def test_folds_hold_every_patient_once(built):
    data_dir = built[0].data_dir
    labels = {
        row["patient_id"].decode(): row["patient_label"] for row in records(data_dir).values()
    }
    folds = load_folds(data_dir, labels)
    assert set(folds) == set(labels) and sorted(folds.values()) == [0, 0, 1, 1, 2, 2]


def test_cohort_facts(built):
    facts = json.loads((built[0].data_dir / "cohort.json").read_text())
    assert facts["by_label"]["patient"] == {"normal": 3, "sacroiliitis": 3}
    assert facts["by_label"]["joint"] == {"normal": 9, "sacroiliitis": 3}
    assert sum(facts["by_label"]["slice"].values()) == built[0].num_stacks
    # Ages are 20, 30, ... 70.
    assert facts["age"] == {"median": 45, "q1": 32.5, "q3": 57.5, "missing": 0}
    assert facts["by_site"]["A"] == {"normal": 2, "sacroiliitis": 1}
    assert facts["sex"] == {"F": 3, "M": 3}
    assert facts["spacing_mm"] == "2.5" and facts["rejected"] == 3 and not facts["is_phantom"]


def test_no_identifier_gets_out(built, source):
    everything = b"".join(contents(built[0].data_dir).values())
    assert pseudonym("KLINIK-000", KEY.encode()).encode() in everything
    for word in ("KLINIK", "Doe", "ACC4711", "Hospital", "19810203", "1.2.826", KEY, str(source)):
        assert word.encode() not in everything, word


def test_same_input_same_bytes(built, source, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(source, moved)
    for i, file in enumerate(sorted((moved / "dicom" / "0").iterdir(), reverse=True)):
        file.rename(file.with_name(f"IM{i}"))
    build(moved, tmp_path / "data")
    assert contents(tmp_path / "data") == contents(built[0].data_dir)


def test_the_bytes_of_a_record_do_not_depend_on_the_process(built):
    # Each process of protobuf has its own order of features, but for sorted ones.
    files = sorted(built[0].data_dir.glob("sacroiliitis/*/*.tfrecord*"))
    assert len(files) == 2, "the shard and its index"
    for file in files:
        stored = list(tf.data.TFRecordDataset(str(file)).as_numpy_iterator())
        examples = map(tf.train.Example.FromString, stored)
        assert [e.SerializeToString(deterministic=True) for e in examples] == stored


def test_second_run_does_nothing(built, source, monkeypatch):
    monkeypatch.setattr("msk_jax.data.build.builder.scan", None)  # would fail if it were called
    before = contents(built[0].data_dir)
    again = build(source, built[0].data_dir)
    assert not again.built and again.num_units == 12 and again.num_rejected == 3
    assert contents(built[0].data_dir) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": 1}, "another seed"),
        ({"refuse_below": "poor"}, "another grade below which scans are refused"),
        ({"cohort": cohort_of(keep=("site",))}, "other settings of the cohort"),
    ],
)
def test_another_build_is_not_written_over(built, source, options, words):
    before = contents(built[0].data_dir)
    with pytest.raises(UserError, match=rf"{words}.*--overwrite"):
        build(source, built[0].data_dir, **options)
    assert contents(built[0].data_dir) == before


def test_overwrite_replaces_the_build_and_nothing_else(built, source, tmp_path):
    data_dir = tmp_path / "data"
    shutil.copytree(built[0].data_dir, data_dir)
    (data_dir / "commands.json").write_text("[]")
    assert build(source, data_dir, seed=1, overwrite=True).built
    assert json.loads((data_dir / "splits.json").read_text())["seed"] == 1
    assert (data_dir / "commands.json").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_folder_of_other_things_is_left_alone(source, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match=r"holds other things \(thesis.txt\)"):
        build(source, tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_interrupted_build_leaves_nothing(source, tmp_path):
    def stop(done, total, note):
        if total == 7 and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(source, tmp_path / "data", progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_places(source, tmp_path):
    (tmp_path / "file").write_text("")
    for place in (Path("/proc/msk_jax/data"), tmp_path / "file" / "data"):
        with pytest.raises(UserError, match=r"cannot be (written|read)|is not a folder") as caught:
            build(source, place)
        assert str(place) in str(caught.value)
    with pytest.raises(UserError, match="is not a folder"):
        build(source, tmp_path / "file")


def test_too_little_room_is_told_before_the_work(source, tmp_path, monkeypatch):
    usage = shutil._ntuple_diskusage(10**9, 10**9, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr("msk_jax.data.build.builder.scan", None)
    with pytest.raises(UserError, match=r"too little room at .*takes up to \d+ MB and 0 MB are"):
        build(source, tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_disk_that_fills_on_the_way(source, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        with pytest.raises(UserError, match="too little room"):
            build(source, tmp_path / "data")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "too little room"),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system"),
        (tf.errors.UnknownError(None, None, "No space left on device"), "too little room"),
        (tf.errors.PermissionDeniedError(None, None, "denied"), "denied"),
    ],
)
def test_failures_of_the_disk_are_told_in_a_sentence(source, tmp_path, monkeypatch, error, message):
    def fail(*args):
        raise error

    monkeypatch.setattr("msk_jax.data.build.builder.write_shards", fail)
    with pytest.raises(UserError, match=message):
        build(source, tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_nothing_usable(source, tmp_path):
    rows = "".join(
        f"X{i},left,{label},,,,\n" for i, label in enumerate(["normal", "sacroiliitis"] * 3)
    )
    (tmp_path / "manifest.csv").write_text(f"{COLUMNS}\n{rows}")
    with pytest.raises(UserError, match=r"Nothing usable is left.*6 manifest row\(s\)"):
        build_cohort(
            COHORT,
            source / "dicom",
            tmp_path / "manifest.csv",
            tmp_path / "data",
            key=source / "pseudonym.key",
            num_folds=3,
        )
    assert not (tmp_path / "data").exists()


def test_too_few_patients_left_for_the_folds(source, tmp_path):
    lines = (source / "manifest.csv").read_text().replace("KLINIK-001", "KLINIK-XXX")
    (tmp_path / "manifest.csv").write_text(lines)
    with pytest.raises(UserError, match=r"class 0: 3, class 1: 2.*rejected"):
        build_cohort(
            COHORT,
            source / "dicom",
            tmp_path / "manifest.csv",
            tmp_path / "data",
            key=source / "pseudonym.key",
            num_folds=3,
        )
    assert not (tmp_path / "data").exists()


def test_age_and_sex_of_the_header_where_the_manifest_has_none(source, tmp_path):
    rows = "".join(f"{p},left,{COHORT.classes[sick]}\n" for p, sick in GOOD.items())
    (tmp_path / "manifest.csv").write_text(f"patient_id,side,label\n{rows}")
    build_cohort(
        COHORT,
        source / "dicom",
        tmp_path / "manifest.csv",
        tmp_path / "data",
        key=source / "pseudonym.key",
        num_folds=3,
    )
    rows = records(tmp_path / "data").values()
    assert {(row["age"], row["sex"], row["site"]) for row in rows} == {(45, b"F", b"")}
    # Without lesion intervals a stack has the label of its joint.
    assert all(set(row["stack_labels"].tolist()) == {int(row["label"])} for row in rows)


def test_inspect_draws_a_page_of_what_was_built(built, tmp_path):
    summary, _ = built
    cohort_verb.inspect(summary.data_dir, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert f"{summary.num_units} records, {summary.num_units} of them shown" in page
    damaged = Path(shutil.copytree(summary.data_dir, tmp_path / "damaged"))
    content = json.loads((damaged / "cohort.json").read_text())
    del content["fingerprint"]["config"]["levels"]
    (damaged / "cohort.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="lacks levels"):
        cohort_verb.inspect(damaged, None)


def test_scans_of_low_quality_are_left_out_when_asked(source, tmp_path):
    shutil.copytree(source, tmp_path / "source")
    spacing = (3.0, 3.0, 2.0)  # 80 mm long, where the others have 100
    write_ct(
        tmp_path / "source" / "dicom" / "short",
        *box_pelvis(spacing, (40, 128, 128)),
        spacing,
        patient_id="KLINIK-SHORT",
    )
    with (tmp_path / "source" / "manifest.csv").open("a") as file:
        file.write("".join(f"KLINIK-SHORT,{side},normal,,A,50,F\n" for side in ("left", "right")))
    limits = QualityLimits(coverage_mm=(200, 150, 90), missing_tags=(10, 15, 17))
    cohort, data_dir = replace(COHORT, limits=limits), tmp_path / "data"
    left = build(tmp_path / "source", data_dir, cohort, refuse_below="poor")
    assert (left.num_poor, left.num_units, left.num_rejected) == (6, 12, 5)
    with (data_dir / "rejected.csv").open() as file:
        reasons = {row["row"]: row["reason"] for row in csv.DictReader(file)}
    assert (
        reasons["17"]
        == reasons["18"]
        == (
            "The quality of the scan is unusable, which is below poor (mm covered along z: 80, at "
            "least 90 is asked for)."
        )
    )
    with (data_dir / "quality.csv").open() as file:
        rows = {row["coverage_mm"]: row for row in csv.DictReader(file)}
    assert [rows["80.0"][k] for k in ("grade_coverage_mm", "quality", "used")] == [
        "0",
        "unusable",
        "no",
    ]
    assert (rows["100.0"]["grade_pixel_mm"], rows["100.0"]["used"]) == ("", "yes")
    facts = json.loads((data_dir / "cohort.json").read_text())
    grades = {"good": 0, "acceptable": 0, "poor": 6, "unusable": 0}
    assert facts["quality"]["grades"] == facts["quality"]["grades_of"]["coverage_mm"] == grades
    assert dict(cohort_rows(facts))["Quality of the scans"] == (
        "poor 6; poor or worse in coverage mm 6; 1 refused"
    )
    cohort_verb.inspect(data_dir, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "7 scans (quality: 6 poor, 1 unusable; 1 refused)." in page
