"""Which spellings of an identifier the audit finds, and which words of the product it passes by."""

import base64
import bz2
import io
import json
import lzma
import zipfile

import pytest
from PIL import Image, PngImagePlugin
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from msk_jax.config import to_json
from msk_jax.data.privacy.audit import audit, identifiers
from msk_jax.data.privacy.vocabulary import product_vocabulary
from msk_jax.experiments import osteoporosis, sacroiliitis


@pytest.fixture
def found(tmp_path):
    """`found(names, content)`: keywords that the audit finds in a file of this content."""

    def look(names, content, file="a.txt"):
        folder = tmp_path / "data"
        folder.mkdir(exist_ok=True)
        names = {names: "PatientName"} if isinstance(names, str) else names
        raw = content if isinstance(content, bytes) else content.encode()
        (folder / file).write_bytes(raw)
        result = audit(folder, names)
        (folder / file).unlink()
        return {hit.keyword for hit in result.hits}

    return look


# Of these, the product writes knee, young, max, small, phantom and spine, and not the others.
SEEN = [
    ("Stone^Rose", "the patient Stone was read"),
    ("Stone^Rose", "ROSE STONE"),
    ("Stone^Rose", "a Rose is a patient"),
    ("Stone^Rose", "img_rose_stone.png"),
    ("Knee^Anna", '{"knee": 3, "given": "Anna"}'),
    ("Knee^Anna", "Anna was read"),
    ("Knee^Anna", "annaKnee, knee-anna"),
    ("Young^Max", "Max Young"),
    ("Young^Max", "young, max"),
    ("Young^Max", "YOUNG^MAX"),
    ("Young^Max", "/max_young.png"),
    ("Young^Max", "MaxYoung"),
    ("Young^Max", '{"family": "Young", "given": "M."}'),
    ("Young^Max", "<td>Young</td><td>Max</td>"),
    ("Young^Max", 'row: "Young","Max"'),
    ("Small^John", "small: John; 12"),
    ("Small^John^Jacob", "seen by Small Jacob today"),
    ("Small John", "john small"),
    ("Small", '{"name": "Small"}'),
    ("Small", "id,name\n1,Small,2\n"),
    ("Phantom^Spine^0003", "of Phantom^Spine^0003,"),
    ("Phantom^Spine^0003", "spine_0003 was read"),
    ("Doe^Jane", "Mrs Doe was read"),
    ("Doe^Jane", '["Doe"]'),
    ("Tring^Olga", "Mrs Tring was read"),
    ("Tring^Olga", "TRING_1.png"),
    ("Müller-Lüdenscheid^Jörg", "LÜDENSCHEID"),
    ("Müller-Lüdenscheid^Jörg", "Lu\u0308denscheid"),
    ("Mu\u0308ller^Jo\u0308rg", "Herr Müller"),
    ("Müller^Jörg", "mueller.png"),
    ("Müller^Jörg", "MULLER"),
    ("Müller^Jörg", "M\\u00fcller"),
    ("Müller^Jörg", "M&#252;ller, M%C3%BCller"),
    ("Müller^Jörg", "Müller".encode("latin-1")),
    ("Müller^Jörg", "Müller".encode("utf-16-le")),
    ("Škodová^Eva", "Škodová".encode("iso8859_2")),
    ("Großmann^Ute", "GROSSMANN"),
    ("Yamada^Tarou=山田^太郎=やまだ^たろう", "山田"),
    ("Yamada^Tarou=山田^太郎=やまだ^たろう", "太郎さん"),
    ("Yamada^Tarou=山田^太郎=やまだ^たろう", "山田太郎".encode("shift_jis")),
    ("Yamada^Tarou=山田^太郎=やまだ^たろう", "YAMADA"),
    ("Ivanov^Ivan=Иванов^Иван", "ИВАНОВ".encode("cp1251")),
    ("Li^Wei", "Wei Li"),
    ("Li^Wei", '{"name": "Li"}'),
]
PASSED = [
    ("Stone^Rose", b"\0\1 Rose \xf3\2"),
    ("Stone^Rose", "milestones rosette prose"),
    ("Knee^Anna", '{"region": "knee", "kind": "KneeRegion"} annanas'),
    ("Young^Max", '{"young": 40, "max": 60} max_epochs younger'),
    ("Small^John", '{"small": {"model": 1}} a small one'),
    ("Small", '{"small": {"model": "small"}} a small one'),
    ("Phantom^Spine^0003", '"phantom": {"spine": 0.00031} 20003 phantom of a spine'),
    ("Phantom^Spine^00012", "0.000123 and 00012"),
    ("Doe^Jane", "what it does"),
    ("Tring^Olga", "Strings, sTring, Volga"),
    ("Li^Wei", "Lime weight"),
]


@pytest.mark.parametrize(("name", "content"), SEEN)
def test_a_name_is_found(found, name, content):
    assert found(name, content) == {"PatientName"}


@pytest.mark.parametrize(("name", "content"), PASSED)
def test_words_that_name_nobody_are_passed_by(found, name, content):
    assert not found(name, content)


def test_the_words_of_the_examples_are_what_they_are_said_to_be():
    vocabulary = product_vocabulary()
    for word in ("knee", "young", "max", "small", "phantom", "spine"):
        assert vocabulary.has_word(word) and vocabulary.has_word(word.upper()), word
    for word in ("Stone", "Rose", "Anna", "John", "Müller", "Jane"):
        assert not vocabulary.has_word(word), f"{word}: give the examples another name"
    for word in ("Doe", "Tring"):
        assert vocabulary.has(word) and not vocabulary.has_word(word), word
    assert vocabulary.has_value("small") and not vocabulary.has_value("Small")


BORN = {"19800203": "PatientBirthDate", "20210304": "StudyDate"}


@pytest.mark.parametrize(
    ("content", "keywords"),
    [
        ("born 19800203", {"PatientBirthDate"}),
        ("1980-02-03", {"PatientBirthDate"}),
        ("03.02.1980", {"PatientBirthDate"}),
        ("3.2.1980,", {"PatientBirthDate"}),
        ("2/3/1980", {"PatientBirthDate"}),
        ("03/02/1980", {"PatientBirthDate"}),
        ("1980/02/03", {"PatientBirthDate"}),
        ("19800203101112.5", {"PatientBirthDate"}),
        ("20210304", {"StudyDate"}),
        ("written 2021-03-04", set()),
        ("0.1980020312 1.2.19800203.5 319800203", set()),
        ("13.2.1980", set()),
    ],
)
def test_dates_are_found_as_they_are_written(found, content, keywords):
    assert found(BORN, content) == keywords


@pytest.mark.parametrize(
    ("identity", "content", "is_found"),
    [
        ("12", '{"epochs": 12, "x": [12, 0.12]} 12,12\n"12 mm"', False),
        ("12", '{"patient": "12"}', True),
        ("12345", "0.12345 123456 9.12345e-3 12345.5", False),
        ("12345", "12345.dcm", True),
        ("12345", "PAT12345", True),
        ("12345", ",12345\n", True),
        ("1234567890", "991234567890", True),
        ("KLINIK-1", "klinik-1", True),
        ("KLINIK-1", "XKLINIK-1", True),
        ("small", '{"small": 1}', False),
    ],
)
def test_identities(found, identity, content, is_found):
    assert found({identity: "PatientID"}, content) == ({"PatientID"} if is_found else set())


def test_what_cannot_be_told_from_the_product_is_counted(tmp_path):
    result = audit(tmp_path, {"knee": "PatientID", "Stone^Rose": "PatientName"})
    assert (result.num_identifiers, result.num_common) == (1, 1)


def test_settings_and_pages_of_the_product_name_no_phantom(found):
    names = {
        f"Phantom^{word}^0003": "PatientName" for word in ("Sacroiliac", "Spine", "Chest", "Knee")
    }
    settings = [to_json(experiment.experiment) for experiment in (sacroiliitis, osteoporosis)]
    assert not found(names, json.dumps(settings))
    assert found(names, json.dumps(settings) + "chest phantom 0003") == {"PatientName"}


def png(text: str, kind=None) -> bytes:
    info, stream = PngImagePlugin.PngInfo(), io.BytesIO()
    if kind == "international":
        info.add_itxt("Comment", text, zip=True)
    else:
        info.add_text("Comment", text, zip=kind == "deflated")
    Image.new("L", (3, 3)).save(stream, "png", pnginfo=info)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["plain", "deflated", "international"])
@pytest.mark.parametrize("name", ["Stone^Rose", "Young^Max"])
def test_names_in_the_texts_of_pictures_also_within_pages(found, kind, name):
    words = "by " + " ".join(name.split("^")[::-1])
    assert found(name, png(words, kind), "a.png") == {"PatientName"}
    embedded = base64.b64encode(png(words, kind)).decode()
    page = f'<img src="data:image/png;base64,{embedded}">'
    assert found(name, page, "a.html") == {"PatientName"}
    assert not found("Stonewall^Rose-Marie", page, "a.html")


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
def test_names_in_what_is_packed(found, pack):
    assert found("Stone^Rose", pack(b"Stone was here"), "a.bin") == {"PatientName"}


def test_what_was_not_looked_into_is_listed_and_pictures_are_counted(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("Stone/b.png", png(""))
        archive.writestr("c.bz2", bz2.compress(b""))
    (tmp_path / "d.pdf").write_bytes(b"%PDF-1.7")
    (tmp_path / "e.gz").write_bytes(b"\x1f\x8bno archive")
    (tmp_path / "f.png").write_bytes(png(""))
    (tmp_path / "g.tfrecord-00000-of-00001").write_bytes(b"")
    result = audit(tmp_path, {"Stone^Rose": "PatientName"})
    assert [hit.file for hit in result.hits] == ["a.zip", "a.zip!Stone/b.png"]
    reasons = dict(result.unread)
    assert set(reasons) == {"a.zip!c.bz2", "d.pdf", "e.gz!"}
    assert "PDF" in reasons["d.pdf"] and "in an archive" in reasons["a.zip!c.bz2"]
    assert (result.num_pictures, result.num_shards) == (2, 1)


def test_a_file_that_cannot_be_read_is_listed(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("Stone")
    opened = type(tmp_path).open

    def refuse(path, *args):
        if path.name == "a":
            raise PermissionError(13, "Permission denied")
        return opened(path, *args)

    monkeypatch.setattr(type(tmp_path), "open", refuse)
    result = audit(tmp_path, {"Stone^Rose": "PatientName"})
    assert result.unread == (("a", "cannot be read (Permission denied)"),) and not result.hits


def test_identifiers_are_those_of_private_attributes_too(tmp_path):
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3.4"
    data.private_block(0x11, "MAKER", create=True).add_new(1, "PN", "Verborgen^Vera")
    data.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    names, _ = identifiers([tmp_path / "a.dcm"])
    assert names["Verborgen^Vera"] == "PersonName"
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_text("seen by Dr Verborgen")
    assert [hit.keyword for hit in audit(tmp_path / "out", names).hits] == ["PersonName"]
