"""Headers and bytes knocked about at random: a volume or an error of ours, and nothing else."""

import shutil
import tracemalloc
from pathlib import Path

import pydicom
import pydicom.data
import pytest
from pydicom.uid import JPEG2000Lossless, RLELossless

from msk_jax.data.dicom.headers import MAX_GROWTH, MIN_ROOM_BYTES
from msk_jax.data.images.radiograph import read_radiograph
from msk_jax.data.images.series import read_series
from msk_jax.data.images.volume import ReadOptions, read_volume
from msk_jax.data.sources.scan import scan
from msk_jax.errors import UserError
from tests.data.ct_files import ramp, write_ct

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed")
st = hypothesis.strategies

SETTINGS = hypothesis.settings(
    max_examples=50,
    deadline=10_000,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)

READERS = (
    lambda folder: [read_volume(files) for files in scan(folder).series.values()],
    lambda folder: [read_series(files) for files in scan(folder).series.values()],
    lambda folder: [
        read_volume(files, options=ReadOptions(deshear=True, real_world=True, part=0))
        for files in scan(folder).series.values()
    ],
    lambda folder: [read_radiograph(file, voi=True) for file in folder.iterdir()],
)


def survives(folder: Path) -> None:
    """Every reader gives a result or a sentence, in memory bounded by the size of the file."""
    size = sum(file.stat().st_size for file in folder.iterdir())
    for read in READERS:
        tracemalloc.start()
        try:
            read(folder)
        except UserError as error:
            assert str(error).rstrip().endswith((".", '"'))
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        # Raw pixels, values and padding at a time: four times what a file may unfold to.
        assert peak < 4 * max(MIN_ROOM_BYTES, MAX_GROWTH * size)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory) -> list[bytes]:
    """A plain slice, compressed ones, and files of real scanners."""
    folder = tmp_path_factory.mktemp("seeds")
    names = ["CT_small.dcm", "MR_small.dcm", "image_dfl.dcm", "MR_small_jpeg_ls_lossless.dcm"]
    found = [Path(pydicom.data.get_testdata_file(name)).read_bytes() for name in names]
    for syntax in (None, RLELossless, JPEG2000Lossless):
        (file,) = write_ct(folder, ramp((1, 40, 40)), SliceThickness=3)
        if syntax:
            data = pydicom.dcmread(file)
            try:
                data.compress(syntax)
            except RuntimeError:
                continue  # no encoder here
            data.save_as(file)
        found.append(file.read_bytes())
    return found


@SETTINGS
@hypothesis.given(data=st.data())
def test_bytes(data, seeds, tmp_path_factory):
    content = bytearray(data.draw(st.sampled_from(seeds)))
    # JPEG-LS and JPEG 2000 data go to libraries in C: their headers are damaged, not their streams.
    end = content.find(b"\xe0\x7f\x10\x00")
    end = end if end > 0 else len(content)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(128, end - 1))
        content[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "file").write_bytes(bytes(content))
    survives(folder)


ODD = st.one_of(
    st.sampled_from(
        [
            "",
            "0",
            "-1",
            "1e400",
            "nan",
            "inf",
            "\\",
            "65535",
            "4294967295",
            "1\\2",
            "MONOCHROME1",
            "PALETTE COLOR",
            "LOCALIZER",
            "<script>",
            "../..",
            "\x00",
        ]
    ),
    st.text(max_size=20),
    st.integers(-(2**31), 2**31).map(str),
    st.floats().map(str),
)
KEYWORDS = [
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "SamplesPerPixel",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "Modality",
    "ImageType",
    "PixelPaddingValue",
    "WindowCenter",
    "WindowWidth",
    "SliceThickness",
    "PatientAge",
    "Laterality",
    "SOPClassUID",
    "SeriesInstanceUID",
    "ModalityLUTSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "RealWorldValueMappingSequence",
    "AcquisitionNumber",
    "PixelData",
    "SpecificCharacterSet",
]


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> list[Path]:
    return write_ct(tmp_path_factory.mktemp("series"), ramp((5, 6, 5)))


@SETTINGS
@hypothesis.given(
    changes=st.dictionaries(st.sampled_from(KEYWORDS), ODD, min_size=1, max_size=4),
    same=st.booleans(),
)
def test_headers(changes, same, series, tmp_path_factory):
    """Values that fit their tag in no way, in one slice of a series or in all of them."""
    folder = tmp_path_factory.mktemp("fuzz")
    files = [Path(shutil.copy(file, folder)) for file in series]
    for file in files if same else files[:1]:
        data = pydicom.dcmread(file)
        for keyword, value in changes.items():
            tag = pydicom.datadict.tag_for_keyword(keyword)
            kind = pydicom.datadict.dictionary_VR(tag)
            raw = value.encode("utf-8", "replace")
            if kind in ("US", "US or SS", "OB or OW", "SQ"):
                kind = {"US or SS": "US", "OB or OW": "OW"}.get(kind, kind)
                raw = (raw * 2)[: 2 * (len(raw) or 1)]
            data._dict[tag] = pydicom.dataelem.RawDataElement(
                pydicom.tag.Tag(tag), kind, len(raw), raw, 0, False, True
            )
        try:
            data.save_as(file)
        except Exception:
            return  # no writer makes such a file
    survives(folder)
