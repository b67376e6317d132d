"""The spine phantom: fractures as they are defined, and nothing else that tells them apart."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from scipy.stats import norm

from msk_jax.data.images.series import read_series
from msk_jax.data.sources.scan import scan
from msk_jax.errors import UserError
from msk_jax.phantoms import ThoracolumbarPhantom
from msk_jax.phantoms.sacroiliac.checks import global_features
from msk_jax.phantoms.spine.checks import measure, oracle_auc, outside
from msk_jax.phantoms.spine.cohort import draw_patient, render_patient, true_parameters
from msk_jax.phantoms.spine.fractures import add_fracture, draw_control
from msk_jax.phantoms.spine.render import spine_grid, to_spine
from msk_jax.phantoms.spine.vertebra import body

CONFIG = ThoracolumbarPhantom(patients=150)
SMALL = dataclasses.replace(CONFIG, matrix=48, pixel_mm=3.4, slice_spacing_mm=3.0)


@pytest.fixture(scope="module")
def drawn():
    return [draw_patient(CONFIG, number) for number in range(CONFIG.patients)]


@pytest.fixture(scope="module")
def parameters(drawn):
    return pd.DataFrame([true_parameters(patient) for patient in drawn])


def test_classes_come_in_their_shares(drawn):
    counts = [sum(p.kind == kind for p in drawn) for kind in ThoracolumbarPhantom.classes]
    np.testing.assert_allclose(np.array(counts) / len(drawn), CONFIG.shares, rtol=1e-12)
    for kind in ThoracolumbarPhantom.classes:
        sites = [p.site for p in drawn if p.kind == kind]
        assert abs(sites.count("A") - sites.count("B")) <= 1


def test_fractures_are_as_defined(drawn, parameters):
    """Limits of the definitions: a wedge of at most 10 % is normal; a compressed body keeps its
    posterior wall and canal; a burst one loses both, and its pedicles stand apart."""
    loss = pd.DataFrame(
        {
            "anterior": p.findings[0].anterior_loss,
            "posterior": p.findings[0].posterior_loss,
            "spread": p.findings[0].spread,
        }
        for p in drawn
    )
    kind = parameters["true_label"]
    assert (loss[kind == "normal"]["anterior"] <= 0.10).all()
    assert (loss[kind != "burst"]["posterior"] <= 0.05).all()
    assert (loss[kind != "burst"]["spread"].abs() <= 0.03).all()
    assert (parameters[kind != "burst"]["retropulsion_mm"] == 0).all()
    burst = parameters[kind == "burst"]
    assert burst["retropulsion_mm"].between(1.5, 12).all()
    assert (burst["canal_mm"] < 15).mean() > 0.9 and (burst["canal_mm"] >= 5).all()
    medians = loss.groupby(kind).median()
    assert medians.loc["compression", "anterior"] > 0.13 > medians.loc["normal", "anterior"]
    assert medians.loc["burst", "posterior"] > 0.08 and medians.loc["burst", "spread"] > 0.05


def test_without_severity_the_label_means_nothing(drawn):
    flat = dataclasses.replace(CONFIG, severity=0.0)
    for patient in drawn[:20]:
        other = draw_patient(flat, patient.number)
        healthy = {**patient.findings, 0: other.findings[0]}
        assert other == dataclasses.replace(patient, findings=healthy), "all else stays"
        assert other.findings[0].cracks == () and other.findings[0].band_strength == 0


def test_body_has_the_size_that_was_drawn(drawn):
    """Volume of the signed distance's inside against that of an elliptic to rectangular prism."""
    spine = drawn[0].spine
    v, control = spine.vertebra, drawn[0].findings[-1]
    axis = np.arange(-30, 30, dtype=np.float32) + 0.5
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    inside = body(v, control, x, y, z)[0] < 0
    height = (v.anterior_mm + v.posterior_mm) / 2
    box = 4 * v.half_width_mm * v.half_depth_mm * height
    assert np.pi / 4 * 0.8 < inside.sum() / box < 1
    for axis_name, half in ((0, v.half_width_mm), (1, v.half_depth_mm + control.lip_mm)):
        reach = np.ptp(np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis_name})))) + 1
        assert 2 * half - 6 <= reach <= 2 * half + 1


def test_series_manifest_and_masks_agree(spine_cohort):
    manifest = pd.read_csv(spine_cohort / "manifest.csv")
    truth = pd.read_csv(spine_cohort / "parameters.csv")
    assert set(manifest["label"]) == set(ThoracolumbarPhantom.classes)
    found = scan(spine_cohort / "dicom")
    row = manifest[manifest["label"] == "burst"].iloc[0]
    series = read_series(found.series[row["series_uid"]], "CT")
    mask = sitk.ReadImage(str(spine_cohort / "masks" / f"{row['patient_id']}.nii.gz"))
    assert mask.GetSize() == series.voxels.shape[::-1]
    np.testing.assert_allclose(mask.GetOrigin(), series.origin_mm, atol=1e-3)
    np.testing.assert_allclose(mask.GetSpacing(), series.spacing_mm, atol=1e-3)
    marks = np.argwhere(np.isin(sitk.GetArrayFromImage(mask), (1, 2, 3)))[:, ::-1]
    places = marks * np.array(mask.GetSpacing()) + mask.GetOrigin()
    centre = row[["centre_x_mm", "centre_y_mm", "centre_z_mm"]].to_numpy(float)
    # Within the body (23 mm to a side, 30 mm high) give or take the reader's click.
    assert len(places) and (np.abs(places - centre) < 32).all()
    assert truth["true_label"].tolist() == manifest["label"].tolist()


def test_pose_is_a_rotation_about_the_level(drawn):
    spine = drawn[0].spine
    points = np.random.default_rng(0).normal(0, 30, (3, 20))
    moved = np.array(to_spine(spine, *(points + np.array(spine.centre_mm)[:, None])))
    # Single precision at coordinates of some hundred millimetres.
    np.testing.assert_allclose(
        np.linalg.norm(moved, axis=0), np.linalg.norm(points, axis=0), rtol=1e-4
    )
    assert not np.allclose(moved, points, atol=0.1)


def test_a_collapsed_body_leaves_no_fat_above_it(drawn):
    """Disc and blood follow the end plate down; fat there would give any fracture away."""
    found = next(p for p in drawn if p.findings[0].anterior_loss > 0.4)
    upright = dataclasses.replace(found.spine, tilt_deg=(0.0, 0.0, 0.0), texture_hu=0.0)
    grid = spine_grid(upright, SMALL.matrix, SMALL.pixel_mm, 1.0)
    patient = dataclasses.replace(found, spine=upright, grid=grid)
    hu = render_patient(patient, 0).hu
    column, row, middle = (np.array(upright.centre_mm) - grid.origin_mm) / (
        grid.pixel_mm,
        grid.pixel_mm,
        1.0,
    )
    row -= 0.5 * upright.vertebra.half_depth_mm / SMALL.pixel_mm
    c, r, k = (round(float(v)) for v in (column, row, middle))
    profile = hu[k : k + round(upright.pitch_mm), r - 1 : r + 2, c - 2 : c + 3].mean(axis=(1, 2))
    assert profile.min() > 0, "fat is -100 HU, a disc 60 to 100"


def _with_each_kind(patient):
    """The scan of the same spine without and with either fracture."""
    seed, number = SMALL.seed, patient.number
    for kind in ThoracolumbarPhantom.classes:
        control = draw_control(seed, number, "0")
        level = add_fracture(control, kind, patient.expression, seed, number)
        findings = {**patient.findings, 0: level}
        yield render_patient(dataclasses.replace(patient, findings=findings), seed).hu


def test_intensities_do_not_tell_the_classes_apart():
    """Mean, SD, noise power and every bin of the histogram differ by less than what gives an AUC
    of 0.60, sqrt(2) Phi^-1(0.60) deviations; and outside of the vertebra not a voxel differs."""
    patients = [draw_patient(SMALL, number) for number in range(8)]
    scans = [list(_with_each_kind(patient)) for patient in patients]
    found = np.array([[global_features(hu) for hu in each] for each in scans])
    spread = np.sqrt(found.var(axis=0, ddof=1).mean(axis=0))
    for a, b in ((0, 1), (0, 2), (1, 2)):
        apart = np.abs((found[:, a] - found[:, b]).mean(axis=0))
        assert (apart <= np.sqrt(2) * norm.ppf(0.60) * spread).all(), (a, b)
    for patient, (normal, *broken) in zip(patients, scans, strict=True):
        seen = outside(patient)
        assert 0.6 < seen.mean() < 0.9
        for hu in broken:
            assert (hu != normal).any()
            np.testing.assert_array_equal(hu[seen], normal[seen])


def test_the_cohort_can_be_measured():
    found = measure(dataclasses.replace(SMALL, patients=9, shares=(0.34, 0.33, 0.33)))
    assert found["oracle_auc"] > 0.9 and all(0 <= value <= 1 for value in found.values()), found


def test_oracle_falls_with_the_severity(parameters):
    faint = dataclasses.replace(CONFIG, severity=0.25)
    table = pd.DataFrame([true_parameters(draw_patient(faint, n)) for n in range(CONFIG.patients)])
    none = dataclasses.replace(CONFIG, severity=0.0)
    blank = pd.DataFrame([true_parameters(draw_patient(none, n)) for n in range(CONFIG.patients)])
    areas = [oracle_auc(t) for t in (parameters, table, blank)]
    assert areas[0] > 0.97 > areas[1] > 0.6 > areas[2] > 0.4


def test_same_seed_same_scan_and_label_noise():
    patient = draw_patient(SMALL, 3)
    one, two = (render_patient(patient, 0) for _ in range(2))
    np.testing.assert_array_equal(one.hu, two.hu)
    noisy = dataclasses.replace(SMALL, label_noise=0.3)
    told = [draw_patient(noisy, n) for n in range(100)]
    assert 15 <= sum(p.said != p.kind for p in told) <= 45


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"matrix": 60}, "field of view is 42 mm"),
        ({"shares": (0.5, 0.5, 0.5)}, "sum to 1"),
        ({"severity": 3}, "severity is 3"),
        ({"sites": ()}, "no site"),
    ],
)
def test_settings_that_cannot_be(change, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(CONFIG, **change).check()
