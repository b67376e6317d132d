"""Headers of ordinary files without pydicom's walk: element by element what pydicom gives."""

import struct
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from msk_jax.data.dicom import plain_header
from msk_jax.data.dicom.headers import quiet
from tests.data.ct_files import ramp, write_ct

OPTIONS = (
    {},
    {"defer_size": 256},
    {"stop_before_pixels": True},
    {"stop_before_pixels": True, "specific_tags": {0x00080060, 0x00200037, 0x00081140}},
)


def plain(path, **options):
    with Path(path).open("rb") as file:
        meta = plain_header.read_meta(file)
        return meta and plain_header.read_plain(file, meta, **options)


def content(dataset):
    """All that reading gives, raw values as they are."""
    dataset.get("SpecificCharacterSet")  # pydicom has asked for it
    elements = stored(dataset)
    meta = [dataset.file_meta[item.tag] for item in dataset.file_meta.elements()]
    about = (dataset.preamble, dataset.original_encoding, dataset.original_character_set)
    return elements, meta, about, str(dataset.filename), dataset.timestamp


def stored(dataset):
    """Elements as they lie in the file, those of sequences too."""
    return [
        item
        if item.is_raw
        else (
            item.tag,
            item.VR,
            item.is_undefined_length,
            [stored(inner) for inner in item.value] if item.VR == "SQ" else item.value,
        )
        for item in dataset.elements()
    ]


def check(path, **options):
    found = plain(path, **options)
    assert found is not None
    tags = [pydicom.tag.Tag(tag) for tag in options.get("specific_tags", ())]
    expected = pydicom.dcmread(path, **{**options, "specific_tags": tags or None})
    assert content(found) == content(expected)


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    """A file with sequences of stated and open length, other letters, private and long values."""
    (file,) = write_ct(tmp_path_factory.mktemp("rich"), ramp()[:1])
    data = pydicom.dcmread(file)
    data.SpecificCharacterSet, data.PatientName = "ISO_IR 192", "Müller^Änne"
    inner = Dataset()
    inner.StudyDescription, inner.ReferencedSOPInstanceUID = "ärztlich", "1.2.3"
    data.ReferencedImageSequence = Sequence([inner, Dataset()])
    data["ReferencedImageSequence"].is_undefined_length = True
    data.RequestAttributesSequence = Sequence([inner])
    data.private_block(0x0029, "msk", create=True).add_new(1, "OB", bytes(3 * plain_header.BLOCK))
    data.ImageComments = "x" * 300
    data.AccessionNumber = ""
    data.save_as(file)
    return file


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "rich"])
def test_as_pydicom_reads(name, options, rich):
    path = rich if name == "rich" else get_testdata_file(name)
    if name == "rtplan.dcm":  # implicit
        assert plain(path, **options) is None
    else:
        check(path, **options)


def outcome(read, path):
    """What reading gives, or how it fails; None: pydicom is asked."""
    try:
        found = read(path)
        return found and content(found)
    except Exception as error:
        return type(error), str(error)


@pytest.mark.filterwarnings("ignore")
def test_steps_aside_where_a_file_is_cut_or_changed(rich, tmp_path):
    """Never another content than pydicom's, and no other failure."""
    whole, rng, file = rich.read_bytes(), np.random.default_rng(0), tmp_path / "a.dcm"
    cut = [whole[:end] for end in rng.integers(200, len(whole), 60)]
    changed = [
        whole[:place] + bytes([rng.integers(256)]) + whole[place + 1 :]
        for place in rng.integers(132, 2000, 120)
    ]
    read = 0
    for data in cut + changed:
        file.write_bytes(data)
        found = outcome(plain, file)
        assert found in (None, outcome(pydicom.dcmread, file))
        read += found is not None
    assert 60 < read < 150


def test_a_length_beyond_the_file_takes_no_memory(rich, tmp_path):
    file = tmp_path / "c.dcm"
    file.write_bytes(rich.read_bytes() + struct.pack("<HH2sHI", 0x7FFF, 0x10, b"OB", 0, 2**31 - 2))
    tracemalloc.start()
    assert plain(file) is None
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "image_dfl.dcm", "MR_small_bigendian.dcm"])
def test_other_syntaxes_are_left_to_pydicom(name):
    assert plain(get_testdata_file(name)) is None


def test_tags_that_fall_are_left_to_pydicom(rich, tmp_path):
    data = rich.read_bytes()
    syntax = ExplicitVRLittleEndian.encode()
    assert plain(rich) is not None and syntax in data
    file = tmp_path / "b.dcm"
    file.write_bytes(data + b"\x08\x00\x60\x00CS\x06\x00CT    ")
    assert plain(file) is None
    other = data.replace(syntax + b"\0", ImplicitVRLittleEndian.encode() + b"\0\0\0", 1)
    file.write_bytes(other)
    assert plain(file) is None


SHORT, LONG = (b"CS", b"DS", b"US", b"SS", b"AT", b"UI", b"PN", b"FD"), (b"OB", b"UN", b"UT", b"OW")
END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
values = st.binary(max_size=12) | st.sampled_from([b"ISO_IR 192", b"x" * 5000, b"1\\2 "])


def written(tag, kind, value, open_ended=False, lie=0):
    """An element; `lie` is added to its length."""
    length = 0xFFFFFFFF if open_ended else len(value) + lie
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + kind
    if kind in LONG or kind == b"SQ":
        return head + struct.pack("<HI", 0, length % 2**32) + value + (END if open_ended else b"")
    return head + struct.pack("<H", length % 2**16) + value


@st.composite
def data_sets(draw, depth=2):
    """Elements of all kinds whose tags mostly rise, with lengths that may be wrong."""
    tags = st.sampled_from(
        [
            0x00080000,
            0x00080005,
            0x00080060,
            0x00081140,
            0x00090010,
            0x00091001,
            0x00100010,
            0x00280010,
            0x00281050,
            0x00400275,
            0x7FE00008,
            0x7FE00010,
            0xFFFCFFFC,
            0xFFFEE00D,
        ]
    )
    rising = draw(st.lists(tags, unique=True, max_size=7).map(sorted))
    if draw(st.integers(0, 9)) == 0:
        rising = rising[::-1]
    content = b""
    for tag in rising:
        kind = draw(st.sampled_from((*SHORT, *LONG, b"SQ", b"SQ", b"ZZ")))
        lie = draw(st.sampled_from([0] * 30 + [1, -1, 2, 60000]))
        if kind == b"SQ" and depth:
            items = b""
            for _ in range(draw(st.integers(0, 2))):
                inner, is_open = draw(data_sets(depth - 1)), draw(st.booleans())
                length = 0xFFFFFFFF if is_open else len(inner)
                close = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) if is_open else b""
                items += struct.pack("<HHI", 0xFFFE, 0xE000, length) + inner + close
            content += written(tag, kind, items, draw(st.booleans()), lie)
        else:
            content += written(tag, kind, draw(values), draw(st.integers(0, 40)) == 0, lie)
    return content


OPEN_ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 10) + struct.pack("<HHIH", 8, 0x60, 2, 0x5443)


@settings(max_examples=150, deadline=None, derandomize=True)
@example(written(0x00091001, b"UN", OPEN_ITEM, open_ended=True), b"")
@example(written(0x00091001, b"OB", OPEN_ITEM, open_ended=True), b"")
@given(data_sets(), st.sampled_from([b"", b"", b"", b"\0", bytes(20)]))
@quiet
def test_generated_data_sets_are_read_as_pydicom_reads_them_or_left_to_it(content, tail):
    meta = written(0x00020010, b"UI", ExplicitVRLittleEndian.encode() + b"\0")
    meta = written(0x00020000, b"UL", struct.pack("<I", len(meta))) + meta
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "a.dcm")
        file.write_bytes(bytes(128) + b"DICM" + meta + content + tail)
        for options in ({}, {"defer_size": 100, "stop_before_pixels": True}):
            result = outcome(lambda path, options=options: plain(path, **options), file)
            theirs = outcome(lambda path, options=options: pydicom.dcmread(path, **options), file)
            assert result in (None, theirs)
