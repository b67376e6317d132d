"""Nobody is named: de-identified copies, the audit of what was built, the draft of a manifest."""

import csv
import gzip

import numpy as np
import pydicom
import pytest
import tensorflow as tf
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, SecondaryCaptureImageStorage

from msk_jax.data.cohort.draft import draft_rows, write_draft
from msk_jax.data.cohort.manifest import read_manifest
from msk_jax.data.images.volume import read_volume
from msk_jax.data.privacy.audit import audit, identifiers
from msk_jax.data.privacy.deidentify import basic_profile, deidentify, deidentify_file, keyed_uid
from msk_jax.data.privacy.pseudonyms import pseudonym
from msk_jax.data.regions.vertebra import VertebraRegion
from msk_jax.data.regions.volume import VolumeRegion
from msk_jax.data.sources.scan import scan
from msk_jax.errors import SeriesError, UserError
from msk_jax.experiments import osteoporosis
from msk_jax.provenance import this_command
from msk_jax.training.checkpoints import Checkpoints
from msk_jax.verbs import cohort as verb
from tests.cohorts import cohort_of
from tests.data.ct_files import ramp, rewrite, write_ct

KEY = b"0123456789abcdef"


@pytest.fixture(scope="module")
def rules():
    pytest.importorskip("dicomanonymizer", reason="dicom-anonymizer is not installed")
    return basic_profile()


@pytest.fixture
def files(tmp_path):
    """A series full of names: plain, nested, private, in a curve and an overlay."""
    step = Dataset()
    step.ScheduledPerformingPhysicianName = "Nested^Nora"
    step.ReferencedSOPInstanceUID = "1.2.3.4711"
    files = write_ct(tmp_path / "ct", ramp(), patient_id="KLINIK-1")
    for file in files:
        rewrite(
            file,
            StudyDate="20200229",
            StudyTime="101112",
            AcquisitionDateTime="20200301101112.5",
            ReferringPhysicianName="Ref^Rita",
            PatientComments="lives in Exampletown",
            SeriesDescription="for Mrs Doe",
            RequestAttributesSequence=Sequence([step]),
            StudyID="S-4711-X",
        )
        data = pydicom.dcmread(file)
        data.private_block(0x11, "MAKER", create=True).add_new(1, "LO", "Private^Paula")
        data.add_new(0x60004000, "LT", "Overlay of Olga")
        data.add_new(0x00109999, "LO", "Unlisted^Ursula")
        data.PatientBirthTime, data.AcquisitionTime, data.SeriesDate = (
            "081533",
            "Tom^Thomas",
            "2020",
        )
        data.save_as(file)
    return files


def words_in(file) -> bytes:
    return file.read_bytes().split(b"DICM", 1)[1]


def test_nothing_of_the_patient_is_left(files, rules, tmp_path):
    for k, file in enumerate(files):
        deidentify_file(file, tmp_path / "out" / f"{k}", KEY, rules)
    names, _ = identifiers(files)
    # New UIDs are random digits, so a word of four digits would be found in them now and then.
    for file in (tmp_path / "out").iterdir():
        for word in (
            b"KLINIK",
            b"Doe",
            b"Rita",
            b"Nested",
            b"Nora",
            b"Paula",
            b"Olga",
            b"S-4711",
            b"1.2.3.4711",
            b"ACC4711",
            b"Ursula",
            b"Tom",
            b"081533",
            b"Exampletown",
            b"Hospital",
            b"20200229",
            b"19810203",
        ):
            assert word not in words_in(file), word
        assert not any(name.encode() in words_in(file) for name in names)
    copy = pydicom.dcmread(tmp_path / "out" / "0")
    assert copy.PatientID == copy.PatientName == pseudonym("KLINIK-1", KEY)
    assert copy.PatientIdentityRemoved == "YES" and "PatientAge" not in copy
    assert copy.PatientBirthDate == "", "shifted like the study's date it would tell the age"
    assert [c.CodeValue for c in copy.DeidentificationMethodCodeSequence] == ["113100", "113107"]


def test_pixels_geometry_and_belonging_are_kept(files, rules, tmp_path):
    for k, file in enumerate(files):
        deidentify_file(file, tmp_path / "out" / f"{k}", KEY, rules)
    volume, before = read_volume((tmp_path / "out").iterdir()), read_volume(files)
    assert np.array_equal(volume.voxels, before.voxels)
    assert (volume.spacing_mm, volume.origin_mm) == (before.spacing_mm, before.origin_mm)
    assert volume.series_uid == keyed_uid(before.series_uid, KEY) != before.series_uid
    assert volume.series_uid != keyed_uid(before.series_uid, b"another key 1234")


def test_dates_of_a_patient_move_together(files, rules):
    before = pydicom.dcmread(files[0])
    after = deidentify(before, KEY, rules, keep_characteristics=True)
    moved = [
        np.datetime64(f"{d[:4]}-{d[4:6]}-{d[6:8]}")
        for d in (after.StudyDate, after.AcquisitionDateTime)
    ]
    assert moved[1] - moved[0] == np.timedelta64(1, "D")  # 29 February to 1 March
    assert after.AcquisitionDateTime.endswith("101112.5") and after.StudyTime == "101112"
    shift = np.datetime64("2020-02-29") - moved[0]
    assert np.timedelta64(1, "D") <= shift <= np.timedelta64(3650, "D")
    assert after.PatientAge == "045Y" and before.PatientName == "Doe^KLINIK-1"


def test_nameless_files_share_no_pseudonym_unless_they_share_a_series(files, rules):
    names = {}
    for k, file in enumerate(files[:3]):
        data = pydicom.dcmread(file)
        data.PatientID = data.StudyInstanceUID = ""
        data.SeriesInstanceUID = f"1.2.3.{k // 2}"
        names[k] = deidentify(data, KEY, rules).PatientID
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize(
    ("tags", "refused"),
    [
        ({"BurnedInAnnotation": "YES"}, True),
        ({"SOPClassUID": SecondaryCaptureImageStorage}, True),
        ({"SOPClassUID": SecondaryCaptureImageStorage, "BurnedInAnnotation": "NO"}, False),
        ({}, False),
    ],
)
def test_burned_in_text(files, rules, tags, refused):
    rewrite(files[0], **tags)
    data = pydicom.dcmread(files[0])
    if refused:
        with pytest.raises(SeriesError, match="burned-in annotation"):
            deidentify(data, KEY, rules)
    assert deidentify(data, KEY, rules, allow_burned_in=True).PatientIdentityRemoved == "YES"


def test_a_damaged_file_is_listed_and_the_others_are_copied(files, rules, tmp_path, monkeypatch):
    monkeypatch.setattr(verb, "load_key", lambda path: KEY)
    rewrite(files[1], SOPInstanceUID=None)
    rewrite(files[2], BurnedInAnnotation="YES")
    out = tmp_path / "out"
    verb.deidentify(str(files[0].parent), out, tmp_path / "key", False, False)
    with (out / "rejected.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["series0001/00002.dcm", "series0001/00003.dcm"]
    assert "lacks what identifies" in rows[0]["reason"] and "burned-in" in rows[1]["reason"]
    assert len(list(out.rglob("*.dcm"))) == len(files) - 2


@pytest.mark.parametrize("where", ["plain.log", "deep/shard", "name", "packed.gz", "packed.npz"])
def test_audit_finds_what_should_not_be_there(files, tmp_path, where):
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "clean.json").write_text('{"patient": "P-0123456789ab"}')
    text = b"\x00binary\xff" * 9 + b"ACC4711" + b"\x00" * 9
    if where == "name":
        (folder / "Doe^KLINIK-1.png").write_bytes(b"x")
    elif where.endswith(".gz"):
        (folder / where).write_bytes(gzip.compress(text))
    elif where.endswith(".npz"):
        np.savez_compressed(folder / where, a=np.frombuffer(text, np.uint8))
    else:
        (folder / where).write_bytes(text)
    names, short = identifiers(files)
    found = audit(folder, names, short)
    (hit,) = {hit.keyword for hit in found.hits}
    assert hit == ("PatientName" if where == "name" else "AccessionNumber")
    assert "ACC4711" not in str(found.hits) and found.num_short > 0
    with pytest.raises(SystemExit) as left:
        verb.audit_folder(folder, str(files[0].parent))
    assert left.value.code == 1


@pytest.mark.parametrize("content", ['"M\\u00fcller-O\'Brien"', "M\u00fcller-O&#39;Brien"])
def test_audit_knows_names_as_json_and_html_write_them(tmp_path, content):
    (tmp_path / "a").write_text(content, encoding="utf-8")
    found = audit(tmp_path, {"M\u00fcller-O'Brien": "PatientName"})
    assert [hit.keyword for hit in found.hits] == ["PatientName"]


@pytest.mark.parametrize("start", [0, 2**20 - 3, 2**20, 70 * 2**20])
def test_audit_looks_across_blocks_and_to_the_end_of_what_is_packed(tmp_path, start):
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(start) + b"KLINIK-1\0", 1))
    names = {"KLINIK-1": "PatientID", "KLINIK-2": "PatientName", "KLINIK-10": "StudyID"}
    assert [hit.keyword for hit in audit(tmp_path, names).hits] == ["PatientID"]


def test_audit_asks_files_that_are_no_images_too_and_names_damaged_ones(files, tmp_path, capsys):
    report = pydicom.dcmread(files[0], stop_before_pixels=True)
    report.PatientName, report.SOPClassUID, report.Rows = "Bericht^Berta", "1.2.3", None
    report.save_as(files[0].parent / "report.dcm")
    report.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    report.save_as(files[0].parent / "cut.dcm")
    content = (files[0].parent / "cut.dcm").read_bytes()
    (files[0].parent / "cut.dcm").write_bytes(content[:-200] + bytes(200))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.log").write_text("Berta Bericht")
    with pytest.raises(SystemExit):
        verb.audit_folder(tmp_path / "data", str(files[0].parent))
    printed = " ".join(capsys.readouterr().out.split())
    assert "a.log: PatientName" in printed
    assert "1 DICOM files cannot be read" in printed and "cut.dcm" in printed


def test_audit_of_a_clean_folder(files, tmp_path, capsys):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cohort.json").write_text('{"patients": 7}')
    verb.audit_folder(tmp_path / "data", str(files[0].parent))
    assert "No identifier was found" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [["--dicom", "https://h/w?PatientID=KLINIK-1&x=y"], ["--dicom=http:/h/w?PatientID=KLINIK-1"]],
)
def test_what_a_server_was_asked_is_not_noted(words, monkeypatch):
    monkeypatch.setattr("sys.argv", ["msk-jax", "build", *words, "--seed", "1"])
    noted = this_command()
    assert "KLINIK" not in noted and "/h/w?..." in noted and noted.endswith("--seed 1")


def test_folders_of_a_command_line_are_not_noted(tmp_path, monkeypatch):
    (tmp_path / "Doe").mkdir()
    words = [
        "build",
        str(tmp_path / "Doe" / "mine.py"),
        "--dicom",
        "Doe",
        "--data-dir",
        str(tmp_path / "Doe"),
        f"--workdir={tmp_path}/Doe/run",
        "--rates",
        "encoder/.*",
        "0",
        "--manifest",
        "Doe/../Doe",
    ]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["msk-jax", *words])
    assert this_command() == (
        "msk-jax build mine.py --dicom ... --data-dir Doe --workdir=run --rates 'encoder/.*' 0 "
        "--manifest Doe"
    )


SHORT = {"AB1": "PatientID", "417": "PatientID", "Li": "PatientName", "Ng": "AccessionNumber"}


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.json", '{"patient": "AB1", "n": 417, "x": "417a"}', {"PatientID"}),
        ("a.json", '{"n": 417, "all": ["417"]}', {"PatientID"}),
        ("a.json", '["Li"]', {"PatientName"}),
        ("a.csv", "patient_id,n\nAB1,2\n", {"PatientID"}),
        ("a.html", "<td>AB1</td>", {"PatientID"}),
        ("a.log", "patient AB1 was read", {"PatientID"}),
        ("a.csv", "AB12,417\nLiAB1,Limit\n3417,1\n", set()),
        ("a.log", "CAB1 Life 417 mm", set()),
        ("AB1/a", "", {"PatientID"}),
        ("x/AB1.png", "", {"PatientID"}),
        ("AB10_AB1", "", set()),
    ],
)
def test_short_identifiers_count_where_they_stand_alone(tmp_path, name, content, found):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    assert {hit.keyword for hit in audit(tmp_path, SHORT).hits} == found


def test_short_identifiers_in_shards(tmp_path):
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"Ng"]))
    features = tf.train.Features(feature={"patient_id": feature})
    (tmp_path / "a").write_bytes(tf.train.Example(features=features).SerializeToString())
    assert [hit.keyword for hit in audit(tmp_path, SHORT).hits] == ["AccessionNumber"]


def test_short_words_that_name_nobody_are_not_looked_for(files):
    rewrite(files[0], StationName="CT1", PatientID="C-7", StudyID="1")
    names, count = identifiers(files[:1])
    assert names["C-7"] == "PatientID" and not {"CT1", "1"} & set(names) and count >= 2


def test_audit_opens_checkpoints(tmp_path):
    text = ("The quick brown fox met Mr KLINIK-1 and jumped over the lazy dog. " * 3).encode()
    with Checkpoints(tmp_path / "run") as checkpoints:
        checkpoints.save(1, {"params": {"w": np.frombuffer(text, np.uint8)}}, {})
    names = {"KLINIK-1": "PatientID"}
    packed = [f for f in tmp_path.rglob("*") if f.is_file() and b"KLINIK-1" in f.read_bytes()]
    assert not packed, "it can be read as it lies: the test says nothing"
    hits = audit(tmp_path, names).hits
    assert "run/1/state/manifest.ocdbt!params.w" in [hit.file for hit in hits]


def test_draft_lists_series_of_the_modality_and_defuses_headers(tmp_path):
    evil = '=HYPERLINK("http://evil","x")'
    write_ct(tmp_path / "in" / "a", ramp(), patient_id="A")
    for file in write_ct(tmp_path / "in" / "b", ramp(), patient_id="B", series="mr"):
        rewrite(
            file,
            Modality="MR",
            SeriesDescription=evil,
            EchoTime=12,
            RepetitionTime=600,
            ScanningSequence="SE",
            SliceThickness=4,
        )
    (tmp_path / "in" / "c.png").write_bytes(b"")
    knees = cohort_of(modality="MR", region=VolumeRegion(views=("T1", "STIR")))
    for cohort in (knees, cohort_of(region=VertebraRegion()), osteoporosis.experiment.cohort):
        name = "".join(c for c in cohort.modality if c.isalpha())
        write_draft(tmp_path / f"{name}.csv", draft_rows(scan(tmp_path / "in"), cohort), cohort)
    slices, none, films = (_by_patient(tmp_path / f"{name}.csv") for name in ("MR", "CT", "CRDX"))
    assert [(row["patient_id"], row["path"]) for row in slices] == [("", "c.png"), ("B", "")]
    row = slices[1]
    assert (row["age"], row["sex"], row["x_plane"]) == ("45", "F", "axial")
    assert (row["x_sequence"], row["x_confidence"]) == ("T1", "medium")
    assert row["x_description"] == f"'{evil}"
    assert row["label"] == row["view"] == ""
    assert [row["patient_id"] for row in none] == ["", "A"] and {"level", "centre_z_mm"} <= set(
        none[1]
    )
    assert [row["path"] for row in films] == ["c.png"] and {"t_score", "bmi"} <= set(films[0])


def test_draft_has_a_row_for_each_side_and_is_read_once_labels_are_in(tmp_path):
    write_ct(tmp_path / "in", ramp(), patient_id="A")
    verb.draft(str(tmp_path / "in"), tmp_path / "m.csv", "sacroiliitis")
    rows = _by_patient(tmp_path / "m.csv")
    assert [row["side"] for row in rows] == ["left", "right"]
    with pytest.raises(UserError, match="row 2: label ''"):
        read_manifest(tmp_path / "m.csv", cohort_of())
    filled = (tmp_path / "m.csv").read_text()
    for side, label in (("left", "normal"), ("right", "sacroiliitis")):
        filled = filled.replace(f",{side},,", f",{side},{label},")
    (tmp_path / "m.csv").write_text(filled)
    assert [row.label for row in read_manifest(tmp_path / "m.csv", cohort_of()).rows] == [0, 1]


def _by_patient(path):
    with path.open() as file:
        return sorted(csv.DictReader(file), key=lambda row: row["patient_id"])
