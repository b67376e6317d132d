"""A vertebra is cut where the manifest says, in planes that lie as they should in the patient."""

import numpy as np
import pytest

from msk_jax.data.cohort.manifest import read_manifest
from msk_jax.data.images.series import read_series
from msk_jax.data.regions.vertebra import VertebraRegion
from msk_jax.errors import SeriesError, UserError
from tests.cohorts import cohort_of
from tests.data.ct_files import write_ct

REGION = VertebraRegion(plane="both", pixel_mm=1.0, size=21, num_images=3, step_mm=2.0)
COHORT = cohort_of(
    classes=("normal", "compression", "burst"),
    levels=("image", "vertebra", "patient"),
    region=REGION,
    refused={"A": "A is a folder's name"},
)
COLUMNS = "patient_id,level,label,centre_x_mm,centre_y_mm,centre_z_mm\n"


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """A field that rises by 1 HU per mm along x, 5 along y and 20 along z, through linear values
    that interpolation keeps."""
    z, y, x = np.meshgrid(np.arange(30) * 2.0, np.arange(60), np.arange(60), indexing="ij")
    hu = x + 5 * y + 20 * z - 500
    files = write_ct(
        tmp_path_factory.mktemp("ct"),
        hu.astype(np.int16),
        spacing=(1.0, 1.0, 2.0),
        origin=(-30.0, -20.0, 100.0),
    )
    return read_series(files, "CT")


def _value(x, y, z):
    return (x + 30) + 5 * (y + 20) + 20 * (z - 100) - 500


def test_both_planes_hold_what_the_patient_has_there(series):
    centre = (2.0, 11.0, 130.0)
    crops = REGION.extract(series, ("L1", *centre))
    assert list(crops) == ["L1/axial", "L1/sagittal"]
    for crop in crops.values():
        axes = np.reshape(crop.direction, (3, 3))
        for index in ((0, 0, 0), (1, 10, 10), (2, 20, 3)):
            k, j, i = index
            place = np.array(crop.origin_mm) + axes @ (np.array([i, j, k]) * crop.spacing_mm)
            # Stored as whole numbers: half a unit of rounding.
            assert crop.voxels[index] == pytest.approx(_value(*place), abs=0.51)
            assert crop.to_sitk().TransformIndexToPhysicalPoint((i, j, k)) == pytest.approx(place)
        assert crop.voxels[1, 10, 10] == pytest.approx(_value(*centre), abs=0.51)
    axial, sagittal = crops["L1/axial"], crops["L1/sagittal"]
    assert axial.positions_mm.tolist() == [128, 130, 132]
    assert sagittal.positions_mm.tolist() == [0, 2, 4]
    # Head on top, anterior on the left.
    assert sagittal.voxels[1, 0, 10] > sagittal.voxels[1, 20, 10]
    assert sagittal.voxels[1, 10, 20] > sagittal.voxels[1, 10, 0]


def test_what_cannot_be_cut(series):
    with pytest.raises(SeriesError, match="Give a manifest with patient_id, level"):
        REGION.extract(series)
    with pytest.raises(SeriesError, match="L2 leaves the scan by 40 mm"):
        VertebraRegion(pixel_mm=1.0, size=21).extract(series, ("L2", -60.0, 10.0, 130.0))


def test_manifest_of_vertebrae(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text(COLUMNS + "1,L1,burst,1,2,3\n1,L2,normal,1,2,40\n")
    rows = read_manifest(path, COHORT).rows
    assert [(r.unit, r.label, r.patient_label, r.place) for r in rows] == [
        ("L1", 2, 2, ("L1", 1, 2, 3)),
        ("L2", 0, 2, ("L2", 1, 2, 40)),
    ]
    path.write_text(COLUMNS + "1,L1,A,1,2,3\n2,L9,normal,1,,3\n")
    with pytest.raises(UserError) as caught:
        read_manifest(path, COHORT)
    for fault in (
        "row 2: label 'A' is not one of normal, compression, burst (A is a folder's name)",
        "row 3: level 'L9' is not one of T1",
        "row 3: centre_x_mm, centre_y_mm and centre_z_mm must all be given",
    ):
        assert fault in str(caught.value)


def test_places_without_labels(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("patient_id,level,centre_x_mm,centre_y_mm,centre_z_mm\n1,L1,1,2,3\n")
    assert read_manifest(path, COHORT, labelled=False).rows[0].place == ("L1", 1, 2, 3)
    with pytest.raises(UserError, match=r"lacks the column\(s\) label"):
        read_manifest(path, COHORT)
