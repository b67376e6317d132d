"""Several acquisitions in one series: parted by what tells them apart, refused by name."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from msk_jax.data.dicom.acquisitions import choose_part
from msk_jax.data.dicom.frames import Frame, frames_of
from msk_jax.data.dicom.geometry import SlicePlane
from msk_jax.data.images.series import read_series
from msk_jax.data.images.volume import ReadOptions, read_volume
from msk_jax.errors import SeriesError
from tests.data.ct_files import edit, ramp, rewrite, write_ct

AXIAL, CORONAL = (1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1)


def series(slices, orientation=AXIAL):
    """Classic slices, each (z in mm, attributes)."""
    frames = []
    for k, (z, tags) in enumerate(slices):
        header = Dataset()
        edit(header, {"SOPInstanceUID": f"1.2.{k}", **tags})
        plane = SlicePlane(f"f{k}", (0.0, 0.0, float(z)), orientation, (1.0, 1.0), (4, 4))
        frames.append(Frame(k, 0, plane, (header,)))
    return frames


def shifted(first, second, by=1.5, count=8, step=3.0):
    """Two acquisitions of the same step, the second shifted."""
    z = step * np.arange(count)
    return series([(v, first) for v in z] + [(v + by, second) for v in z])


DIFFERENCES = [
    ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}, r"AcquisitionNumber \(1, 2\)"),
    (
        {"ConvolutionKernel": "B30f"},
        {"ConvolutionKernel": "B70f"},
        r"ConvolutionKernel \(B30f, B70f\)",
    ),
    ({"EchoTime": "9.0"}, {"EchoTime": "80"}, r"EchoTime \(9, 80\)"),
    ({"EchoNumbers": 1}, {"EchoNumbers": 2}, r"EchoNumbers \(1, 2\)"),
    ({"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}, "TemporalPosition"),
    ({"DiffusionBValue": 0.0}, {"DiffusionBValue": 800.0}, r"DiffusionBValue \(0, 800\)"),
    ({}, {"ContrastBolusAgent": "iodine"}, r"ContrastBolusAgent \(none, iodine\)"),
    (
        {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]},
        {"ImageType": ["DERIVED", "SECONDARY"]},
        r"ImageType \(DERIVED\\SECONDARY, ORIGINAL\\PRIMARY\\AXIAL\)",
    ),
    ({"TriggerTime": 100}, {"TriggerTime": 600}, r"TriggerTime \(100, 600\)"),
    ({"KVP": 80}, {"KVP": 140}, r"KVP \(80, 140\)"),
    ({"FlipAngle": 5}, {"FlipAngle": 15}, "FlipAngle"),
]


@pytest.mark.parametrize(("first", "second", "words"), DIFFERENCES, ids=lambda v: str(v)[:30])
@pytest.mark.parametrize("by", [0.0, 1.5, 1.0, 10.5])
def test_two_acquisitions_are_refused_by_name_or_parted(first, second, words, by):
    frames = shifted(first, second, by)
    where = "with slices between each other's" if by else "at the same positions"
    with pytest.raises(SeriesError, match=f"2 acquisitions or reconstructions {where}.*{words}"):
        choose_part(frames, None)
    halves = [choose_part(frames, part) for part in (0, 1)]
    assert sorted(len(half) for half in halves) == [8, 8]
    assert halves[0] in (frames[:8], frames[8:]) and halves[0] != halves[1]
    with pytest.raises(SeriesError, match=r"There is no part 2\. Choose one of part 0 to 1"):
        choose_part(frames, 2)


def test_acquisitions_of_other_steps_and_with_a_missing_slice():
    thin = [(z, {"SliceThickness": "1"}) for z in np.arange(0, 20)]
    thick = [(z + 0.5, {"SliceThickness": "5.0"}) for z in np.arange(0, 20, 5)]
    with pytest.raises(SeriesError, match=r"SliceThickness \(1, 5\)"):
        choose_part(series(thin + thick), None)
    halves = [
        (3 * k + shift, {"AcquisitionNumber": 2 * shift + k // 4})
        for shift in (0, 1)
        for k in range(8)
    ]
    with pytest.raises(SeriesError, match=r"AcquisitionNumber \(0, 1, 2, 3\)"):
        choose_part(series(halves), None)
    frames = shifted({"EchoNumbers": 1}, {"EchoNumbers": 2})
    with pytest.raises(SeriesError, match="EchoNumbers"):
        choose_part(frames[:3] + frames[4:], None)


def test_three_phases_and_echoes_of_each():
    z = np.arange(6)
    frames = series(
        [
            (v + shift, {"EchoTime": echo, "TemporalPositionIdentifier": phase})
            for phase, shift in ((1, 0), (2, 0), (3, 0))
            for echo in (10, 20)
            for v in z
        ]
    )
    with pytest.raises(SeriesError, match=r"6 acq.* EchoTime \(10, 20\) and Temp.* \(1, 2, 3\)"):
        choose_part(frames, None)
    assert [frame.file for frame in choose_part(frames, 5)] == list(range(30, 36))
    thirds = series([(3 * v + k, {"TemporalPositionIdentifier": k}) for k in range(3) for v in z])
    with pytest.raises(SeriesError, match=r"3 acquisitions .* between .*\(0, 1, 2\)"):
        choose_part(thirds, None)


def test_the_attribute_with_the_fewest_groups_counts():
    frames = series(
        [(k % 8, {"AcquisitionNumber": k // 4, "EchoTime": 10 + k // 8}) for k in range(16)]
    )
    with pytest.raises(SeriesError, match=r"2 acq.* EchoTime \(10, 11\)"):
        choose_part(frames, None)


def test_orientations_that_no_attribute_parts_are_left_to_the_geometry():
    tags = [{"FlipAngle": k % 2} for k in range(6)]
    frames = series(enumerate(tags)) + series(enumerate(tags), CORONAL)
    assert choose_part(frames, None) == frames


@pytest.mark.parametrize(
    "attributes",
    [
        lambda k: {"AcquisitionNumber": k},  # sequential CT, a rotation for each slice
        lambda k: {"AcquisitionNumber": k // 4},  # or for four of them
        lambda k: {"AcquisitionNumber": k // 12},  # two scans, one above the other
        lambda k: {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"] + ["LAST"] * (k == 23)},
        lambda k: {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"] + ["ODD"] * (k in (5, 9, 10, 14))},
        lambda k: {"ContrastBolusAgent": "iodine"} if k in (3, 7, 11) else {},
        lambda k: {"KVP": "100" if k < 9 else "120", "XRayTubeCurrent": 100 + k % 2},
        lambda k: {"TriggerTime": 100 + 7 * k, "EchoTime": "9.0" if k % 3 else "9.00"},
        lambda k: {"TriggerTime": 100 * (k % 8)},  # three slices at a time
        lambda k: {"AcquisitionTime": f"12000{k % 2}"},  # odd slices after even ones
        lambda k: {"ContentTime": f"12000{k % 2}", "SeriesTime": f"12000{k % 2}"},
        lambda k: {"AcquisitionNumber": [1, 1, 2, 1, 2, 2][k % 6]},
    ],
)
def test_attributes_that_change_from_slice_to_slice_part_no_volume(attributes):
    frames = series([(2 * k, attributes(k)) for k in range(24)])
    assert choose_part(frames, None) == frames
    with pytest.raises(SeriesError, match="a single acquisition"):
        choose_part(frames, 1)


def test_images_at_one_position_that_nothing_tells_apart():
    message = r"2 images lie at 8 of 8 positions \(f0 and f8\), and nothing in"
    with pytest.raises(SeriesError, match=message):
        choose_part(shifted({}, {}, by=0), None)
    # A number of its own for each image says nothing about which belong together.
    for keyword in ("AcquisitionNumber", "AcquisitionTime"):
        frames = series([(k % 8, {keyword: str(100000 + k)}) for k in range(16)])
        with pytest.raises(SeriesError, match="nothing in the headers tells"):
            choose_part(frames, None)
    twice = series([(k % 20, {"AcquisitionTime": f"{100000 + k // 2}"}) for k in range(40)])
    with pytest.raises(SeriesError, match="nothing in the headers tells"):
        choose_part(twice, None)
    copies = series([(k % 8, {"SOPInstanceUID": f"1.{k % 8}"}) for k in range(16)])
    with pytest.raises(SeriesError, match=r"same SOPInstanceUID\. Remove the copies"):
        choose_part(copies, None)
    nameless = series([(k % 8, {"SOPInstanceUID": ""}) for k in range(16)])
    with pytest.raises(SeriesError, match="nothing in the headers tells"):
        choose_part(nameless, None)
    # A few copies are named by the geometry.
    few = series([(z, {}) for z in (0, 1, 2, 3, 4, 5, 5)])
    assert choose_part(few, None) == few


def test_time_of_day_parts_images_at_one_position_and_is_not_told():
    frames = shifted({"AcquisitionTime": "101112"}, {"AcquisitionTime": "131415"}, by=0)
    with pytest.raises(SeriesError, match=r"2 acq.* differ in AcquisitionTime\. ") as caught:
        choose_part(frames, None)
    assert "101112" not in str(caught.value) and len(choose_part(frames, 0)) == 8


def test_positions_that_differ_by_rounding_are_the_same():
    first = [(3 * k + 0.0049, {"EchoTime": 1}) for k in range(6)]
    second = [(3 * k + 0.0051, {"EchoTime": 2}) for k in range(6)]
    with pytest.raises(SeriesError, match=r"at the same positions.*EchoTime"):
        choose_part(series(first + second), None)


def enhanced(folder, kinds, orientations=(AXIAL,)):
    """One object with a frame at each of six positions for each kind: functional groups."""
    (file,) = write_ct(folder, ramp()[:1])
    data = pydicom.dcmread(file)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(data, keyword)
    data.NumberOfFrames = 6 * len(kinds)
    data.PixelData = np.repeat(np.arange(len(kinds)), 6 * 30).astype(np.uint16).tobytes()

    def item(**values):
        inner = Dataset()
        edit(inner, values)
        return Sequence([inner])

    data.SharedFunctionalGroupsSequence = item(
        PixelMeasuresSequence=item(PixelSpacing=[1, 1], SliceThickness=1)
    )
    frames = []
    for i, kind in enumerate(kinds):
        for k in range(6):
            groups = Dataset()
            orientation = orientations[i % len(orientations)]
            normal = np.cross(orientation[:3], orientation[3:])
            groups.PlanePositionSequence = item(ImagePositionPatient=list(k * normal))
            groups.PlaneOrientationSequence = item(ImageOrientationPatient=list(orientation))
            for sequence, values in kind.items():
                setattr(groups, sequence, item(**values))
            frames.append(groups)
    data.PerFrameFunctionalGroupsSequence = Sequence(frames)
    data.save_as(file)
    return file


@pytest.mark.parametrize(
    ("sequence", "values", "words"),
    [
        (
            "CTImageFrameTypeSequence",
            {"FrameType": (["ORIGINAL", "PRIMARY"], ["DERIVED", "MIN"])},
            r"FrameType \(DERIVED\\MIN, ORIGINAL\\PRIMARY\)",
        ),
        ("MREchoSequence", {"EffectiveEchoTime": (9.0, 80.0)}, r"EffectiveEchoTime \(9, 80\)"),
        ("MRDiffusionSequence", {"DiffusionBValue": (0.0, 50.0)}, r"DiffusionBValue \(0, 50\)"),
        ("FrameContentSequence", {"StackID": ("1", "2")}, r"StackID \(1, 2\)"),
        ("CTReconstructionSequence", {"ConvolutionKernel": ("soft", "bone")}, "Kernel .bone, soft"),
    ],
)
def test_frames_of_several_kinds_in_one_object(tmp_path, sequence, values, words):
    ((keyword, (first, second)),) = values.items()
    file = enhanced(tmp_path, [{sequence: {keyword: first}}, {sequence: {keyword: second}}])
    with pytest.raises(SeriesError, match=f"2 acq.* at the same positions, .*{words}") as caught:
        read_volume([file])
    assert "folder" not in str(caught.value)  # one file cannot be parted by hand
    volumes = [read_volume([file], options=ReadOptions(part=part)) for part in (0, 1)]
    assert {float(v.voxels[0, 0, 0]) for v in volumes} == {-1024, -1023}
    assert all((v.voxels == v.voxels[0, 0, 0]).all() for v in volumes)


def test_stacks_of_several_orientations_in_one_object(tmp_path):
    kinds = [{"FrameContentSequence": {"StackID": name}} for name in "12"]
    file = enhanced(tmp_path, kinds, (AXIAL, CORONAL))
    with pytest.raises(SeriesError, match=r"in different orientations, .* StackID \(1, 2\)"):
        read_volume([file])
    assert read_volume([file], options=ReadOptions(part=1)).direction[8] == 0


def test_dimensions_that_the_object_names_itself(tmp_path):
    kinds = [{"FrameContentSequence": {"DimensionIndexValues": [1, n]}} for n in (1, 2)]
    file = enhanced(tmp_path, kinds)
    data = pydicom.dcmread(file)
    pointers = [Dataset(), Dataset()]
    pointers[0].DimensionIndexPointer = 0x00209057  # InStackPositionNumber
    pointers[1].DimensionIndexPointer = 0x00189087  # of some functional group
    data.DimensionIndexSequence = Sequence(pointers)
    data.save_as(file)
    frames = frames_of(0, file, data)
    with pytest.raises(SeriesError, match=r"DiffusionBValue \(1, 2\)"):
        choose_part(frames, None)


@pytest.mark.parametrize("read", [read_series, lambda files: read_volume(files, "CT")])
def test_slices_between_slices_are_no_volume_of_thinner_ones(tmp_path, read):
    files = write_ct(tmp_path, ramp(), AcquisitionNumber=1)
    files += write_ct(tmp_path, ramp() + 300, origin=(0, 0, 1.25), name="b{}", AcquisitionNumber=2)
    with pytest.raises(SeriesError, match=r"AcquisitionNumber \(1, 2\).* give that as its path"):
        read(files)
    assert read(files[:8]).voxels.shape == (8, 6, 5)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}, "is a mosaic"),
        ({"DimensionOrganizationType": "TILED_FULL"}, r"is tiled \(TILED_FULL\)"),
        ({"DimensionOrganizationType": "TILED_SPARSE"}, r"is tiled \(TILED_SPARSE\)"),
        ({"TotalPixelMatrixColumns": 512}, "is tiled"),
    ],
)
def test_pictures_laid_together_of_many_are_refused(tmp_path, tags, words):
    files = write_ct(tmp_path, ramp())
    for file in files:
        rewrite(file, **tags)
    with pytest.raises(SeriesError, match=words):
        read_volume(files)


def test_a_mosaic_that_only_the_private_header_names(tmp_path):
    files = write_ct(tmp_path, ramp(), Modality="MR", RescaleSlope=None, RescaleIntercept=None)
    assert read_volume(files).voxels.shape == (8, 6, 5)
    data = pydicom.dcmread(files[3])
    data.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", 36)
    data.save_as(files[3])
    with pytest.raises(SeriesError, match=r"003\.dcm is a mosaic .NumberOfImages"):
        read_volume(files)
