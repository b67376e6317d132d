"""A whole radiograph: its proportions, its place on the grid, its values, one per patient."""

import dataclasses

import numpy as np
import pytest

from msk_jax.data.cohort.manifest import read_manifest
from msk_jax.data.fields import Number, Word
from msk_jax.data.regions.radiograph import RadiographRegion
from msk_jax.data.regions.radiograph_crops import TOP, read_projection
from msk_jax.errors import SeriesError, UserError
from msk_jax.phantoms.radiograph_writer import Exposure, write_radiograph
from tests.cohorts import cohort_of

EXPOSURE = Exposure(
    "P1", "Nobody", "F", 61, "A", "panel", "DX", False, "CHEST", "PA", "U", 1, 1, 0, 110.0, 2.0, 1.0
)
COHORT = cohort_of(
    modality="CR/DX",
    classes=("well", "ill"),
    levels=("image", "radiograph", "patient"),
    region=RadiographRegion(),
    variables=(Number("bmi", "kg/m2", 10, 60),),
)


def _written(folder, **changes):
    """A wide picture that brightens from left to right and, more, from top to bottom."""
    row, column = np.meshgrid(np.arange(30), np.arange(60), indexing="ij")
    stored = (1000 + 10 * column + 40 * row).astype(np.uint16)
    path = folder / "film.dcm"
    return write_radiograph(path, dataclasses.replace(EXPOSURE, **changes), stored), stored


@pytest.mark.parametrize("changes", [{}, {"kind": "CR", "inverted": True}])
def test_values_are_those_of_the_picture_whatever_the_detector(tmp_path, changes):
    path, stored = _written(tmp_path, **changes)
    series = read_projection([path])
    low, high = np.percentile(stored, (0.5, 99.5))
    expected = (stored - low) * TOP / (high - low)
    # Stored as whole numbers: half a unit of rounding.
    np.testing.assert_allclose(series.voxels[::-1, 0], expected, atol=0.51)
    assert (series.age_years, series.sex, series.is_projection) == (61, "F", True)
    assert series.spacing_mm == (2.0, 1.0, 2.0)


def test_square_keeps_the_proportions_and_pads(tmp_path):
    series = read_projection([_written(tmp_path)[0]])
    (crop,) = RadiographRegion(size=60).extract(series).values()
    assert crop.voxels.shape == (1, 60, 60) and crop.spacing_mm == (2.0, 2.0, 1.0)
    np.testing.assert_array_equal(crop.voxels[0, 15:45], series.voxels[::-1, 0])
    assert (crop.voxels[0, :14] == series.voxels.min()).all()
    half = RadiographRegion(size=30).extract(series)["whole"]
    assert half.spacing_mm == (4.0, 4.0, 1.0)
    # A linear picture is the same at half the size: the mean of 2 x 2 pixels, but for the rim.
    means = crop.voxels.reshape(30, 2, 30, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(half.voxels[0, 10:20, 3:27], means[10:20, 3:27], atol=1)
    # Column 10 of row 20, counted from the top left, in the patient.
    place = half.to_sitk().TransformIndexToPhysicalPoint((10, 20, 0))
    assert place == pytest.approx((41.0, 0.0, 7.0))


def test_a_name_makes_no_picture_of_a_dicom_file(tmp_path):
    path, _ = _written(tmp_path)
    named = read_projection([path.rename(tmp_path / "scan.png")])
    assert named.modality == "DX" and named.patient_id


def test_what_is_no_single_radiograph(tmp_path):
    path, _ = _written(tmp_path)
    with pytest.raises(SeriesError, match="holds 2 images where one radiograph is due"):
        read_projection([path, path])
    with pytest.raises(SeriesError, match="The modality is DX, not CT"):
        read_projection([path], "CT")
    write_radiograph(path, EXPOSURE, np.full((8, 8), 7, np.uint16))
    with pytest.raises(SeriesError, match="nearly all of it has one value"):
        read_projection([path])


def test_a_patient_has_one_and_the_manifest_no_column_for_it(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("patient_id,label,bmi\n1,ill,22.5\n2,well,\n")
    rows = read_manifest(path, COHORT).rows
    assert [(row.unit, row.label) for row in rows] == [("whole", 1), ("whole", 0)]
    assert rows[0].variables == (22.5,) and np.isnan(rows[1].variables[0])
    path.write_text("patient_id,label\n1,ill\n1,ill\n")
    with pytest.raises(Exception, match="rows 2, 3: the whole radiograph of 1 is given twice"):
        read_manifest(path, COHORT)


VIEWS = cohort_of(
    modality="CR/DX",
    classes=("well", "ill"),
    levels=("image", "radiograph", "patient"),
    region=RadiographRegion(size=30, views=("AP", "LL")),
    variables=(Word("bone", words=("femur", "tibia"), required=True),),
)


def test_views_are_units_of_their_patient(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("patient_id,view,path,label,bone\n1,AP,a.dcm,ill,tibia\n1,LL,b.dcm,ill,tibia\n")
    rows = read_manifest(path, VIEWS).rows
    assert [(row.unit, row.place, row.variables) for row in rows] == [
        ("AP", "AP", ("tibia",)),
        ("LL", "LL", ("tibia",)),
    ]
    series = read_projection([_written(tmp_path)[0]])
    assert list(VIEWS.region.extract(series, "LL")) == ["LL"]
    assert list(VIEWS.region.extract(series)) == ["whole"]  # nobody said which view it is


@pytest.mark.parametrize(
    "row, fault",
    [
        ("1,LL,b.dcm,ill,patella", r"row 3: bone 'patella' is not one of femur, tibia"),
        ("1,LL,b.dcm,ill,", "row 3: bone is empty"),
        ("1,LL,b.dcm,ill,femur", "rows 2, 3: patient 1 has more than one bone"),
        ("1,AP,b.dcm,ill,tibia", "rows 2, 3: the AP radiograph of 1 is given twice"),
        ("1,PA,b.dcm,ill,tibia", "row 3: view 'PA' is not one of AP, LL"),
    ],
)
def test_faults_of_views_and_words(tmp_path, row, fault):
    path = tmp_path / "m.csv"
    path.write_text(f"patient_id,view,path,label,bone\n1,AP,a.dcm,ill,tibia\n{row}\n")
    with pytest.raises(UserError, match=fault):
        read_manifest(path, VIEWS)
