"""The real DICOM files that pydicom ships, through `build` and `predict`: none of them is a pelvic
CT, so each is refused with its reason and nothing crashes."""

import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
import pydicom.data
import pytest

from msk_jax.data.sources.scan import scan
from tests.conftest import TINY
from tests.verbs.conftest import verb

# Where pydicom is installed; what it would have to download is never asked for.
FOREIGN = Path(pydicom.data.__file__).parent


@pytest.fixture(scope="module")
def found():
    result = scan(FOREIGN)
    assert len(result.series) > 30 and len(result.skipped) > 10
    return result


def _are_sentences(reasons: pd.Series) -> bool:
    return reasons.str.match(r"^.{30,}[.\")]$").all()


def test_predict_refuses_every_series(found, run, phantom_cohort, tmp_path, refused):
    out, key = tmp_path / "out", phantom_cohort / "pseudonym.key"
    error = refused("predict", "--workdir", run, "--dicom", FOREIGN, "--out", out, "--key", key)
    rejected = pd.read_csv(out / "rejected.csv")
    assert rejected["series"].is_unique and len(rejected) == len(found.series)
    assert _are_sentences(rejected["reason"]) and rejected["reason"].nunique() > 10
    assert f"None of the {len(rejected)} series could be predicted" in error
    assert [path.name for path in out.iterdir()] == ["rejected.csv"]


def _manifest(found) -> pd.DataFrame:
    """A row for every series, under its own PatientID as far as two sides go, and a row for every
    file that belongs to none."""
    rows, sides = [], Counter()
    for uid, header in found.headers.items():
        owner = header.patient_id if sides[header.patient_id] < 2 else ""
        sides[owner] += bool(owner)
        side = "right" if owner and sides[owner] == 2 else "left"
        rows.append({"patient_id": owner or uid, "side": side, "series_uid": uid})
    rows += [
        {"patient_id": f"FILE-{k}", "side": "left", "path": f"foreign/{path.relative_to(FOREIGN)}"}
        for k, (path, _) in enumerate(found.skipped)
    ]
    return pd.DataFrame(rows).assign(label="normal", patient_label="normal")


def test_build_refuses_every_study_and_keeps_the_good_ones(found, phantom_cohort, tmp_path, capsys):
    dicom, manifest = tmp_path / "dicom", tmp_path / "manifest.csv"
    for name, source in (("phantom", phantom_cohort / "dicom"), ("foreign", FOREIGN)):
        for file in filter(Path.is_file, source.rglob("*")):
            copy = dicom / name / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    own, foreign = pd.read_csv(phantom_cohort / "manifest.csv", dtype=str), _manifest(found)
    pd.concat([own, foreign]).to_csv(manifest, index=False)
    command = (
        "build",
        TINY,
        "--dicom",
        dicom,
        "--manifest",
        manifest,
        "--key",
        phantom_cohort / "pseudonym.key",
        "--data-dir",
    )
    verb(*command, tmp_path / "data")
    printed = capsys.readouterr()
    assert "Traceback" not in printed.out + printed.err
    assert "9 patients, 18 joints" in printed.out
    rejected = pd.read_csv(tmp_path / "data" / "rejected.csv")
    # The header is row 1, and the phantoms' rows come first.
    assert list(rejected["row"]) == [2 + len(own) + k for k in range(len(foreign))]
    assert _are_sentences(rejected["reason"]) and rejected["reason"].nunique() > 10
    # Without the phantoms nothing is left to build from, and nothing is built.
    labels = ["normal" if k % 2 else "sacroiliitis" for k in range(len(foreign))]
    foreign.drop(columns="patient_label").assign(label=labels).to_csv(manifest, index=False)
    verb(*command, tmp_path / "other", status=2)
    error = capsys.readouterr().err
    assert "Traceback" not in error and "Nothing usable is left of the cohort" in error
    assert f"{len(foreign)} manifest row(s) were rejected" in error
    assert not (tmp_path / "other").exists()
