"""AO Spine's types as defined: by end plates, posterior wall and the marks of the truth."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from msk_jax.errors import UserError
from msk_jax.phantoms import AOSpinePhantom
from msk_jax.phantoms.spine.ao_fractures import add_ao_fracture
from msk_jax.phantoms.spine.checks import measure, oracle_auc, outside
from msk_jax.phantoms.spine.cohort import draw_patient, render_patient, true_parameters
from msk_jax.phantoms.spine.fractures import draw_control
from msk_jax.phantoms.spine.settings import TYPES
from msk_jax.phantoms.spine.vertebra import FRAGMENT, LINE, end_plates, materials

CONFIG = AOSpinePhantom(patients=100)
SMALL = dataclasses.replace(CONFIG, matrix=48, pixel_mm=3.4, slice_spacing_mm=3.0)


@pytest.fixture(scope="module")
def drawn():
    return [draw_patient(CONFIG, number) for number in range(CONFIG.patients)]


def _lost(patient):
    """Height that the upper and the lower end plate have lost at the front of the body, mm."""
    front = np.float32(-0.8 * patient.spine.vertebra.half_depth_mm)
    return [float(lost) for lost in end_plates(*_shape(patient), np.float32(0), front)[2:]]


def _shape(patient):
    return patient.spine.vertebra, patient.findings[0]


def _marks(patient, code):
    """Points of the vertebra [n, 3] that are marked with a code, on a grid of 1.5 mm."""
    axis = np.arange(-45, 45, 1.5, dtype=np.float32)
    points = np.stack(np.meshgrid(axis, axis, axis[14:46], indexing="ij"), -1).reshape(-1, 3)
    truth = materials(patient.spine, patient.findings[0], *points.T, 1.5)[3]
    return points[truth[code] >= 0.5] if code in truth else points[:0]


def test_types_come_in_their_shares(drawn):
    counts = [sum(p.kind == kind for p in drawn) for kind in TYPES]
    np.testing.assert_allclose(np.array(counts) / len(drawn), CONFIG.shares, rtol=1e-12)


def test_end_plates_and_posterior_wall(drawn):
    """A1 and A3 lose height at one end plate, A4 at both, A0 and A2 none beyond a wedge of 10 %;
    only A3 and A4 reach the canal."""
    for patient in drawn:
        v, found = _shape(patient)
        less, more = sorted(_lost(patient))
        if patient.kind in ("A0", "A2"):
            assert more <= 0.1 * v.anterior_mm
        if patient.kind in ("A1", "A3"):
            assert less == 0 and more > 0.05 * v.anterior_mm
        if patient.kind == "A4":
            assert less >= 0.5 * more > 0
        assert (found.retropulsion_mm > 0) == (patient.kind in ("A3", "A4"))
        assert bool(found.cracks) == (patient.kind != "A0")


@pytest.mark.parametrize("kind", TYPES)
def test_truth_marks_what_the_type_is(drawn, kind):
    patient = next(
        p for p in drawn if p.kind == kind and (p.findings[0].process_mm > 1 or kind != "A0")
    )
    v, found = _shape(patient)
    lines, fragment = _marks(patient, LINE), _marks(patient, FRAGMENT)
    assert len(lines)
    assert bool(len(fragment)) == (kind in ("A3", "A4"))
    if kind == "A0":  # the left transverse process alone
        assert (np.abs(lines[:, 0] / (1 + found.spread) - 29) < 3).all()
        return
    assert (np.abs(lines[:, 0]) < 1.35 * v.half_width_mm).all(), "in the body"
    upper, lower, *_ = end_plates(v, found, np.float32(0), np.float32(0))
    if kind == "A2":  # a sheet from end plate to end plate, across the body
        assert lines[:, 2].max() > upper - 4 and lines[:, 2].min() < lower + 4
        assert np.ptp(lines[:, 0]) > 1.4 * v.half_width_mm > 3 * lines[:, 1].std()
    if kind == "A3":  # the half of the end plate that gave way
        assert (lines[:, 2] * (-1 if found.inferior else 1) > -1.5).all()


def test_without_severity_the_type_means_nothing():
    flat = dataclasses.replace(CONFIG, severity=0.0)
    for number in range(12):
        found = draw_patient(flat, number).findings[0]
        assert not found.cracks and not found.process_mm and not found.retropulsion_mm


def test_oracle_and_shares_of_other_classes(drawn):
    assert oracle_auc(pd.DataFrame([true_parameters(p) for p in drawn[:50]])) > 0.9
    with pytest.raises(UserError, match="must be 5 numbers that sum to 1"):
        dataclasses.replace(CONFIG, shares=(0.5, 0.25, 0.25)).check()


def test_outside_of_the_vertebra_not_a_voxel_tells_the_type():
    """The same spine with each type of fracture, plain: the blind check sees nothing of them."""
    patient = draw_patient(SMALL, 0)
    control, scans = draw_control(SMALL.seed, 0, "0"), []
    for kind in TYPES:
        broken = add_ao_fracture(control, kind, 1.0, SMALL.seed, 0)
        changed = dataclasses.replace(patient, findings={**patient.findings, 0: broken})
        scans.append(render_patient(changed, SMALL.seed).hu)
    seen = outside(patient)
    assert all((hu[seen] == scans[0][seen]).all() for hu in scans)
    assert all((hu != scans[0]).any() for hu in scans[1:])


def test_the_cohort_can_be_measured():
    found = measure(dataclasses.replace(SMALL, patients=15, shares=(0.2,) * 5))
    assert found["oracle_auc"] > 0.7 and all(0 <= value <= 1 for value in found.values()), found
