"""Files of real scanners: each series is read, or refused with a reason. Nothing crashes."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pydicom.data
import pytest
import SimpleITK as sitk

from msk_jax.data.images.series import read_series
from msk_jax.data.images.volume import read_volume
from msk_jax.data.regions.sacroiliac import SacroiliacRegion
from msk_jax.data.sources.scan import scan
from msk_jax.errors import SeriesError, UserError

SHARED = Path(
    os.environ.get("MSK_JAX_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data")
)


def outcomes(folder: Path, modality: str | None = None) -> dict[str, str]:
    """What became of every series, by its description or identifier: 'read' or the reason."""
    found = scan(folder)
    results = {}
    for uid, files in found.series.items():
        try:
            series = read_series(files, modality or found.headers[uid].modality)
            assert series.voxels.dtype == np.int16 and series.voxels.min() >= -1024
            results[uid] = "read"
            SacroiliacRegion().extract(series)
            results[uid] = "extracted"
        except SeriesError as error:
            before = results.get(uid)
            results[uid] = f"{before}, then: {error}" if before else str(error)
    return results


def test_files_of_pydicom_together():
    folder = Path(pydicom.data.__file__).parent
    found, results = scan(folder), outcomes(folder)
    assert set(results) == set(found.series) and len(results) > 20
    # Five 2.5 mm slices of a chest are the only volume among them.
    read = {uid: text for uid, text in results.items() if text.startswith("read")}
    assert [len(found.series[uid]) for uid in read] == [5]
    assert "is this a pelvic CT?" in next(iter(read.values()))
    assert all(text.endswith((".", '"')) for text in results.values())


def test_files_of_pydicom_one_by_one(tmp_path):
    files = [p for p in Path(pydicom.data.__file__).parent.rglob("*") if p.is_file()]
    assert len(files) > 150
    images = 0
    for file in files:
        shutil.copy(file, tmp_path / "one")
        try:
            images += len(outcomes(tmp_path, "CT"))
        except UserError as error:
            assert "no DICOM image" in str(error)
    assert images > 100


def test_no_mark_of_damage_crashes(tmp_path):
    """A CT slice cut at many places, and with bytes knocked over."""
    whole = Path(pydicom.data.get_testdata_file("CT_small.dcm")).read_bytes()
    rng = np.random.default_rng(0)
    broken = tmp_path / "broken"
    variants = [whole[:cut] for cut in range(0, len(whole), 601)]
    for _ in range(40):
        damaged = bytearray(whole)
        for place in rng.integers(132, 3000, 12):
            damaged[place] = rng.integers(256)
        variants.append(bytes(damaged))
    for content in variants:
        broken.write_bytes(content)
        try:
            outcomes(tmp_path, "CT")
        except UserError as error:
            assert "no DICOM image" in str(error)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ge_gantry_tilt", r"tilted by 18\.5 degrees"),
        ("philips_5mm", r"read, then: The slices are 5\.00 mm apart"),
        ("philips_scout", "only localizers"),
        ("philips_exam_summary", "localizers among the slices"),
    ],
)
def test_head_ct(name, reason):
    folder = SHARED / "ct_head" / name
    if not folder.is_dir():
        pytest.skip(f"real DICOM files are not at {SHARED} (set MSK_JAX_TEST_DATA)")
    (text,) = outcomes(folder).values()
    assert re.search(reason, text)


def test_every_other_folder():
    known = {"ct_head"}
    folders = [p for p in SHARED.glob("*") if p.is_dir()] if SHARED.is_dir() else []
    others = [p for p in folders if p.name not in known]
    if not others:
        pytest.skip(f"no other collections at {SHARED} (set MSK_JAX_TEST_DATA)")
    for folder in others:
        try:
            assert all(outcomes(folder, "CT").values())
        except UserError as error:
            assert "no DICOM image" in str(error)


def same_as_simpleitk(files, volume) -> None:
    """Pixels to the bit, padding apart, and geometry; SimpleITK reads with GDCM, in this order."""
    image = sitk.ReadImage([str(file) for file in files])
    theirs = sitk.GetArrayFromImage(image)
    differ = volume.voxels != theirs
    if differ.any():  # where the scanner marked padding, and nowhere else
        assert set(volume.voxels[differ]) == {-1024} and len(set(theirs[differ])) == 1
        assert theirs[differ][0] < -1024
    columns = 3 if len(files) > 1 else 2  # SimpleITK gives a lone slice another thickness
    assert volume.spacing_mm[:columns] == pytest.approx(image.GetSpacing()[:columns], abs=1e-3)
    assert volume.origin_mm == pytest.approx(image.GetOrigin(), abs=1e-3)
    assert volume.direction == pytest.approx(image.GetDirection(), abs=1e-6)


def test_volume_of_a_real_scanner_equals_simpleitk():
    folder = SHARED / "ct_head" / "philips_5mm"
    if not folder.is_dir():
        pytest.skip(f"real DICOM files are not at {SHARED} (set MSK_JAX_TEST_DATA)")
    ((uid, files),) = scan(folder).series.items()
    ordered = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid)
    assert len(files) == len(ordered) == 28
    same_as_simpleitk(ordered, read_volume(files))


def test_volumes_of_pydicom_equal_simpleitk():
    """Every series that is read whole, and every single slice, of all files with an affine."""
    found, whole, single = scan(Path(pydicom.data.__file__).parent), 0, 0
    for files in found.series.values():
        for part in {files, *((file,) for file in files)}:
            try:
                volume = read_volume(part)
            except SeriesError:
                continue
            if len(part) > 1:
                ordered = sorted(part, key=lambda f: -pydicom.dcmread(f).ImagePositionPatient[2])
                ordered = ordered if volume.direction[8] < 0 else ordered[::-1]
                same_as_simpleitk(ordered, volume)
                whole += 1
            elif len(volume.voxels) == 1:
                same_as_simpleitk(part, volume)
                single += 1
    assert whole >= 1 and single > 30
