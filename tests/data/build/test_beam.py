"""The build as an Apache Beam pipeline on its local runner: the bytes of the ordinary build."""

from pathlib import Path

import pytest

from msk_jax.data.build import beam
from msk_jax.data.build.beam import convert_with_beam, pipeline_options
from msk_jax.data.build.builder import build_cohort
from msk_jax.data.build.records import assign_series
from msk_jax.data.cohort.manifest import read_manifest
from msk_jax.data.regions.sacroiliac import SacroiliacRegion
from msk_jax.data.sources.scan import scan
from msk_jax.errors import UserError
from tests.cohorts import cohort_of
from tests.data.ct_files import box_pelvis, write_ct

pytest.importorskip("apache_beam", reason="apache-beam is not installed: msk_jax[beam]")
PATIENTS = "ABCDEFG"
COHORT = cohort_of(region=SacroiliacRegion(size=32, pixel_mm=3.0))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Seven patients, the last of them with a file cut short."""
    folder = tmp_path_factory.mktemp("source")
    hu, origin = box_pelvis((3.0, 3.0, 2.5), (40, 128, 128))
    for k, patient in enumerate(PATIENTS):
        files = write_ct(folder / "dicom" / patient, hu + k, origin, patient_id=patient)
    files[5].write_bytes(files[5].read_bytes()[:-40])
    classes = [COHORT.classes[k % 2] for k in range(7)]
    rows = "".join(
        f"{p},{side},{c}\n"
        for p, c in zip(PATIENTS, classes, strict=True)
        for side in ("left", "right")
    )
    (folder / "manifest.csv").write_text(f"patient_id,side,label\n{rows}")
    (folder / "pseudonym.key").write_text("0123456789abcdef0123456789abcdef")
    return folder


def build(source, data_dir, **options):
    manifest = source / "manifest.csv"
    build_cohort(COHORT, source / "dicom", manifest, data_dir, num_folds=3, **options)
    return {
        str(path.relative_to(data_dir)): path.read_bytes()
        for path in data_dir.rglob("*")
        if path.is_file()
    }


def test_the_build_has_the_same_bytes(source, tmp_path, monkeypatch):
    plain = build(source, tmp_path / "plain")
    monkeypatch.chdir(source)  # paths are relative, as people give them
    relative = Path()
    piped = build(relative, tmp_path / "piped", beam=(), cache=tmp_path / "cache")
    assert any(name.endswith("-of-00001") for name in piped)
    assert piped["rejected.csv"].count(b"file 6 of ") == 2
    assert piped == plain
    assert len(list((tmp_path / "cache").iterdir())) == 6  # what was rejected is tried again
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "piped", "plain"]


def studies_of(source):
    manifest = read_manifest(source / "manifest.csv", COHORT)
    names = {p: f"P-{p}" for p in PATIENTS}
    return assign_series(manifest, scan(source / "dicom"), "CT", names)[0], manifest


def test_a_pipeline_that_fails_says_so_and_leaves_nothing(source, tmp_path, monkeypatch):
    studies, manifest = studies_of(source)
    monkeypatch.setattr(beam, "save", lambda place, made: None)  # as on a disk of the worker's own
    with pytest.raises(UserError, match=r"left nothing of study P-A.*share"):
        list(convert_with_beam(studies[:1], COHORT, manifest, (), tmp_path))

    def fail(*rest):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(beam, "save", fail)
    with pytest.raises(UserError, match=r"pipeline failed \(.*No space left.*need msk_jax"):
        list(convert_with_beam(studies[:1], COHORT, manifest, (), tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["runner=Foo"], "Unexpected pipeline runner"),
        (["direct_num_workers=x"], "invalid int value"),
    ],
)
def test_options_that_beam_refuses(words, why, capfd):
    with pytest.raises(UserError, match=rf"does not take the options.*{why}.*name=value"):
        pipeline_options(words)
    assert "usage" not in capfd.readouterr().err


def test_options_reach_beam():
    options = pipeline_options(["--runner=DirectRunner", "direct_num_workers=3", "streaming"])
    found = options.get_all_options()
    assert (found["runner"], found["direct_num_workers"]) == ("DirectRunner", 3)
    assert found["streaming"] and pipeline_options([]).get_all_options()["runner"] == "FnApiRunner"
