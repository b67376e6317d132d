"""Where images come from: archives and media directories that may be hostile, pictures, NIfTI."""

import gzip
import os
import shutil
import stat
import zipfile

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image
from pydicom.fileset import FileSet

from msk_jax.data.images.nifti import read_labels, read_nifti
from msk_jax.data.images.pictures import read_picture
from msk_jax.data.images.series import read_series
from msk_jax.data.sources.archives import unpack
from msk_jax.data.sources.scan import scan
from msk_jax.data.sources.source import opened
from msk_jax.errors import SeriesError, UserError
from tests.data.ct_files import ramp, rewrite, write_ct


def series_in(address) -> np.ndarray:
    """The voxels of the only series of a source."""
    with opened(address) as source:
        found = scan(source.folder, files=source.files, unpacked=source.unpacked)
        (files,) = found.series.values()
        return read_series(files).voxels


@pytest.fixture
def archive(tmp_path):
    """A zip archive of a series, within a folder of its own."""
    files = write_ct(tmp_path / "ct", ramp())
    path = tmp_path / "export" / "deep" / "CD 7"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for file in files:
            out.write(file, f"IMAGES/{file.name}")
    return path


def test_zip_by_itself_or_within_a_folder(archive, tmp_path):
    assert np.array_equal(series_in(archive), ramp())
    assert np.array_equal(series_in(tmp_path / "export"), ramp())
    with opened(tmp_path / "export") as source:
        found = scan(source.folder, unpacked=source.unpacked)
        assert {found.place(f).parent for f in found.series.popitem()[1]} == {archive / "IMAGES"}
    assert not source.unpacked.exists()


def test_a_zip_bomb_stops_early(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("a", bytes(80 * 2**20))
    with pytest.raises(UserError, match="unfolds to more than 100 times its size"):
        unpack(tmp_path / "bomb.zip", tmp_path / "out")
    assert sum(f.stat().st_size for f in (tmp_path / "out").rglob("*")) <= 66 * 2**20


def test_members_that_leave_the_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as out:
        for name in ("../up", "/etc/root", "a/../../up", "..\\up", "C:\\up", "good"):
            out.writestr(name, "x")
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        out.writestr(link, "/etc/passwd")
    passed = unpack(tmp_path / "evil.zip", tmp_path / "out" / "deep")
    assert [p.name for p in (tmp_path / "out" / "deep").rglob("*")] == ["good"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["evil.zip", "out"]
    assert [reason for _, reason in passed] == ["its path leaves the archive"] * 5 + ["a link"]


@pytest.mark.parametrize("cut", [40, 300, -30])
def test_damaged_archives(archive, tmp_path, cut):
    content = bytearray(archive.read_bytes())
    content[cut] ^= 0xFF
    archive.write_bytes(bytes(content))
    try:
        with opened(archive) as source:
            scan(source.folder, files=source.files, unpacked=source.unpacked)
    except UserError as error:
        assert str(archive.parent) in str(error)


def test_a_damaged_archive_costs_itself_alone(tmp_path):
    files = write_ct(tmp_path / "in" / "ct", ramp())
    with zipfile.ZipFile(tmp_path / "in" / "bad.zip", "w") as out:
        for file in write_ct(tmp_path / "other", ramp(), series="b"):
            out.write(file, file.name)
    content = bytearray((tmp_path / "in" / "bad.zip").read_bytes())
    content[-30 - len(content) // 3] ^= 0xFF  # a slice in the middle
    (tmp_path / "in" / "bad.zip").write_bytes(bytes(content))
    with opened(tmp_path / "in") as source:
        found = scan(source.folder, unpacked=source.unpacked)
    assert list(found.series.values()) == [tuple(files)]
    ((archive, reason),) = found.skipped
    assert archive.name == "bad.zip" and "cannot be unpacked" in reason


def test_links_out_of_the_folder_are_passed_over(tmp_path):
    files = write_ct(tmp_path / "elsewhere", ramp())
    (tmp_path / "in").mkdir()
    shutil.copy(files[0], tmp_path / "in" / "own")
    os.symlink(tmp_path / "in" / "own", tmp_path / "in" / "alias")
    os.symlink(files[1], tmp_path / "in" / "secret")
    os.symlink(tmp_path / "elsewhere", tmp_path / "in" / "folder")
    found = scan(tmp_path / "in")
    assert [f.name for f in found.series.popitem()[1]] == ["alias", "own"]
    assert [(p.name, why) for p, why in found.skipped] == [
        ("secret", "a link that leaves the folder")
    ]


@pytest.fixture
def disc(tmp_path):
    """A folder with a DICOMDIR, as pydicom writes one."""
    files, disc = FileSet(), tmp_path / "disc"
    for k, file in enumerate(write_ct(tmp_path / "ct", ramp())):
        rewrite(
            file,
            StudyDate="20200101",
            StudyTime="120000",
            StudyID="1",
            SeriesNumber=1,
            InstanceNumber=k,
        )
        files.add(file)
    files.write(disc)
    return disc


def test_dicomdir(disc):
    write_ct(disc / "more", ramp((6, 4, 4)), series="not listed")
    assert np.array_equal(series_in(disc / "DICOMDIR"), ramp())
    for file in sorted(disc.rglob("*"), reverse=True):  # a copy made by another system
        if file.name != "DICOMDIR":
            file.rename(file.with_name(file.name.lower() + (";1" if file.is_file() else "")))
    assert np.array_equal(series_in(disc / "DICOMDIR"), ramp())


def test_dicomdir_with_a_missing_file_or_a_way_out(disc):
    gone = sorted(p for p in disc.rglob("*") if p.is_file() and p.name != "DICOMDIR")[3]
    gone.unlink()
    with opened(disc / "DICOMDIR") as source:
        found = scan(source.folder, files=source.files)
    assert found.skipped == ((gone, "named but missing"),)
    os.symlink(disc.parent / "ct", disc / "LINK")
    directory = pydicom.dcmread(disc / "DICOMDIR")
    directory.DirectoryRecordSequence[-1].ReferencedFileID = ["LINK", "000.dcm"]
    directory.save_as(disc / "DICOMDIR")
    with opened(disc / "DICOMDIR") as source:
        skipped = scan(source.folder, files=source.files).skipped
    assert (disc / "LINK" / "000.dcm", "a link that leaves the folder") in skipped
    directory.DirectoryRecordSequence[-1].ReferencedFileID = ["..", "secret"]
    directory.save_as(disc / "DICOMDIR")
    with pytest.raises(UserError, match="files outside its folder"), opened(disc / "DICOMDIR"):
        pass
    (disc / "DICOMDIR").write_text("not one")
    with pytest.raises(UserError, match="no readable DICOMDIR"), opened(disc / "DICOMDIR"):
        pass


def test_nowhere(tmp_path):
    with pytest.raises(UserError, match="There is no folder"), opened(tmp_path / "none"):
        pass


@pytest.mark.parametrize(("name", "mode"), [("a.png", "L"), ("a.tif", "I;16"), ("a.tiff", "F")])
def test_pictures_keep_their_grey_values(tmp_path, name, mode):
    kind = {"L": np.uint8, "I;16": np.uint16, "F": np.float32}[mode]
    values = (np.arange(12).reshape(3, 4) * (5000 if mode == "I;16" else 20)).astype(kind)
    Image.fromarray(values).save(tmp_path / name)
    found = read_picture(tmp_path / name)
    assert found.pixels.tolist() == values.tolist()
    assert found.spacing.mm is None and found.spacing.plane == "unknown"
    assert read_picture(tmp_path / name, spacing_mm=0.2).spacing.mm == (0.2, 0.2)


def test_resolution_colour_and_turn_of_a_picture(tmp_path):
    colours = np.zeros((2, 3, 3), np.uint8)
    colours[0, 0] = 255, 0, 0
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to look at it
    Image.fromarray(colours).save(tmp_path / "a.png", dpi=(254, 254), exif=exif)
    found = read_picture(tmp_path / "a.png")
    assert found.pixels.tolist() == [[0, 76], [0, 0], [0, 0]]  # 0.299 * 255
    assert found.spacing.mm == pytest.approx((0.1, 0.1), rel=1e-3)
    assert found.spacing.plane == "film"
    Image.fromarray(colours).save(tmp_path / "a.jpg", dpi=(72, 72))
    assert read_picture(tmp_path / "a.jpg").spacing.mm is None


def test_pictures_that_are_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(SeriesError, match="cannot be read as PNG"):
        read_picture(tmp_path / "a.png")
    Image.fromarray(np.zeros((9000, 9000), np.uint8)).save(tmp_path / "huge.png")
    with pytest.raises(SeriesError, match="promises 9000 x 9000 pixels"):
        read_picture(tmp_path / "huge.png")
    page = Image.fromarray(np.zeros((2, 2), np.uint8))
    page.save(tmp_path / "two.tif", save_all=True, append_images=[page])
    with pytest.raises(SeriesError, match="several pages"):
        read_picture(tmp_path / "two.tif")


def write_nifti(path, affine, shape=(4, 5, 6)):
    data = np.arange(np.prod(shape)).reshape(shape).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(data, affine), path)
    return data


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_nifti_lies_where_nibabel_says(tmp_path, ending):
    c, s = np.cos(0.3), np.sin(0.3)
    turn = np.array([[-c, 0, s], [0, 1, 0], [s, 0, c]])  # x to the left, turned about y
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * [0.5, 0.7, 3], (10, 20, -30)
    path = tmp_path / f"a{ending}"
    data = write_nifti(path, affine)
    volume = read_nifti(path, units="HU", modality="CT")
    assert np.array_equal(volume.voxels, data.transpose(2, 1, 0))
    for i, j, k in ((0, 0, 0), (3, 4, 5), (1, 2, 0)):
        ras = affine @ (i, j, k, 1)  # nibabel counts x to the right, y to the front
        assert volume.patient_mm((k, j, i)) == pytest.approx((-ras[0], -ras[1], ras[2]), abs=1e-4)


def test_nifti_that_is_refused(tmp_path):
    path = tmp_path / "a.nii"
    write_nifti(path, np.eye(4))
    whole = bytearray(path.read_bytes())
    whole[252:256] = bytes(4)
    path.write_bytes(bytes(whole))
    with pytest.raises(SeriesError, match="no affine"):
        read_nifti(path)
    path.write_bytes(bytes(whole[:200]))
    with pytest.raises(SeriesError, match="truncated"):
        read_nifti(path)
    whole[42:48] = b"\xff\x7f" * 3
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(bytes(whole)))
    with pytest.raises(SeriesError, match="too much for a file of its size"):
        read_nifti(tmp_path / "b.nii.gz")
    path.write_text("ObjectType = Image\nNDims = 3\nElementDataFile = /etc/passwd\n" * 9)
    with pytest.raises(SeriesError, match="is no NIfTI file"):
        read_nifti(path)
    write_nifti(path, np.eye(4), (2, 2, 2, 3))
    with pytest.raises(SeriesError, match="no volume of 3 dimensions"):
        read_nifti(path)


def test_a_mask_may_unfold_as_far_as_deflate_goes(tmp_path, monkeypatch):
    monkeypatch.setattr("msk_jax.data.dicom.headers.MIN_ROOM_BYTES", 1000)
    path = tmp_path / "mask.nii.gz"
    labels = np.zeros((60, 60, 60), np.uint8)
    labels[3, 4, 5] = 1
    sitk.WriteImage(sitk.GetImageFromArray(labels), path, True)
    assert labels.size > 200 * path.stat().st_size
    assert np.array_equal(read_nifti(path).voxels, labels)
    assert np.array_equal(sitk.GetArrayFromImage(read_labels(path)), labels)
    # As float32 it takes more.
    monkeypatch.setattr("msk_jax.data.images.nifti.MAX_BYTES", labels.size)
    for read in (read_nifti, read_labels):
        with pytest.raises(SeriesError, match="too much for a file of its size"):
            read(path)
    monkeypatch.undo()
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[42:48] = b"\0\2" * 3  # 512 x 512 x 512, which no such file can hold
    path.write_bytes(gzip.compress(bytes(content[:1000])))
    with pytest.raises(SeriesError, match="promises 512 MB"):
        read_labels(path)
