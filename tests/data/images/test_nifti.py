"""NIfTI files: one volume in every file form, and headers that say two things or none."""

import gzip
import itertools

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from msk_jax.data.images.nifti import read_labels, read_nifti
from msk_jax.data.images.nifti_place import corners_apart
from msk_jax.data.images.volume import ReadOptions
from msk_jax.data.regions.masks import read_mask
from msk_jax.data.regions.volume import VolumeRegion
from msk_jax.data.regions.volume_crops import read_whole
from msk_jax.errors import SeriesError

SHAPE, SPACING = (16, 20, 9), (0.75, 0.5, 3.0)
VALUES = np.random.default_rng(0).integers(-900, 900, SHAPE).astype(np.int16)
AFFINE = np.diag([-0.75, -0.5, 3.0, 1.0])  # as DICOM has them: to the left, to the back, up
AFFINE[:3, 3] = (5.0, -20.0, 4.0)
SFORM, QFORM = ReadOptions(nifti_form="sform"), ReadOptions(nifti_form="qform")


def save(
    path,
    values=VALUES,
    sform=AFFINE,
    qform=AFFINE,
    kind=nibabel.Nifti1Image,
    codes=(2, 1),
    dtype=None,
    **fields,
):
    """Write a volume whose header states these; without a form, its code is 0."""
    image = kind(values, AFFINE, dtype=dtype)
    image.set_sform(sform, 0 if sform is None else codes[0])
    image.set_qform(qform, 0 if qform is None else codes[1])
    for name, value in fields.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def patched(path, *changes):
    """Write over bytes of an unpacked file: (place, bytes)."""
    content = bytearray(path.read_bytes())
    for place, data in changes:
        content[place : place + len(data)] = data
    path.write_bytes(content)
    return path


def moved(**changes):
    """The affine with other numbers: `xy=1.0` is row x, column y."""
    affine = AFFINE.copy()
    for place, value in changes.items():
        affine["xyz".index(place[0]), "xyzt".index(place[1])] = value
    return affine


def scaled(path, slope, intercept, values=VALUES):
    return patched(save(path, values), (112, np.float32([slope, intercept]).tobytes()))


def other_axes(order, flips):
    """The volume stored along other axes, the same in the patient."""
    values, affine = VALUES.transpose(order), AFFINE.copy()
    affine[:3, :3] = AFFINE[:3, list(order)]
    for axis in flips:
        affine[:3, 3] += (values.shape[axis] - 1) * affine[:3, axis]
        affine[:3, axis] *= -1
        values = np.flip(values, axis)
    return values, affine


def big_endian(path):
    header = nibabel.Nifti1Header(endianness=">")
    nibabel.save(nibabel.Nifti1Image(VALUES, AFFINE, header), path)
    return path


def renamed(path, name):
    return path.rename(path.with_name(name))


FORMS = {
    "version 2": lambda p: save(p, kind=nibabel.Nifti2Image),
    "unpacked": lambda p: save(p.with_name("a.nii")),
    "packed, by name unpacked": lambda p: renamed(save(p), "a.nii"),
    "unpacked, by name packed": lambda p: renamed(save(p.with_name("b.nii")), "a.nii.gz"),
    "sform": lambda p: save(p, qform=None),
    "qform": lambda p: save(p, sform=None),
    "qform without a sign": lambda p: patched(
        save(p.with_name("a.nii"), sform=None), (76, np.float32([0]).tobytes())
    ),
    "apart by less than 0.1 mm": lambda p: save(p, sform=moved(xt=5.05)),
    "floating": lambda p: save(p, VALUES.astype(np.float32)),
    "double": lambda p: save(p, VALUES.astype(np.float64)),
    "64 bits": lambda p: save(p, VALUES.astype(np.int64), dtype=np.int64),
    "big-endian": big_endian,
    "four dimensions": lambda p: save(p, VALUES[..., None]),
    "slope": lambda p: scaled(p.with_name("a.nii"), 0.5, -7, 2 * VALUES + 14),
    "falling slope": lambda p: scaled(p.with_name("a.nii"), -1, 3, 3 - VALUES),
    "slope of 0": lambda p: scaled(p.with_name("a.nii"), 0, -1024),
    "no slope": lambda p: scaled(p.with_name("a.nii"), np.nan, np.nan),
    "micrometres": lambda p: save(
        p,
        sform=np.diag([1e3, 1e3, 1e3, 1]) @ AFFINE,
        qform=np.diag([1e3, 1e3, 1e3, 1]) @ AFFINE,
        xyzt_units=3,
    ),
    "metres": lambda p: save(
        p,
        sform=np.diag([1e-3, 1e-3, 1e-3, 1]) @ AFFINE,
        qform=None,
        pixdim=[1, *(0.001 * np.array(SPACING)), 0, 0, 0, 0],
        xyzt_units=1,
    ),
    **{
        f"axes {order}, turned {flips}": lambda p, order=order, flips=flips: save(
            p,
            *other_axes(order, flips),
            other_axes(order, flips)[1],
        )
        for order, flips in [
            *zip(
                itertools.permutations(range(3)),
                ([0], [1], [2], [0, 1], [0, 2], [0, 1, 2]),
                strict=True,
            )
        ]
    },
}


def _crop(path):
    region = VolumeRegion(pixel_mm=1.0, slice_mm=3.0, size=20, num_slices=8)
    (crop,) = region.extract(read_whole([path], "CT")).values()
    return crop


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    path = save(tmp_path_factory.mktemp("plain") / "plain.nii.gz")
    volume = read_nifti(path)
    assert np.array_equal(volume.voxels, VALUES.T)
    assert volume.spacing_mm == pytest.approx(SPACING) and volume.origin_mm == (-5, 20, 4)
    assert volume.direction == pytest.approx(np.eye(3).ravel())
    return _crop(path)


@pytest.mark.parametrize("form", FORMS)
def test_the_same_volume_in_every_form(tmp_path, plain, form):
    crop = _crop(FORMS[form](tmp_path / "a.nii.gz"))
    assert crop.voxels.std() > 100 and np.array_equal(crop.voxels, plain.voxels)
    # The box lies about the middle of the volume and goes with it.
    within = 0.051 if "apart" in form else 1e-5
    assert crop.origin_mm == pytest.approx(plain.origin_mm, abs=within)


def test_double_precision_is_kept(tmp_path):
    values = VALUES + 0.123456789
    assert np.array_equal(read_nifti(save(tmp_path / "a.nii", values)).voxels, values.T)
    whole = VALUES.astype(np.int32) + 2**24
    assert np.array_equal(read_nifti(save(tmp_path / "a.nii", whole)).voxels, whole.T)


def _pixdim(affine):
    """The spacings of an affine, in their field."""
    return [1, *np.linalg.norm(affine[:3, :3], axis=0), 0, 0, 0, 0]


MIRRORED = moved(xx=0.75, xt=-6.25)
LARGER = AFFINE @ np.diag([1.25, 1.25, 1.25, 1])
SHEARED = moved(yz=1.0)


def test_two_places_are_refused_until_one_is_chosen(tmp_path):
    path = save(tmp_path / "a.nii", sform=LARGER)
    # The farthest corner: a quarter of 15 x 0.75, 19 x 0.5 and 8 x 3 mm.
    with pytest.raises(
        SeriesError,
        match=r"are 7\.0 mm apart at the farthest corner: the sform \(code 2\) says axes LPS, "
        r"voxels of 0.9375 x 0.625 x 3.75 mm.*; the qform \(code 1\) says axes LPS, voxels of "
        r"0.75 x 0.5 x 3 mm.*--nifti-form sform or --nifti-form qform",
    ):
        read_nifti(path)
    assert read_nifti(path, options=SFORM).spacing_mm == pytest.approx((0.9375, 0.625, 3.75))
    assert read_nifti(path, options=QFORM).spacing_mm == pytest.approx(SPACING)
    shifted = save(tmp_path / "b.nii", sform=moved(zt=4.2))
    with pytest.raises(SeriesError, match=r"0\.2 mm apart"):
        read_whole([shifted], "CT")
    assert read_whole([shifted], "CT", SFORM).origin_mm == pytest.approx((-5, 20, 4.2))


@pytest.mark.parametrize("codes", [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("options", [None, SFORM, QFORM])
def test_left_and_right_are_never_chosen(tmp_path, codes, options):
    path = save(tmp_path / "a.nii", sform=MIRRORED, codes=codes)
    says = rf"sform \(code {codes[0]}\) says axes RPS.*qform \(code {codes[1]}\) says axes LPS"
    with pytest.raises(SeriesError, match=rf"left and right: the {says}"):
        read_nifti(path, options=options)


def test_spacing_beside_the_sform(tmp_path):
    path = save(tmp_path / "a.nii", sform=LARGER, qform=None, pixdim=[1, 0.75, 0.5, 3, 0, 0, 0, 0])
    with pytest.raises(
        SeriesError, match=r"pixdim says 0.75 x 0.5 x 3 mm.*give --nifti-form sform"
    ):
        read_nifti(path)
    assert read_nifti(path, options=SFORM).spacing_mm == pytest.approx((0.9375, 0.625, 3.75))
    with pytest.raises(SeriesError, match=r"has no qform, only a sform"):
        read_nifti(path, options=QFORM)
    nought = (80, bytes(12))
    path = patched(save(tmp_path / "b.nii", qform=None), nought)
    with pytest.raises(SeriesError, match=r"pixdim says 0 x 0 x 0 mm.*give --nifti-form sform"):
        read_nifti(path)
    assert read_nifti(path, options=SFORM).spacing_mm == pytest.approx(SPACING)
    path = patched(save(tmp_path / "c.nii"), nought)
    with pytest.raises(SeriesError, match=r"The qform .*is no affine.*Give --nifti-form sform"):
        read_nifti(path)
    assert read_nifti(path, options=SFORM).spacing_mm == pytest.approx(SPACING)
    path = patched(save(tmp_path / "d.nii", sform=None), nought)
    with pytest.raises(SeriesError, match=r"The qform of d.nii is no affine.*Convert it again"):
        read_nifti(path)
    with pytest.raises(SeriesError, match="has no affine"):
        read_nifti(save(tmp_path / "e.nii", sform=None, qform=None))


def test_a_wrong_unit(tmp_path):
    path = save(tmp_path / "a.nii", xyzt_units=1)  # metres
    with pytest.raises(SeriesError, match=r"cannot be an image of a body: .* 750 x 500 x 3000 mm"):
        read_nifti(path)


def _ball(shape, affine):
    """A bright ball about (-3.5, -26, 16) mm RAS, seen by voxels of this affine."""
    index = np.indices(shape).reshape(3, -1)
    place = affine[:3, :3] @ index + affine[:3, 3:]
    distance = np.linalg.norm(place.T - (-3.5, -26.0, 16.0), axis=1)
    return (1000 * np.exp(-((distance / 3) ** 2))).reshape(shape).astype(np.float32)


@pytest.mark.parametrize("axes", [*itertools.permutations(range(3))])
@pytest.mark.parametrize("flip", [(), (2,), (0, 1)])
def test_a_shear_is_refused_or_straightened(tmp_path, axes, flip):
    affine, shape = SHEARED.copy(), [24, 40, 9]
    for axis in flip:
        affine[:3, 3] += (shape[axis] - 1) * affine[:3, axis]
        affine[:3, axis] *= -1
    affine[:3, :3], shape = affine[:3, list(axes)], [shape[axis] for axis in axes]
    path = save(tmp_path / "a.nii", _ball(shape, affine), affine, None, pixdim=_pixdim(affine))
    with pytest.raises(SeriesError, match=r"are 18\.4 degrees off a right angle.*--deshear"):
        read_nifti(path)
    volume = read_nifti(path, options=ReadOptions(deshear=True))
    assert min(volume.spacing_mm) > 0
    matrix = np.reshape(volume.direction, (3, 3))
    assert matrix.T @ matrix == pytest.approx(np.eye(3), abs=1e-9)
    index = np.array([(volume.voxels * i).sum() for i in np.indices(volume.voxels.shape)])
    place = volume.patient_mm(index / volume.voxels.sum())
    assert place == pytest.approx((3.5, 26.0, 16.0), abs=0.1)  # LPS


def test_a_shear_that_the_qform_leaves_out(tmp_path):
    image = nibabel.Nifti1Image(VALUES, SHEARED)
    image.set_sform(SHEARED, 1)
    image.set_qform(SHEARED, 1, strip_shears=True)
    nibabel.save(image, tmp_path / "a.nii")
    with pytest.raises(SeriesError, match=r"sform \(code 1\) says axes LPS, 18.4 degrees off a ri"):
        read_nifti(tmp_path / "a.nii")
    with pytest.raises(SeriesError, match="--deshear"):
        read_nifti(tmp_path / "a.nii", options=SFORM)
    skewed = moved(yz=1.0, xy=0.3, xz=1.0)
    save(tmp_path / "b.nii", sform=skewed, qform=None, pixdim=_pixdim(skewed))
    with pytest.raises(SeriesError, match=r"No two axes of b.nii are perpendicular"):
        read_nifti(tmp_path / "b.nii", options=ReadOptions(deshear=True))


def test_rounded_cosines_are_no_shear(tmp_path):
    affine = AFFINE.copy()
    turn = np.radians(17.3)
    rotation = np.array(
        [[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]]
    )
    affine[:3, :3] = np.round(rotation @ AFFINE[:3, :3], 3)
    volume = read_nifti(save(tmp_path / "a.nii", sform=affine, qform=None))
    matrix = np.reshape(volume.direction, (3, 3))
    assert matrix.T @ matrix == pytest.approx(np.eye(3), abs=1e-9)
    far = affine @ (15, 19, 8, 1) * (-1, -1, 1, 1)
    assert volume.patient_mm((8, 19, 15)) == pytest.approx(far[:3], abs=0.05)


def test_a_quaternion_whose_rounding_turns_the_volume(tmp_path):
    """An oblique axial volume, turned by nearly 180 degrees as NIfTI sees it: of the fourth part of
    its quaternion, 5e-4, single precision leaves little."""
    shape, steps = (640, 640, 2), np.diag([0.5, 0.5, 4.0])
    apart = []
    for degrees in np.linspace(0.02, 0.06, 9):
        first, second = np.radians([15, degrees])
        c, s, e, f = np.cos(first), np.sin(first), np.cos(second), np.sin(second)
        about_x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
        about_z = np.array([[-e, f, 0], [-f, -e, 0], [0, 0, 1]])
        affine = np.eye(4)
        affine[:3, :3] = about_z @ about_x @ steps
        path = save(tmp_path / "a.nii", np.zeros(shape, np.uint8), affine, affine)
        header = nibabel.load(path).header
        apart.append(corners_apart(header.get_sform(), header.get_qform(), shape))
        assert np.allclose(read_nifti(path).spacing_mm, (0.5, 0.5, 4.0))
    assert max(apart) > 0.2  # what they seem to be
    turned = affine.copy()
    turned[:2, :2] += 2e-3 * np.eye(2)[::-1]  # more than rounding does
    with pytest.raises(SeriesError, match="apart at the farthest corner"):
        read_nifti(save(tmp_path / "b.nii", np.zeros(shape, np.uint8), turned, affine))


REFUSED = {
    "values that are no numbers.*1,440 of 2,880": lambda p: save(
        p, np.where(np.arange(16)[:, None, None] < 8, np.nan, VALUES).astype(np.float32)
    ),
    "too large for one": lambda p: save(
        p, np.where(VALUES > 890, np.inf, VALUES).astype(np.float32)
    ),
    "a slope of inf": lambda p: scaled(p, np.inf, 0),
    "an intercept of nan": lambda p: scaled(p, 2, np.nan),
    "colours": lambda p: save(p, np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])),
    "complex": lambda p: save(p, VALUES.astype(np.complex64)),
    "header of a pair": lambda p: patched(save(p), (344, b"ni1\0")),
    "older Analyze form": lambda p: patched(save(p), (344, bytes(4))),
    "no volume of 3 dimensions": lambda p: save(p, np.stack([VALUES] * 3, -1)),
    "is one of a pair": lambda p: renamed(save(p), "a.hdr"),
    "damaged": lambda p: p.write_bytes(save(p).read_bytes()[:-100]),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_refused(tmp_path, reason):
    REFUSED[reason](tmp_path / "a.nii")
    (path,) = tmp_path.iterdir()
    with pytest.raises(SeriesError, match=reason):
        read_nifti(path)


def test_a_damaged_archive(tmp_path):
    content = bytearray(gzip.compress(save(tmp_path / "a.nii").read_bytes()))
    content[-6] ^= 255  # of the check sum
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(SeriesError, match="damaged"):
        read_nifti(tmp_path / "a.nii")


def test_masks_lie_where_their_header_says(tmp_path):
    labels = (VALUES > 0).astype(np.uint8)
    image = read_labels(save(tmp_path / "a.nii.gz", labels, kind=nibabel.Nifti2Image))
    theirs = sitk.GetArrayFromImage(image)
    assert np.array_equal(theirs, labels.T) and image.GetOrigin() == (-5, 20, 4)
    assert image.GetSpacing() == pytest.approx(SPACING)
    path = save(tmp_path / "b.nii.gz", labels, sform=LARGER)
    with pytest.raises(SeriesError, match="--nifti-form"):
        read_mask(path, ())
    assert read_mask(path, (), "qform").GetSpacing() == pytest.approx(SPACING)
    with pytest.raises(SeriesError, match="has no affine"):  # it would lie anywhere
        read_labels(save(tmp_path / "c.nii.gz", labels, sform=None, qform=None))
    with pytest.raises(SeriesError, match=r"The axes of the mask d.nii.gz are 18.4 degrees off"):
        read_labels(save(tmp_path / "d.nii.gz", labels, sform=SHEARED, qform=None))
    # That of a picture goes row for row.
    flat = read_labels(save(tmp_path / "e.nii.gz", labels[..., 0], sform=None, qform=None))
    assert flat.GetDimension() == 2 and flat.GetSpacing() == pytest.approx((0.75, 0.5))
