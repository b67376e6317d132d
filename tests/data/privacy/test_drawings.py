"""Nothing is left beside the pixels of a de-identified copy, and the pixels are what they were."""

import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import (
    encapsulate,
    encapsulate_extended,
    generate_frames,
    get_frame,
    parse_basic_offsets,
)
from pydicom.sequence import Sequence
from pydicom.uid import (
    MPEG4HP41,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from msk_jax.data.images.volume import read_volume
from msk_jax.data.privacy.audit import audit
from msk_jax.data.privacy.deidentify import basic_profile, deidentify, deidentify_file
from msk_jax.errors import SeriesError
from tests.data.ct_files import ramp, write_ct

KEY = b"0123456789abcdef"
NAME = b"ZWEIFELHAFT^ANNA"
PYDICOM = Path(pydicom.__file__).parent / "data" / "test_files"
COMPRESSED = (
    "SC_rgb_small_odd_jpeg.dcm",
    "SC_jpeg_no_color_transform.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_jls_lossy_line.dcm",
    "MR_small_jp2klossless.dcm",
    "693_J2KI.dcm",
    "GDCMJ2K_TextGBR.dcm",
    "MR_small_RLE.dcm",
    "SC_rgb_rle_16bit_2frame.dcm",
)


@pytest.fixture(scope="module")
def rules():
    pytest.importorskip("dicomanonymizer", reason="dicom-anonymizer is not installed")
    return basic_profile()


@pytest.fixture
def written(tmp_path, rules):
    """`written(data)`: the data set of a de-identified copy, by way of files."""

    def go_round(data: Dataset) -> Dataset:
        data.save_as(tmp_path / "in.dcm", enforce_file_format=True)
        deidentify_file(tmp_path / "in.dcm", tmp_path / "out.dcm", KEY, rules, allow_burned_in=True)
        return pydicom.dcmread(tmp_path / "out.dcm")

    return go_round


def radiograph(words: np.ndarray, syntax=ExplicitVRLittleEndian, **tags) -> Dataset:
    """A file of unsigned words [frames, rows, columns] as they lie in it."""
    data = Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3.4"
    data.PatientID, data.PatientName, data.Modality = "Q001", NAME.decode(), "CR"
    frames, data.Rows, data.Columns = words.shape
    if frames > 1:
        data.NumberOfFrames = frames
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = 8 * words.dtype.itemsize
    data.BitsStored, data.HighBit = data.BitsAllocated, data.BitsAllocated - 1
    data.PixelRepresentation = 0
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    content = words.astype(words.dtype.newbyteorder(order)).tobytes()
    kind = "OB" if data.BitsAllocated == 8 else "OW"
    data.add_new("PixelData", kind, content + b"\0" * (len(content) % 2))
    return data


def overlay_in(data: Dataset, bit: int) -> Dataset:
    for element, kind, value in (
        (0x10, "US", data.Rows),
        (0x11, "US", data.Columns),
        (0x40, "CS", "G"),
        (0x50, "SS", [1, 1]),
        (0x100, "US", 16),
        (0x102, "US", bit),
    ):
        data.add_new(0x60000000 | element, kind, value)
    return data


def words_in(data: Dataset, kind) -> np.ndarray:
    order = ">" if data.file_meta.TransferSyntaxUID == ExplicitVRBigEndian else "<"
    return np.frombuffer(data.PixelData, np.dtype(kind).newbyteorder(order))


NATIVE = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize(
    ("kind", "stored", "high", "signed"),
    [
        ("u2", 12, 11, 0),
        ("u2", 12, 11, 1),
        ("u2", 12, 15, 0),
        ("u2", 10, 13, 1),
        ("u1", 6, 5, 0),
        ("u4", 20, 19, 1),
    ],
)
def test_bits_beside_the_pixel_are_cleared(written, syntax, kind, stored, high, signed):
    bits, shape = 8 * np.dtype(kind).itemsize, (3, 5, 7)
    words = np.random.default_rng(0).integers(0, 2**bits, shape).astype(kind)
    data = radiograph(words, syntax, BitsStored=stored, HighBit=high, PixelRepresentation=signed)
    copy = written(data)
    low = high + 1 - stored
    pixel = ((1 << stored) - 1) << low
    after = words_in(copy, kind)[: words.size].reshape(shape)
    assert copy.file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(after & pixel, words & pixel), "a pixel has changed"
    sign = (words >> high) & 1 if signed else np.zeros_like(words)
    above = ((1 << bits) - 1) & ~((1 << (high + 1)) - 1)
    assert np.array_equal(after & above, sign.astype(int) * above)
    assert not (after & ((1 << low) - 1)).any()
    if low == 0:
        assert np.array_equal(copy.pixel_array, data.pixel_array)


def test_words_with_nothing_beside_the_pixel_stay_byte_by_byte(written):
    """Also signed ones whose sign is not spread above them."""
    words = np.random.default_rng(0).integers(0, 2**12, (1, 4, 6)).astype("<u2")
    data = radiograph(words, BitsStored=12, HighBit=11, PixelRepresentation=1)
    assert written(data).PixelData == data.PixelData


def test_an_overlay_in_the_words_goes_with_its_header(written, tmp_path):
    drawn = np.eye(6, dtype="<u2")[None] << 12
    data = overlay_in(radiograph(drawn | 77, BitsStored=12, HighBit=11), 12)
    data.PixelPaddingValue = 77 | 1 << 12  # it would keep what is drawn
    copy = written(data)
    assert set(words_in(copy, "u2")) == {77}
    assert not [element.tag for element in copy if element.tag.group == 0x6000]


def test_the_mark_of_padding_stays(written, tmp_path):
    """CT of 12 bits whose padding is -2000 as 16 bits: our reader takes it for air, by its mark."""
    files = write_ct(tmp_path / "ct", ramp(), BitsStored=12, HighBit=11, PixelPaddingValue=0xF830)
    for file in files:
        data = pydicom.dcmread(file)
        words = np.frombuffer(data.PixelData, "<u2").copy()
        words[:3], words[3] = 0xF830, words[3] | 1 << 14
        data.PixelData = words.tobytes()
        data.save_as(file)
    rules = basic_profile()
    for file in files:
        deidentify_file(file, tmp_path / "out" / file.name, KEY, rules)
    after, before = read_volume((tmp_path / "out").iterdir()), read_volume(files)
    assert (before.voxels == -1024).sum() == 3 * len(files)
    assert np.array_equal(after.voxels, before.voxels)


def test_what_follows_the_pixels_is_cut_off(written):
    bits = np.packbits([1, 0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1], bitorder="little")[None, None]
    one_bit = radiograph(bits, Rows=3, Columns=3, BitsAllocated=1, BitsStored=1, HighBit=0)
    assert written(one_bit).PixelData == bytes([0b11101101, 0b00000001])
    for syntax in (ExplicitVRLittleEndian, ExplicitVRBigEndian):
        odd = radiograph(np.arange(15, dtype="u1").reshape(1, 3, 5), syntax)
        expected = odd.pixel_array
        odd.PixelData = odd.PixelData[:15] + NAME
        assert written(odd).PixelData == bytes([*range(15), 0])
        assert np.array_equal(written(odd).pixel_array, expected)
    swapped = radiograph(np.arange(15, dtype="u1").reshape(1, 3, 5), ExplicitVRBigEndian)
    content = np.frombuffer(bytes(range(15)) + b"Z", "u2").byteswap().tobytes()
    swapped["PixelData"].VR, swapped["PixelData"].value = "OW", content
    assert np.array_equal(written(swapped).pixel_array, swapped.pixel_array)
    assert b"Z" not in written(swapped).PixelData
    floats = radiograph(np.zeros((1, 2, 2), "u4"))
    del floats.PixelData
    floats.FloatPixelData = np.arange(4, dtype="<f4").tobytes() + NAME
    assert written(floats).FloatPixelData == floats.FloatPixelData[:16]


def test_a_file_has_nothing_before_around_or_behind_its_data_set(rules, tmp_path):
    data = radiograph(np.zeros((1, 2, 2), "u2"))
    data.file_meta.PrivateInformationCreatorUID = "1.2.3.99"
    data.file_meta.PrivateInformation = NAME
    data.file_meta.SourceApplicationEntityTitle = "ZWEIFEL"
    data.preamble = (b"II*\0" + NAME).ljust(128, b"\0")
    data.add_new(0x50003000, "OW", NAME)
    data.add_new(0x60020022, "LO", NAME.decode())
    data.add_new(0x60023000, "OW", NAME)
    icon = radiograph(np.frombuffer(NAME, "u1").reshape(1, 4, 4))
    film = Dataset()
    film.PixelData, film.Rows = NAME, 4
    film["PixelData"].VR = "OW"
    secret = Dataset()
    secret.EncryptedContent = NAME
    data.IconImageSequence, data.ReferencedImageBoxSequence = Sequence([icon]), Sequence([film])
    data.EncryptedAttributesSequence = Sequence([secret])
    data.EncapsulatedDocument = NAME
    data.add_new(0xFFFCFFFC, "OB", NAME)
    data.save_as(tmp_path / "in.dcm", enforce_file_format=True)
    content = (tmp_path / "in.dcm").read_bytes()
    assert content.count(b"ZWEIFEL") == 13
    deidentify_file(tmp_path / "in.dcm", tmp_path / "out.dcm", KEY, rules)
    content = (tmp_path / "out.dcm").read_bytes()
    assert content[:132] == bytes(128) + b"DICM" and b"ZWEIFEL" not in content
    assert "IconImageSequence" not in pydicom.dcmread(tmp_path / "out.dcm")


def commented(frame: bytes) -> bytes:
    """A frame that names somebody wherever it has room for it."""
    if frame[:2] == b"\xff\xd8":
        segments = b"".join(
            b"\xff" + marker + (len(NAME) + 2).to_bytes(2, "big") + NAME
            for marker in (b"\xfe", b"\xe1", b"\xef")
        )
        end = frame.rindex(b"\xff\xd9")
        return frame[:2] + segments + frame[2:end] + segments[:20] + b"\xff\xd9" + NAME
    if frame[4:8] == b"jP  ":
        place = frame.index(b"jp2c") - 4
        box = (len(NAME) + 8).to_bytes(4, "big") + b"xml " + NAME
        return frame[:place] + box + box.replace(b"xml ", b"uuid") + frame[place:]
    if frame[:2] == b"\xff\x4f":
        comment = b"\xff\x64" + (len(NAME) + 4).to_bytes(2, "big") + b"\0\1" + NAME
        place = frame.index(b"\xff\x90")
        length = int.from_bytes(frame[place + 6 : place + 10], "big")
        part = frame[place : place + 6] + (length + len(comment)).to_bytes(4, "big")
        part += frame[place + 10 : place + 12] + comment + frame[place + 12 :]
        return frame[:place] + comment + part + NAME
    count = int.from_bytes(frame[:4], "little")
    offsets = [int.from_bytes(frame[4 * k + 4 : 4 * k + 8], "little") for k in range(count)]
    header = frame[:4] + b"".join(
        (o + (16 if k else 0)).to_bytes(4, "little") for k, o in enumerate(offsets)
    )
    second = offsets[1] if count > 1 else len(frame)
    return (header + NAME).ljust(64, b"\0") + frame[64:second] + NAME + frame[second:] + NAME


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_frames_lose_their_comments_and_no_pixel(written, name, need):
    need("openjpeg", "libjpeg", "jpeg_ls")
    data = pydicom.dcmread(PYDICOM / name)
    count = int(data.get("NumberOfFrames", 1))
    before = data.pixel_array
    frames = [commented(f) for f in generate_frames(data.PixelData, number_of_frames=count)]
    data.PixelData = encapsulate(frames, fragments_per_frame=3)
    assert data.PixelData.count(b"ZWEIFEL") >= 2 * count
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.array_equal(data.pixel_array, before), "no decoder minds them"
        copy = written(data)
        assert b"ZWEIFEL" not in copy.PixelData
        assert np.array_equal(copy.pixel_array, before)
        assert copy.file_meta.TransferSyntaxUID == data.file_meta.TransferSyntaxUID


def three_frames(syntax) -> Dataset:
    rng = np.random.default_rng(0)
    data = radiograph(rng.integers(0, 2**12, (3, 70, 66)).astype("u2"), BitsStored=12, HighBit=11)
    data.compress(syntax)
    return data


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("is_extended", [False, True])
def test_tables_of_offsets_fit_the_shorter_frames(written, syntax, is_extended, need):
    need("openjpeg", "jpeg_ls")
    data = three_frames(syntax)
    before = data.pixel_array
    frames = list(generate_frames(data.PixelData, number_of_frames=3))
    frames[1] = commented(frames[1])
    data.PixelData = encapsulate(frames, fragments_per_frame=2)
    if is_extended:
        data.PixelData, data.ExtendedOffsetTable, data.ExtendedOffsetTableLengths = (
            encapsulate_extended(frames)
        )
    copy = written(data)
    assert np.array_equal(copy.pixel_array, before) and b"ZWEIFEL" not in copy.PixelData
    tables = (copy.ExtendedOffsetTable, copy.ExtendedOffsetTableLengths) if is_extended else None
    assert len(parse_basic_offsets(copy.PixelData)) == (0 if is_extended else 3)
    one_by_one = [get_frame(copy.PixelData, k, extended_offsets=tables) for k in range(3)]
    assert one_by_one == list(generate_frames(copy.PixelData, number_of_frames=3))
    assert written(copy).PixelData == copy.PixelData, "there is nothing more to take out"


def test_bits_beside_the_pixel_in_compressed_words(written, need):
    need("openjpeg")
    words = np.random.default_rng(0).integers(0, 2**12, (1, 70, 66)).astype("u2")
    drawn = words | np.where(np.arange(66) > 4, 1 << 13, 0).astype("u2")
    for syntax in (RLELossless, JPEG2000Lossless):
        data = radiograph(drawn)
        data.compress(syntax)
        data.BitsStored, data.HighBit = 12, 11
        if syntax == RLELossless:
            copy = written(data)
            raw = pydicom.pixels.get_decoder(syntax).as_array(copy, raw=True)[0]
            assert np.array_equal(raw, words[0]) and copy.BitsStored == 12
            copy.BitsStored, copy.HighBit = 16, 15
            assert np.array_equal(copy.pixel_array, words[0]), "only the header hides them"
        else:
            with pytest.raises(SeriesError, match="Bits beside the pixel are set"):
                written(data)
        clean = radiograph(words)
        clean.compress(syntax)
        clean.BitsStored, clean.HighBit = 12, 11
        assert np.array_equal(written(clean).pixel_array, words[0])


def test_what_cannot_be_looked_into_is_left_out_with_the_reason(rules):
    data = radiograph(np.zeros((1, 4, 4), "u2"))
    native = data.PixelData
    data.BitsStored = 20
    with pytest.raises(SeriesError, match="contradicts itself on which bits"):
        deidentify(data, KEY, rules)
    data.BitsStored, data.Columns = 16, None
    with pytest.raises(SeriesError, match="does not say how large"):
        deidentify(data, KEY, rules)
    data.Columns, data.PixelDataProviderURL = 4, "http://pacs/ZWEIFELHAFT"
    with pytest.raises(SeriesError, match="lie on a server"):
        deidentify(data, KEY, rules)
    del data.PixelDataProviderURL
    data.file_meta.TransferSyntaxUID = JPEGLSLossless
    with pytest.raises(SeriesError, match="not stored as the file says"):
        deidentify(data, KEY, rules)
    data.PixelData = encapsulate([b"\xff\xd8\xff\x02\0\4ab" + NAME])
    with pytest.raises(SeriesError, match=r"unknown kind \(0xFF02\)"):
        deidentify(data, KEY, rules)
    data.file_meta.TransferSyntaxUID = MPEG4HP41
    with pytest.raises(SeriesError, match=r"cannot be looked into .*MPEG-4"):
        deidentify(data, KEY, rules)
    data.file_meta.TransferSyntaxUID, data.PixelData = ExplicitVRLittleEndian, native
    assert deidentify(data, KEY, rules).PixelData == native


@pytest.fixture
def audited(tmp_path):
    """`audited(data, **files)`: what an audit of a folder with this file says; the name is
    sought."""

    def look(data: Dataset):
        (tmp_path / "audited").mkdir(exist_ok=True)
        data.save_as(tmp_path / "audited" / "a.dcm", enforce_file_format=True)
        return audit(tmp_path / "audited", {NAME.decode(): "PatientName"})

    return look


def test_audit_finds_what_is_drawn_beside_the_pixels(audited):
    data = radiograph(np.full((1, 6, 6), 7, "u2"), BitsStored=12, HighBit=11)
    data.PatientName = "P-0123456789ab"
    result = audited(data)
    assert not result.hits and result.num_pictures == 1 and not result.unread
    data.PixelData = (np.eye(6, dtype="<u2") << 12).tobytes()
    assert [hit.keyword for hit in audited(overlay_in(data, 12)).hits] == ["bits beside the pixel"]
    data.BitsStored, data.HighBit = 16, 15
    data.add_new(0x60023000, "OW", bytes(6))
    assert not audited(data).hits, "an empty overlay"
    data.add_new(0x60023000, "OW", b"\0\1\0\0\0\0")
    data.add_new(0x50003000, "OW", b"\0\1")
    assert [hit.keyword for hit in audited(data).hits] == ["curve 5000", "overlay 6002"]


def test_audit_reads_comments_in_frames_and_deflated_headers(audited, need):
    need("jpeg_ls")
    data = three_frames(JPEGLSLossless)
    data.PatientName = "P-0123456789ab"
    frames = list(generate_frames(data.PixelData, number_of_frames=3))
    assert not audited(data).hits
    # The name goes on in the second fragment: no search of the bytes meets it.
    frame = b"\xff\xd8\xff\xfe\0\x12" + NAME + frames[0][2:]
    pieces = [frame[:14], frame[14:], *frames[1:]]
    data.PixelData = encapsulate(pieces, has_bot=False)
    bounds = np.cumsum(
        [
            0,
            len(pieces[0]) + len(pieces[1]) + 16 + len(pieces[1]) % 2,
            len(frames[1]) + 8 + len(frames[1]) % 2,
        ]
    )
    table = bounds.astype("<u4").tobytes()
    data.PixelData = b"\xfe\xff\0\xe0\x0c\0\0\0" + table + data.PixelData[8:]
    assert NAME not in data.PixelData
    assert [hit.keyword for hit in audited(data).hits] == ["PatientName"]
    deflated = radiograph(np.zeros((1, 4, 4), "u2"), DeflatedExplicitVRLittleEndian)
    assert [hit.keyword for hit in audited(deflated).hits] == ["PatientName"]


def test_audit_says_what_it_could_not_look_into(audited, tmp_path):
    data = radiograph(np.zeros((1, 4, 4), "u2"))
    data.PatientName = ""
    data.file_meta.TransferSyntaxUID = MPEG4HP41
    data.PixelData = encapsulate([b"\0\0\1\xba" * 4])
    ((place, reason),) = audited(data).unread
    assert place == "a.dcm" and "cannot be looked into" in reason
