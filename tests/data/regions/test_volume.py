"""MR series and NIfTI files of any plane as boxes: what lies where in the patient lies there."""

import nibabel
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from PIL import Image
from pydicom.uid import MRImageStorage

from msk_jax.config import from_json, to_json
from msk_jax.data.build.builder import build_cohort
from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.images.volume import ReadOptions
from msk_jax.data.regions.radiograph import RadiographRegion
from msk_jax.data.regions.radiograph_crops import TOP
from msk_jax.data.regions.region import asked_options
from msk_jax.data.regions.resample import upright
from msk_jax.data.regions.volume import VolumeRegion
from msk_jax.data.regions.volume_crops import read_whole
from msk_jax.data.shards.stored import read_records
from msk_jax.errors import SeriesError, UserError
from msk_jax.study.heat_maps import series_plane
from tests.cohorts import cohort_of
from tests.conftest import REPOSITORY
from tests.data.ct_files import write_ct

SPACING, SHAPE = (1.5, 1.5, 4.0), (11, 32, 30)
PLANES = {
    "axial": (1, 0, 0, 0, 1, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
    "oblique": (0, 0.96, 0.28, 0.6, 0.224, -0.768),
}
SPOT_MM = np.array([6.0, -4.0, 3.0])
MR = {
    "Modality": "MR",
    "SOPClassUID": MRImageStorage,
    "RescaleSlope": None,
    "RescaleIntercept": None,
}
COHORT = cohort_of(
    name="discs",
    modality="MR",
    classes=("intact", "torn"),
    levels=("slice", "disc", "patient"),
    region=VolumeRegion(plane="sagittal", pixel_mm=1.2, slice_mm=3.0, size=40, num_slices=11),
)


def volume_with_a_spot(plane):
    """Values [slices, rows, columns], and the position of the first; a bright ball off the middle,
    which is that of the patient's coordinates."""
    row, column = np.array(PLANES[plane][:3]), np.array(PLANES[plane][3:])
    steps = np.array([row, column, np.cross(row, column)]) * np.array(SPACING)[:, None]
    index = np.indices(SHAPE)[::-1].reshape(3, -1).T
    origin = -(np.array(SHAPE[::-1]) - 1) / 2 @ steps
    distance = np.linalg.norm(origin + index @ steps - SPOT_MM, axis=1)
    return np.rint(900 * np.exp(-((distance / 5) ** 2))).reshape(SHAPE).astype(np.int16), origin


def write_mr(folder, plane, **tags):
    values, origin = volume_with_a_spot(plane)
    return write_ct(folder, values, origin, SPACING, PLANES[plane], **MR, **tags)


def spot_mm(voxels, origin_mm, spacing_mm, direction):
    """Centre of mass above the darkest value, in the patient."""
    weight = voxels.astype(float) - voxels.min()
    index = [(weight * i).sum() / weight.sum() for i in np.indices(weight.shape)[::-1]]
    return np.array(origin_mm) + np.reshape(direction, (3, 3)) @ (index * np.array(spacing_mm))


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
@pytest.mark.parametrize("acquired", PLANES)
def test_a_landmark_stays_in_its_place(tmp_path, acquired, plane):
    series = read_whole(write_mr(tmp_path, acquired))
    region = VolumeRegion(plane=plane, pixel_mm=1.2, slice_mm=2.0, size=44, num_slices=23)
    (crop,) = region.extract(series).values()
    assert crop.voxels.shape == (23, 44, 44) and 0.9 * TOP < crop.voxels.max() < 3 * TOP
    found = spot_mm(crop.voxels, crop.origin_mm, crop.spacing_mm, crop.direction)
    assert found == pytest.approx(SPOT_MM, abs=0.1)
    # Each slice is where it is said to be, and the picture of the series shows it there too.
    axis = {"axial": 2, "sagittal": 0, "coronal": 1}[plane]
    brightest = crop.positions_mm[crop.voxels.max(axis=(1, 2)).argmax()]
    assert brightest == pytest.approx(SPOT_MM[axis], abs=2.01)
    shown = series_plane(series, crop.direction, float(SPOT_MM[axis]))
    row, column = np.unravel_index(shown.values.argmax(), shown.values.shape)
    left, top = (SPOT_MM[1 if axis == 0 else 0], SPOT_MM[1] if axis == 2 else -SPOT_MM[2])
    assert shown.origin_mm[0] + column * shown.spacing_mm[0] == pytest.approx(left, abs=2.01)
    assert shown.origin_mm[1] + row * shown.spacing_mm[1] == pytest.approx(top, abs=2.01)


def test_upright_leaves_what_is_upright(tmp_path):
    series = read_whole(write_mr(tmp_path, "axial"))
    assert upright(series) is series


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Four patients in DICOM, two in NIfTI, and a photograph."""
    folder = tmp_path_factory.mktemp("discs")
    rows = []
    for k, plane in enumerate(("sagittal", "coronal", "oblique", "axial")):
        write_mr(folder / "images" / f"{k}", plane, patient_id=f"M{k}")
        rows.append({"patient_id": f"M{k}"})
    for k, axes in ((4, "RAS"), (5, "LIP")):
        values, origin = volume_with_a_spot("axial")
        image = sitk.GetImageFromArray(values)
        image.SetSpacing(SPACING)
        image.SetOrigin(origin)
        sitk.WriteImage(sitk.DICOMOrient(image, axes), folder / "images" / f"{k}.nii.gz")
        rows.append({"patient_id": f"M{k}", "path": f"{k}.nii.gz"})
    Image.fromarray(values[5].astype(np.uint8)).save(folder / "images" / "6.png")
    rows.append({"patient_id": "M6", "path": "6.png"})
    table = pd.DataFrame(rows).assign(label=[COHORT.classes[k % 2] for k in range(7)])
    table.to_csv(folder / "labels.csv", index=False)
    build_cohort(COHORT, folder / "images", folder / "labels.csv", folder / "data", num_folds=3)
    return folder / "data"


def test_records_of_series_and_nifti_files(built):
    records = list(read_records(built))
    assert sorted(record["label"] for record in records) == [0, 0, 0, 1, 1, 1]
    for record in records:
        assert record["volume"].shape == (11, 40, 40) and record["stack_labels"].shape == (11,)
        place = (record["origin_mm"], record["spacing_mm"], record["direction"])
        assert spot_mm(record["volume"], *place) == pytest.approx(SPOT_MM, abs=0.1)
    ages = np.array([record["age"] for record in records])
    assert (ages == 45).sum() == 4 and np.isnan(ages).sum() == 2  # NIfTI has no age
    (rejected,) = pd.read_csv(built / "rejected.csv").to_dict("records")
    assert "is a picture, and a volume is due" in rejected["reason"]


def test_quality_speaks_of_the_acquired_slices(built):
    quality = pd.read_csv(built / "quality.csv")
    # The slices of the last NIfTI file are what the rows of the others are.
    assert sorted(quality["slice_spacing_mm"]) == [1.5, 4, 4, 4, 4, 4]
    assert sorted(quality["num_slices"]) == [11, 11, 11, 11, 11, 32]
    # 11 slices of 4 mm, or 32 rows of 1.5 mm, and of the oblique series the box that holds it.
    oblique = 0.28 * 45 + 0.768 * 48 + abs(np.cross((0, 0.96, 0.28), (0.6, 0.224, -0.768))[2]) * 44
    expected = sorted([44, 44, 44, 48, 48, round(oblique, 1)])
    assert sorted(quality["coverage_mm"]) == pytest.approx(expected, abs=0.06)


def test_another_modality_is_refused(tmp_path):
    files = write_mr(tmp_path, "axial")
    with pytest.raises(SeriesError, match="is MR where CT is due"):
        read_whole(files, "CT")
    assert read_whole(files, "CT/MR").modality == "MR"


def test_hounsfield_units_stay(tmp_path):
    values, origin = volume_with_a_spot("axial")
    series = read_whole(write_ct(tmp_path, values - 1000, origin, SPACING), "CT/MR")
    assert np.array_equal(series.voxels, values - 1000)


def test_the_cohort_of_the_guide():
    guide = REPOSITORY / "docs" / "guides" / "your-own-study.md"
    block = guide.read_text().split("```python\n")[2].partition("```")[0]
    names = {}
    exec(block, names)
    cohort = names["cohort"]
    assert from_json(to_json(cohort), Cohort, "here") == cohort
    assert (cohort.region.plane, cohort.region.max_slices) == ("sagittal", 30)


def test_choices_of_reading_reach_the_files(tmp_path):
    """Two places in one header: the sform lies 7 mm higher than the qform."""
    for k in range(6):
        values, origin = volume_with_a_spot("axial")
        image = sitk.GetImageFromArray(values)
        image.SetSpacing(SPACING)
        image.SetOrigin(origin)
        path = tmp_path / "images" / f"{k}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        sitk.WriteImage(image, path)
        stored = nibabel.load(path)
        moved = stored.affine.copy()
        moved[2, 3] += 7
        stored.set_sform(moved, 1)
        nibabel.save(stored, path)
    table = [{"patient_id": f"M{k}", "path": f"{k}.nii.gz"} for k in range(6)]
    labels = tmp_path / "labels.csv"
    pd.DataFrame(table).assign(label=["intact", "torn"] * 3).to_csv(labels, index=False)
    about = (COHORT, tmp_path / "images", labels)
    cache = tmp_path / "cache"
    with pytest.raises(UserError, match=r"\[6 x\] .*7.0 mm apart.*--nifti-form sform or --nifti"):
        build_cohort(*about, tmp_path / "none", num_folds=3, cache=cache)
    for form, higher in (("sform", 7), ("qform", 0)):
        options = asked_options(COHORT.region, form, False)
        build_cohort(*about, tmp_path / form, num_folds=3, options=options, cache=cache)
        for record in read_records(tmp_path / form):
            place = (record["origin_mm"], record["spacing_mm"], record["direction"])
            expected = SPOT_MM + np.array([0, 0, higher])
            assert spot_mm(record["volume"], *place) == pytest.approx(expected, abs=0.1)
    with pytest.raises(UserError, match="a build from other choices of reading"):
        build_cohort(*about, tmp_path / "sform", num_folds=3, options=options)


def test_choices_that_a_region_does_not_leave():
    assert asked_options(RadiographRegion(), None, False) is None
    for chosen in (("qform", False), (None, True)):
        assert asked_options(VolumeRegion(), *chosen) is not None
        with pytest.raises(UserError, match="--nifti-form and --deshear are for systems that read"):
            asked_options(RadiographRegion(), *chosen)


def test_gantry_tilt_is_straightened_when_asked(tmp_path):
    values, origin = volume_with_a_spot("axial")
    files = write_ct(tmp_path, values - 1000, origin, SPACING, step=(0.0, 0.7, 4.0))
    with pytest.raises(SeriesError, match="gantry tilt"):
        read_whole(files, "CT")
    series = read_whole(files, "CT", ReadOptions(deshear=True))
    assert series.voxels.shape[0] == len(values) and series.voxels.shape[1] > values.shape[1]
