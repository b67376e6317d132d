"""A series of any orientation as one array: a landmark in mm comes back to the same mm."""

import itertools

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from msk_jax.data.dicom.geometry import Tolerance
from msk_jax.data.images.series import read_series
from msk_jax.data.images.volume import ReadOptions, read_volume
from msk_jax.data.regions.resample import PatientFrame, axes_of, to_frame
from msk_jax.errors import SeriesError, UserError
from tests.data.ct_files import ramp, rewrite, write_ct

AXES = [tuple(s * v for v in e) for e in np.eye(3).tolist() for s in (1, -1)]
ORIENTATIONS = [(*a, *b) for a, b in itertools.permutations(AXES, 2) if not np.dot(a, b)]
SPACING, SHAPE, SPOT = (2.0, 3.0, 2.5), (7, 8, 9), (4, 2, 6)


def spot_series(folder, orientation, origin=(5.0, -6.0, 7.0)):
    """A series with one bright voxel, and where it lies by the standard's own formula."""
    hu = np.zeros(SHAPE, np.int16)
    hu[SPOT] = 1000
    files = write_ct(folder, hu, origin, SPACING, orientation)
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(row, column)
    # PS3.3 C.7.6.2.1.1: position + column index * spacing * row cosines + row index * ...
    place = np.array(origin) + SPOT[2] * SPACING[0] * row + SPOT[1] * SPACING[1] * column
    return files, place + SPOT[0] * SPACING[2] * normal


def brightest_mm(volume):
    return volume.patient_mm(np.unravel_index(volume.voxels.argmax(), volume.voxels.shape))


def centre_of_mass_mm(volume):
    weight = volume.voxels.astype(float)
    index = [(weight * i).sum() / weight.sum() for i in np.indices(weight.shape)]
    return volume.patient_mm(index)


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=lambda o: "".join(f"{int(v)}" for v in o))
def test_landmark_in_every_plane_and_direction(tmp_path, orientation):
    files, place = spot_series(tmp_path, orientation)
    volume = read_volume(reversed(files))
    assert brightest_mm(volume) == pytest.approx(place, abs=1e-6)
    index = np.unravel_index(volume.voxels.argmax(), SHAPE)
    at = volume.to_sitk().TransformIndexToPhysicalPoint([int(i) for i in index[::-1]])
    assert at == pytest.approx(place, abs=1e-6)
    for axes in ("LPS", "RAS", "ASL"):
        turned = to_frame(volume, PatientFrame(axes))
        assert axes_of(turned) == axes
        assert brightest_mm(turned) == pytest.approx(place, abs=1e-6)
    # Linear interpolation keeps the centre of mass where the new grid is no coarser.
    fine = to_frame(volume, PatientFrame("LPS", (1.0, 1.0, 1.0)), fill=0.0)
    assert centre_of_mass_mm(fine) == pytest.approx(place, abs=0.05)


def turned(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (c, s * 0.6, s * 0.8, -s, c * 0.6, c * 0.8)  # row x column leaves all three planes


def test_oblique_volume_is_kept_and_straightened(tmp_path):
    files, place = spot_series(tmp_path, turned(25))
    volume = read_volume(files)
    assert brightest_mm(volume) == pytest.approx(place, abs=1e-3)  # cosines have 6 decimals
    straight = to_frame(volume, PatientFrame("LPS", (1.0, 1.0, 1.0), straight=True), fill=0.0)
    assert straight.direction == pytest.approx(np.eye(3).ravel())
    # 2 to 3 mm voxels through two linear interpolations: a quarter of a millimetre.
    assert centre_of_mass_mm(straight) == pytest.approx(place, abs=0.25)


def test_same_affine_and_voxels_as_simpleitk(tmp_path):
    files = write_ct(tmp_path, ramp(), (1, 2, 3), SPACING, turned(25))
    volume = read_volume(files)
    image = sitk.ReadImage([str(file) for file in files])
    assert np.array_equal(volume.voxels, sitk.GetArrayFromImage(image))
    assert volume.spacing_mm == pytest.approx(image.GetSpacing(), abs=1e-4)
    assert volume.origin_mm == pytest.approx(image.GetOrigin(), abs=1e-4)
    assert volume.direction == pytest.approx(image.GetDirection(), abs=1e-5)
    assert (volume.units, volume.modality) == ("HU", "CT")


@pytest.mark.parametrize("axes", ["LPX", "LRS", "LP", "lps"])
def test_axes_that_are_none(tmp_path, axes):
    volume = read_volume(write_ct(tmp_path, ramp()))
    with pytest.raises(UserError, match="are no axes of a patient"):
        to_frame(volume, PatientFrame(axes))
    with pytest.raises(UserError, match="is not positive"):
        to_frame(volume, PatientFrame(spacing_mm=(1, 0, 1)))


def tilted_series(folder, slope=0.25):
    """Slices of a straight rod along z, scanned with a tilt: it wanders through the slices."""
    hu = np.zeros((9, 40, 12), np.int16)
    for k in range(9):
        y = 30.0 - k * slope * 4.0  # the rod lies at y = 30 mm; slice k starts at k * slope * 4
        low = int(np.floor(y))
        hu[k, low, 4], hu[k, low + 1, 4] = 1000 * (1 - (y - low)), 1000 * (y - low)
    return write_ct(folder, hu, (0, 0, 0), (1.0, 1.0, 4.0), step=(0, slope * 4.0, 4.0))


@pytest.mark.parametrize("slope", [0.25, 0.2, -0.15])
def test_gantry_tilt_is_refused_or_straightened(tmp_path, slope):
    files = tilted_series(tmp_path, slope)
    with pytest.raises(SeriesError, match="gantry tilt"):
        read_volume(files)
    straight = read_volume(files, options=ReadOptions(deshear=True))
    assert straight.direction == pytest.approx(np.eye(3).ravel())
    assert straight.spacing_mm == pytest.approx((1, 1, 4))
    for k in range(9):
        image = np.clip(straight.voxels[k].astype(float), 0, None)
        row = (image.sum(axis=1) * np.arange(image.shape[0])).sum() / image.sum()
        assert straight.patient_mm((k, row, 4)) == pytest.approx((4, 30, 4 * k), abs=0.02)


def test_several_acquisitions_at_one_position(tmp_path):
    files = []
    for echo in (80, 15):
        files += write_ct(tmp_path, ramp() + echo, series="a", name=f"e{echo}_{{}}")
    for file in files:
        rewrite(file, Modality="MR", EchoTime=80 if "e80" in file.name else 15)
    with pytest.raises(SeriesError, match=r"2 acquisitions .* EchoTime \(15.*, 80.*\)"):
        read_volume(files)
    late = read_volume(files, options=ReadOptions(part=1))
    assert late.voxels[0, 0, 0] == ramp()[0, 0, 0] + 80
    with pytest.raises(SeriesError, match="Choose one of part 0 to 1"):
        read_volume(files, options=ReadOptions(part=2))


def test_true_duplicate_is_refused(tmp_path):
    files = write_ct(tmp_path, ramp()) + write_ct(tmp_path, ramp()[:1], name="copy{}")
    with pytest.raises(SeriesError, match=r"share the position z = 0\.0"):
        read_volume(files)


def test_gap_in_a_sagittal_series_is_told_along_x(tmp_path):
    files = write_ct(tmp_path, ramp(), orientation=(0, 1, 0, 0, 0, -1))
    with pytest.raises(SeriesError, match=r"between x = .* \(1 missing\)"):
        read_volume(files[:3] + files[4:])


def test_single_slice_needs_a_thickness(tmp_path):
    (file,) = write_ct(tmp_path, ramp()[:1])
    with pytest.raises(SeriesError, match="states no thickness"):
        read_volume([file])
    rewrite(file, SliceThickness=4)
    assert read_volume([file]).spacing_mm == (3, 3, 4)
    with pytest.raises(SeriesError, match="at least 3"):
        read_volume([file], options=ReadOptions(tolerance=Tolerance(min_slices=3)))


@pytest.mark.parametrize(
    ("read", "modality"), [(read_volume, "CT"), (read_volume, "MR"), (read_series, "CT")]
)
def test_padding_that_leaves_no_image(tmp_path, read, modality):
    hu = np.full((8, 6, 5), -1000, np.int16)
    hu[:, 2:4, 2] = -1024 if modality == "CT" else 40
    files = write_ct(tmp_path, hu, Modality=modality)
    for file in files:
        data = pydicom.dcmread(file)
        if modality == "MR":
            del data.RescaleSlope, data.RescaleIntercept
        data.add_new("PixelPaddingValue", "US", 24)
        data.save_as(file)
    with pytest.raises(SeriesError, match="so that no image is left"):
        read(files, modality)
    data.PixelData = data.PixelData[:-2] + bytes([7, 7])  # one other pixel in the last slice
    data.save_as(files[-1])
    voxels = read(files, modality).voxels
    assert len(np.unique(voxels)) == 2 and voxels[-1, -1, -1] == voxels.max()


def test_side_that_the_header_contradicts(tmp_path):
    files = write_ct(tmp_path, ramp(), Laterality="L")
    assert read_volume(files).laterality == "L"
    rewrite(files[0], ImageLaterality="R")
    with pytest.raises(SeriesError, match=r"itself .* \(Laterality L, ImageLaterality R\)"):
        read_volume(files)
