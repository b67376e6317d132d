"""Which file a name in a table means, as another system or person writes it."""

import os
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from msk_jax.data.build.builder import build_cohort
from msk_jax.data.build.records import assign_series
from msk_jax.data.build.series_index import SeriesIndex
from msk_jax.data.cohort.draft import draft_rows
from msk_jax.data.cohort.manifest import ManifestRow, read_manifest
from msk_jax.data.privacy.pseudonyms import pseudonym
from msk_jax.data.regions.masks import find_masks
from msk_jax.data.regions.radiograph import RadiographRegion
from msk_jax.data.sources.names import PathError, Places, existing, is_litter, legible, tidy
from msk_jax.data.sources.scan import scan
from msk_jax.data.sources.source import opened
from msk_jax.errors import SeriesError, UserError
from tests.cohorts import cohort_of
from tests.data.ct_files import ramp, rewrite, write_ct

APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(150)
HANDS = cohort_of(
    name="hands",
    modality="CR/DX",
    classes=("normal", "arthritis"),
    levels=("image", "radiograph", "patient"),
    region=RadiographRegion(size=32),
)


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.arange(40 * 30, dtype=np.uint16).reshape(40, 30) * 50
    Image.fromarray(values).save(path, format="PNG")
    return path


def meant(folder: Path, path: str) -> Path:
    """The only file that a row with this path stands for."""
    index = SeriesIndex(scan(folder), "CR/DX")
    ((file,),) = (index.resolve(ManifestRow(2, "P", "whole", 0, 0, path=path))[1],)
    return file


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("Hände/Ångström.png", nfd("Hände/Ångström.png")),
        (nfd("Hände/Ångström.png"), "Hände/Ångström.png"),
        ("sub/H1.PNG", "sub/H1.png"),
        ("Sub/h1.png", "SUB/H1.png"),
        ("sub/H1.png", "sub\\H1.png"),
        ("sub/H1.png", ".//sub/./H1.png"),
        ("sub/H1.png", "\u202asub/H1.png"),
        ("sub /H1.png", "sub/H1.png"),
        ("a  b/H1.png", "a b/H1.png"),
        ("sp ace #1 50% ü/H&1;.png", "sp ace #1 50% ü/H&1;.png"),
        ("H„nde/H1.png", "Hände/H1.png"),  # unpacked by a program that took 850 for 1252
    ],
)
def test_the_obvious_equal(tmp_path, name, wanted):
    file = picture(tmp_path / name)
    picture(tmp_path / "other" / "H2.png")
    assert meant(tmp_path, wanted) == file


def test_a_name_that_is_no_utf_8(tmp_path):
    file = picture(tmp_path / os.fsdecode("Hände".encode("cp1252")) / "H1.png")
    assert meant(tmp_path, "Hände/H1.png") == file
    (row,) = draft_rows(scan(tmp_path), HANDS)
    row["path"].encode()
    assert meant(tmp_path, row["path"]) == file
    assert legible("Hände") == "Hände"


def test_a_name_as_it_is_goes_before_its_equals(tmp_path):
    files = [picture(tmp_path / name) for name in ("H1.png", "h1.PNG", "H1.PNG")]
    assert [meant(tmp_path, file.name) for file in files] == files
    with pytest.raises(PathError, match="3 files or folders have this path but for") as refused:
        meant(tmp_path, "h1.png")
    assert refused.value.hint == "'h1.png' may be 'H1.PNG' or 'H1.png' or 'h1.PNG'"
    assert "H1" not in str(refused.value), "names of files may name patients"


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [
        ("ct/H10.pgn", "ct/H10.png"),
        ("H7.png", "ct/deep/H7.png"),
        ("ct/deep", None),
        ("x/y/z", ""),
        ("../ct/H10.png", "ct/H10.png"),
    ],
)
def test_what_is_nowhere_is_told_beside_the_nearest(wanted, nearest):
    places = Places(["ct/H10.png", "ct/deep/H7.png", "ct/deep/H8.png"])
    if nearest is None:
        assert places.find(wanted) == wanted, "a folder"
        return
    with pytest.raises(SeriesError, match="There is no image at this path") as refused:
        places.find(wanted)
    ending = f"; the nearest is {nearest!r}" if nearest else ""
    assert refused.value.hint == f"there is no {wanted!r}{ending}"


def test_a_code_page_goes_before_capitals():
    stored = "Hände".encode("cp1252").decode("cp437")
    places = Places([f"{stored}/H1.png", f"{stored}/h1.png"])
    assert places.find("Hände/h1.png") == f"{stored}/h1.png"


def test_a_series_by_its_folder(tmp_path):
    files = write_ct(tmp_path / nfd("Müller") / "CT", ramp())
    found = scan(tmp_path)
    row = ManifestRow(2, "P", "left", 0, 0, path="müller\\ct")
    assert SeriesIndex(found, "CT").resolve(row)[1] == tuple(files)


@pytest.mark.parametrize(
    ("folder", "encoding"),
    [
        ("Hände", "cp850"),
        ("Hände", "cp437"),
        ("Hände", "cp1252"),
        ("手の写真", "cp932"),
        ("予定表", "cp932"),  # its last letter ends in a backslash
        ("手部", "gbk"),
        ("손", "cp949"),
        ("руки", "cp866"),
        ("Hände", "utf-8"),
    ],
)
def test_names_of_an_archive_of_another_system(tmp_path, folder, encoding):
    named = folder.encode(encoding)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        for k in (1, 2):
            out.write(picture(tmp_path / "x" / f"{k}.png"), f"{'X' * len(named)}/H{k}.png")
    content = (tmp_path / "a.zip").read_bytes().replace(b"X" * len(named), named)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.zip").write_bytes(content)
    with opened(tmp_path / "in") as source:
        found = scan(source.folder, files=source.files, unpacked=source.unpacked)
        assert len(found.pictures) == 2 and not found.skipped
        for spelled in (f"a.zip/{folder}/H2.png", f"A.ZIP\\{nfd(folder)}\\h2.PNG"):
            row = ManifestRow(2, "P", "whole", 0, 0, path=spelled)
            (file,) = SeriesIndex(found, "CR/DX").resolve(row)[1]
            assert file.name == "H2.png"
        for row in draft_rows(found, HANDS):  # and as the draft writes it
            SeriesIndex(found, "CR/DX").resolve(ManifestRow(2, "P", "whole", 0, 0, **row))


def test_an_archive_with_backslashes_and_a_name_that_is_too_long(tmp_path):
    file = picture(tmp_path / "x.png")
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in" / "a.zip", "w") as out:
        out.writestr("sub\\", b"")
        out.write(file, "sub\\H1.png")
        out.write(file, f"{'ä' * 200}.png")
    with opened(tmp_path / "in") as source:
        found = scan(source.folder, unpacked=source.unpacked)
        (kept,) = found.pictures
        assert found.place(kept) == tmp_path / "in" / "a.zip" / "sub" / "H1.png"
        assert [reason for _, reason in found.skipped] == ["its name is too long"]


def test_what_systems_leave_is_no_picture(tmp_path):
    file = picture(tmp_path / "in" / "H1.png")
    for name in ("._H1.png", "sub/._H2.png", "__MACOSX/H1.png", "@eaDir/H1.png", "._.DS_Store"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(APPLE_DOUBLE)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / "in" / name).write_bytes(b"\0\0\0\1Bud1")
    with zipfile.ZipFile(tmp_path / "in" / "mac.zip", "w") as out:
        out.write(file, "Hand/H3.png")
        out.writestr("__MACOSX/Hand/._H3.png", APPLE_DOUBLE)
    with opened(tmp_path / "in") as source:
        found = scan(source.folder, unpacked=source.unpacked)
        assert [found.place(p).relative_to(found.folder).as_posix() for p in found.pictures] == [
            "H1.png",
            "mac.zip/Hand/H3.png",
        ]
        assert not found.skipped
    (dicom,) = write_ct(tmp_path / "ct", ramp((1, 4, 4)), name="._{}")
    assert not is_litter(dicom), "DICOM files may have any name"


def test_one_picture_is_one_patients(tmp_path):
    picture(tmp_path / "in" / "H1.png")
    paths = {"A": "H1.png", "B": "h1.PNG"}
    (tmp_path / "m.csv").write_text(
        "patient_id,label,path\n" + "".join(f"{k},normal,{p}\n" for k, p in paths.items())
    )
    manifest = read_manifest(tmp_path / "m.csv", HANDS)
    studies, rejected = assign_series(
        manifest, scan(tmp_path / "in"), "CR/DX", {"A": "1", "B": "2"}
    )
    assert not studies
    assert all("more than one patient" in rejection.reason for rejection in rejected)


@pytest.mark.parametrize("path", ["..\\a", "a/../../b", "\\a", "C:\\a", "\u202ac:/a", "/a"])
def test_a_path_that_leaves_the_folder(tmp_path, path):
    (tmp_path / "m.csv").write_text(f"patient_id,label,path\nA,normal,{path}\n", encoding="utf-8")
    with pytest.raises(UserError, match="path must be relative to the DICOM folder"):
        read_manifest(tmp_path / "m.csv", HANDS)


def test_a_build_tells_names_on_the_screen_alone(tmp_path):
    for k in range(8):
        picture(tmp_path / "in" / f"Meier {k}.png")
    rows = [f"P{k},{HANDS.classes[k % 2]},Meier {k}.png" for k in range(8)]
    rows[5] = rows[5].replace(".png", ".jpg")
    (tmp_path / "m.csv").write_text("\n".join(["patient_id,label,path", *rows]))
    (tmp_path / "key").write_text("k" * 32)
    out = tmp_path / "out"
    built = build_cohort(HANDS, tmp_path / "in", tmp_path / "m.csv", out, tmp_path / "key", 3)
    assert built.notes == (
        "Of these, row 7: there is no 'Meier 5.jpg'; the nearest is 'Meier 5.png'.",
    )
    assert "There is no image at this path" in (out / "rejected.csv").read_text()
    assert not [f for f in out.rglob("*") if f.is_file() and b"Meier" in f.read_bytes()]


def test_an_end_of_a_series_is_missed(tmp_path):
    """Its slices have no gap; only the count of the header tells."""

    def notes(keep: slice, **tags) -> int:
        folder = tmp_path / f"{keep}{tags}"
        for k, file in enumerate(write_ct(folder, ramp((8, 4, 4)))):
            common = {"InstanceNumber": k + 1, "AcquisitionNumber": 1, "ImagesInAcquisition": 8}
            rewrite(file, **common | tags)
        for file in (
            sorted(folder.iterdir())[: keep.start or 0] + sorted(folder.iterdir())[keep.stop :]
        ):
            file.unlink()
        ((header),) = scan(folder).headers.values()
        return header.num_stated

    assert notes(slice(0, 8)) == 0
    assert notes(slice(0, 6)) == notes(slice(2, 8)) == 8
    assert notes(slice(0, 6), ImageType=["DERIVED", "SECONDARY"]) == 0
    assert notes(slice(0, 6), InstanceNumber=1) == 0, "several images of one number"
    assert notes(slice(0, 6), ImagesInAcquisition=5) == 0
    assert notes(slice(0, 6), ImagesInAcquisition=5, NumberOfSeriesRelatedInstances=8) == 8


def test_masks_of_patients_with_decomposed_names(tmp_path):
    key = b"k" * 32
    (tmp_path / "key").write_bytes(key)
    masks = tmp_path / "masks"
    masks.mkdir()
    for name in (nfd("Müller"), "B_left"):
        (masks / f"{name}.nii.gz").write_bytes(b"x")
        (masks / f"._{name}.nii.gz").write_bytes(APPLE_DOUBLE)
    (masks / "C.NII.GZ").write_bytes(b"x")
    found = find_masks(masks, tmp_path / "key", ("left", "right"))
    assert found[pseudonym("Müller", key), "right"].name == f"{nfd('Müller')}.nii.gz"
    assert found[pseudonym(nfd("Müller"), key), "right"].name == f"{nfd('Müller')}.nii.gz"
    assert found[pseudonym("B", key), "left"].name == "B_left.nii.gz"
    assert found[pseudonym("C", key), "left"].name == "C.NII.GZ"
    assert not any(file.name.startswith("._") for file in found.values())


def test_the_folder_of_a_command(tmp_path):
    picture(tmp_path / nfd("Hände") / "H1.png")
    with opened(tmp_path / "hände") as source:
        assert len(scan(source.folder).pictures) == 1
    assert existing(tmp_path / "nowhere" / "x") == tmp_path / "nowhere" / "x"
    assert existing(tmp_path) == tmp_path


def test_tidy():
    assert tidy(" a \\\\./b/\u200b.\u200b/c\u00a0 d ") == "a/b/c d"
