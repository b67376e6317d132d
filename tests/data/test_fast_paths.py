"""The short ways of reading - plain headers, plain pixels, whole Hounsfield units - against the
long ones and against pydicom, over files that differ in every attribute that either goes by."""

import functools

import numpy as np
import pydicom
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from msk_jax.data.dicom.headers import integer, number, numbers, quiet, read_header, text, words
from msk_jax.data.pixels.decode import read_stored
from msk_jax.data.pixels.values import read_hounsfield
from msk_jax.errors import SeriesError
from tests.data.ct_files import edit, write_ct

SIZE = 48
"""Rows and columns: enough that pixels stay in the file until they are asked for."""

SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
)


def item(**values):
    dataset = Dataset()
    edit(dataset, values)
    return Sequence([dataset])


def table():
    dataset = Dataset()
    dataset.add_new("LUTDescriptor", "US", [4, 2, 16])
    dataset.add_new("LUTData", "US", [1, 20, 300, 4000])
    dataset.ModalityLUTType = "HU"
    return Sequence([dataset])


# Each value is a set of attributes (None: leave out); those in capitals are of this test. The first
# of a row is what a plain file has.
VARIANTS = {
    "allocated": [{}, {"BitsAllocated": 8}, {"BitsAllocated": 32}, {"BitsAllocated": None}],
    "stored": [
        {},
        {"BitsStored": 12, "HighBit": 11},
        {"BitsStored": 12, "HighBit": 15},
        {"BitsStored": 1, "HighBit": 0},
        {"BitsStored": 0},
        {"BitsStored": 17, "HighBit": 16},
        {"BitsStored": None},
        {"HighBit": None},
        {"HighBit": 40},
    ],
    "sign": [
        {},
        {"PixelRepresentation": 1},
        {"PixelRepresentation": 2},
        {"PixelRepresentation": None},
    ],
    "samples": [
        {},
        {"SamplesPerPixel": 3, "PlanarConfiguration": 0},
        {"SamplesPerPixel": None},
        {"PlanarConfiguration": 1},
        {"SamplesPerPixel": 2},
    ],
    "meaning": [
        {},
        *(
            {"PhotometricInterpretation": name}
            for name in ("MONOCHROME1", "PALETTE COLOR", "RGB", "monochrome2", "UNKNOWN", None)
        ),
    ],
    "frames": [
        {},
        *({"NumberOfFrames": n} for n in (1, 2, 0, -1, None)),
        {"NumberOfFrames": "", "": 0},
    ],
    "size": [{}, {"Rows": SIZE // 2}, {"Columns": SIZE + 1}, {"Rows": None}, {"Columns": 0}],
    "slope": [
        {},
        *(
            {"RescaleSlope": v}
            for v in ("1.0", "1.0000000001", "2", "0.5", "0", "-1", "1e30", "", "1\\2", None)
        ),
    ],
    "intercept": [
        {},
        *(
            {"RescaleIntercept": v}
            for v in ("-1024.5", "0", "-32767", "32767", "32768", "-40000", "", None)
        ),
    ],
    "units": [{}, *({"RescaleType": v} for v in ("HU", "US", "", "OD", "hu"))],
    "modality": [{}, {"Modality": "MR"}, {"Modality": "ct"}, {"Modality": None}],
    "padding": [
        {},
        {"PixelPaddingValue": ("US", 7)},
        {"PixelPaddingValue": ("SS", -2000)},
        {"PixelPaddingValue": ("US", 63536)},
        {"PixelPaddingValue": ("US", [7, 8])},
        {"PixelPaddingValue": ("US", 7), "PixelPaddingRangeLimit": ("US", 40)},
        {"PixelPaddingValue": ("SS", -5), "PixelPaddingRangeLimit": ("SS", 5)},
    ],
    "other values": [
        {},
        {"ModalityLUTSequence": table()},
        {
            "PixelValueTransformationSequence": item(
                RescaleSlope=3, RescaleIntercept=-10, RescaleType="HU"
            )
        },
        {
            "SharedFunctionalGroupsSequence": item(
                PixelValueTransformationSequence=item(
                    RescaleSlope=2, RescaleIntercept=-100, RescaleType="HU"
                )
            )
        },
        {"FloatPixelData": np.zeros((SIZE, SIZE), np.float32).tobytes()},
    ],
    "length": [{}, *({"CHANGE": n} for n in (-2, -SIZE * SIZE, 2, 2 * SIZE * SIZE))],
}


def write(folder, syntax, *variants):
    """A CT slice of values that differ, with the changes that each variant makes."""
    rng = np.random.default_rng(0)
    (file,) = write_ct(folder, rng.integers(-1024, 2976, (1, SIZE, SIZE)))
    data = pydicom.dcmread(file)
    tags = {key: value for variant in variants for key, value in variant.items()}
    values = (np.frombuffer(data.PixelData, "<u2").astype(int) * 17 + 5) % 2**16
    change, _ = tags.pop("CHANGE", 0), tags.pop("", 0)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    bits = tags.get("BitsAllocated", 16)
    content = (values % 2**12).astype(f"{order}u{(bits or 16) // 8}").tobytes()
    content *= max(1, int(tags.get("NumberOfFrames") or 1))
    for keyword, value in tags.items():
        if keyword.startswith("PixelPadding"):
            data.add_new(keyword, *value)
        elif value is not None or keyword in data:
            edit(data, {keyword: value})
    if change > 0:
        content += bytes(change)
    data.PixelData = content[: len(content) + min(change, 0)]
    data.file_meta.TransferSyntaxUID = syntax
    if syntax == RLELossless:
        encoded = pydicom.pixels.encoders.RLELosslessEncoder.encode(
            values.reshape(SIZE, SIZE).astype(np.uint16),
            rows=SIZE,
            columns=SIZE,
            samples_per_pixel=1,
            bits_allocated=16,
            bits_stored=16,
            number_of_frames=1,
            pixel_representation=0,
            photometric_interpretation="MONOCHROME2",
        )
        data.PixelData = pydicom.encaps.encapsulate([encoded])
        data["PixelData"].is_undefined_length = True
    pydicom.dcmwrite(file, data)
    return file


@quiet
def outcome(file):
    """Stored values and Hounsfield units of a file, and why there are none."""
    results = []
    for read in (lambda *args: read_stored(*args)[0], read_hounsfield):
        try:
            results.append(read(file, read_header(file)))
        except SeriesError as error:
            results.append(str(error))
    return results


def same(ours, theirs):
    return all(
        a == b if isinstance(a, str) or isinstance(b, str) else np.array_equal(a, b)
        for a, b in zip(ours, theirs, strict=True)
    )


def the_long_way(file):
    """The outcome where nothing is read the short way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("msk_jax.data.pixels.decode._read_plain", lambda *rest: None)
        patch.setattr("msk_jax.data.pixels.values._whole_intercept", lambda *rest: None)
        patch.setattr("msk_jax.data.dicom.headers._raw", lambda *rest: None)
        patch.setattr("msk_jax.data.dicom.headers.read_plain", lambda *rest, **options: None)
        return outcome(file)


def combinations(pairs):
    """Every single change, and as many pairs of changes, drawn at random."""
    rng = np.random.default_rng(1)
    names = list(VARIANTS)
    singles = [(change,) for name in names for change in VARIANTS[name]]
    for _ in range(pairs):
        first, second = rng.choice(len(names), 2, replace=False)
        singles.append(
            tuple(
                VARIANTS[names[k]][rng.integers(len(VARIANTS[names[k]]))] for k in (first, second)
            )
        )
    return singles


@quiet
def as_pydicom(file):
    """Hounsfield units by pydicom alone; None where it refuses, and where we know more than it:
    padding, the place of the highest bit, values turned round, functional groups."""
    data = pydicom.dcmread(file)
    try:
        values = pydicom.pixels.apply_modality_lut(data.pixel_array, data)
    except Exception:
        return None
    if (
        any(
            keyword.endswith(("PaddingValue", "GroupsSequence", "TransformationSequence"))
            for keyword in data.dir()
        )
        or data.get("HighBit") != data.BitsStored - 1
        or data.PhotometricInterpretation == "MONOCHROME1"
    ):
        return None
    return np.rint(np.clip(values, -1024, 32767)).astype(np.int16)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.keyword)
def test_short_ways_read_what_long_ways_read(tmp_path, syntax, need):
    need("rle")
    compared = 0
    for changes in combinations(pairs=60 if syntax == ExplicitVRLittleEndian else 0):
        file = write(tmp_path, syntax, *changes)
        ours = outcome(file)
        assert same(ours, the_long_way(file)), changes
        theirs = as_pydicom(file)
        if theirs is not None and not isinstance(ours[1], str):
            assert np.array_equal(ours[1].reshape(theirs.shape), theirs), changes
            compared += 1
    assert compared > 40


def test_the_place_of_the_highest_bit_counts_in_run_lengths_too(tmp_path, need):
    need("rle")
    (file,) = write_ct(
        tmp_path, np.arange(64).reshape(1, 8, 8) * 16 - 1024, HighBit=15, BitsStored=12
    )
    data = pydicom.dcmread(file)
    data.compress(RLELossless)
    data.save_as(file)
    stored, _ = read_stored(file, read_header(file))
    assert stored.ravel().tolist() == list(range(64))


KINDS = {
    "PixelSpacing": "DS",
    "RescaleSlope": "DS",
    "InstanceNumber": "IS",
    "ImageType": "CS",
    "SeriesDescription": "LO",
    "SOPInstanceUID": "UI",
    "PatientAge": "AS",
    "Rows": "US",
    "AccessionNumber": "SH",
}
PIECES = st.sampled_from(
    [
        b"0",
        b"1",
        b"12",
        b".5",
        b"-",
        b"+",
        b"e3",
        b" ",
        b"\\",
        b"\0",
        b"AB",
        b"cd",
        b"~",
        b"^",
        b"\n",
        b"\xe4",
        b"\x1b",
        b"_",
        b"nan",
        b"inf",
        b"9" * 20,
    ]
)


def values_of(keyword, kind, value, is_stated, is_little):
    """All that can be asked for."""
    tag = BaseTag(tag_for_keyword(keyword))
    element = RawDataElement(
        tag, kind if is_stated else None, len(value), value, 0, not is_stated, is_little
    )
    asked = []
    one, two = (functools.partial(numbers, count=count) for count in (1, 2))
    for ask in (text, number, integer, words, one, two):
        header = Dataset()
        header._dict[tag] = element
        asked.append(ask(header, keyword))
    return asked


@settings(max_examples=250, deadline=None, derandomize=True)
@given(
    st.sampled_from(sorted(KINDS.items())),
    st.lists(PIECES, max_size=5).map(b"".join),
    st.booleans(),
    st.booleans(),
)
@example(("InstanceNumber", "IS"), b"1.5", True, True)
@example(("SeriesDescription", "LO"), b"A\0 \0", True, True)
@example(("Rows", "US"), b"\1\2", True, False)
@quiet
def test_short_ways_to_a_value(which, value, is_stated, is_little):
    ours = values_of(*which, value, is_stated, is_little)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("msk_jax.data.dicom.headers._raw", lambda *rest: None)
        assert ours == values_of(*which, value, is_stated, is_little)
