"""Who is ill, what they have, and what must not give them away."""

from dataclasses import replace

import numpy as np
import pytest

from msk_jax.phantoms import SacroiliacPhantom
from msk_jax.phantoms.anatomy import SIDES
from msk_jax.phantoms.sacroiliac.cohort import intervals, render_patient
from msk_jax.phantoms.sacroiliac.lesions import is_positive
from msk_jax.phantoms.sacroiliac.patients import draw_patient, healthy_version, read_out

SMALL = SacroiliacPhantom(patients=40, matrix=96, pixel_mm=3.6, slice_spacing_mm=5.0, workers=1)


@pytest.mark.parametrize(
    ("left", "right", "positive"),
    [
        (0, 0, False),
        (1, 1, False),
        (2, 0, False),
        (2, 1, False),
        (2, 2, True),
        (3, 0, True),
        (0, 4, True),
        (2, 3, True),
    ],
)
def test_modified_new_york_rule(left, right, positive):
    assert is_positive(left, right) is positive


def test_labels_of_joints_and_patients_agree():
    for number in range(40):
        patient = draw_patient(SMALL, number)
        grades = read_out(patient)
        assert is_positive(*grades.values()) == patient.positive
        assert any(g >= 2 for g in grades.values()) == patient.positive
        assert all(patient.findings[side].grade == grades[side] for side in SIDES)


def test_patient_does_not_depend_on_the_size_of_the_cohort():
    one, two = (draw_patient(replace(SMALL, patients=n), 7) for n in (8, 300))
    assert one.anatomy == two.anatomy
    assert (one.positive, one.site, one.scanner) == (two.positive, two.site, two.scanner)


def test_share_of_positives_and_sites():
    patients = [draw_patient(replace(SMALL, positive_fraction=0.55), n) for n in range(40)]
    positive = np.array([p.positive for p in patients])
    assert abs(positive.sum() - 22) <= 1
    for ill in (True, False):
        at_a = sum(p.site == "A" for p in patients if p.positive == ill)
        assert abs(at_a - (positive == ill).sum() / 2) <= 1
    assert any(draw_patient(SMALL, n).positive for n in range(4))
    assert not all(draw_patient(SMALL, n).positive for n in range(4))


def test_label_noise_turns_labels_not_images():
    noisy = replace(SMALL, label_noise=0.5)
    flipped = [n for n in range(20) if draw_patient(noisy, n).flipped]
    assert 3 <= len(flipped) <= 17
    for number in flipped:
        patient = draw_patient(noisy, number)
        assert is_positive(*read_out(patient).values()) != patient.positive
        clean = draw_patient(SMALL, number)
        assert patient.findings["left"].notches == clean.findings["left"].notches


def test_severity_zero_draws_the_control_pixel_by_pixel():
    numbers = [n for n in range(12) if draw_patient(SMALL, n).positive][:2]
    for ambiguity in (0.0, 1.0):
        config = replace(SMALL, severity=0.0, ambiguity=ambiguity)
        for number in numbers:
            ill, healthy = draw_patient(config, number), draw_patient(config, number, True)
            assert ill.findings["left"].grade != healthy.findings["left"].grade or (
                ill.findings["right"].grade != healthy.findings["right"].grade
            )
            one, two = render_patient(ill, config), render_patient(healthy, config)
            np.testing.assert_array_equal(one.hu, two.hu)
            assert not np.isin(one.labels, (1, 2, 3, 4)).any()


def test_disease_changes_nothing_far_from_the_joints():
    number = next(n for n in range(12) if draw_patient(SMALL, n).positive)
    patient = draw_patient(SMALL, number)
    one = render_patient(patient, SMALL).hu
    two = render_patient(healthy_version(patient), SMALL).hu
    assert (one != two).any()
    x = patient.grid.origin_mm[0] + np.arange(96) * patient.grid.pixel_mm
    far = np.abs(x - patient.anatomy.shift_mm[0]) > 85
    np.testing.assert_array_equal(one[:, :, far], two[:, :, far])


def test_short_lesions_look_like_pits_in_a_slice_but_go_on():
    config = SacroiliacPhantom(patients=60, ambiguity=1.0)
    pits, erosions, rates = [], [], {0: [], 1: []}
    for number in range(config.patients):
        patient = draw_patient(config, number)
        slices = len(patient.grid.z_mm)
        for side in SIDES:
            control, findings = patient.control[side], patient.findings[side]
            ill = int(patient.positive and patient.plans[side] is not None)
            assert findings.width_mm == control.width_mm
            assert findings.zones[: len(control.zones)] == control.zones
            assert findings.notches[: len(control.notches)] == control.notches
            new = findings.notches[len(control.notches) :]
            assert bool(new) == bool(ill)
            rates[ill].append(sum(n.flat for n in control.notches) / slices)
            pits += [n for n in control.notches if n.flat]
            if patient.expression >= 0.8:
                erosions += new
    assert {n.code for n in pits} == {5} and {n.code for n in erosions} == {1}
    assert {round(n.length_mm / 2.5, 6) for n in pits} == {1}
    assert {round(n.length_mm / 2.5, 6) for n in erosions} == {2, 3}
    # The mean over patients of 0.15 pits per slice of the joint, which is most of the scan.
    assert np.mean(rates[0]) == pytest.approx(np.mean(rates[1]), abs=0.04)
    sizes = [np.mean([n.diameter_mm for n in group]) for group in (pits, erosions)]
    assert sizes[0] == pytest.approx(3.9, abs=0.08) and 3.5 < sizes[1] <= 3.9
    for law in (lambda n: n.hu, lambda n: n.bone):
        one, two = ([law(n) for n in group] for group in (pits, erosions))
        error = np.hypot(np.std(one) / len(one) ** 0.5, np.std(two) / len(two) ** 0.5)
        assert abs(np.mean(one) - np.mean(two)) < 3.5 * error


def test_most_stacks_with_a_short_lesion_have_a_middle_slice_without():
    config = SacroiliacPhantom(patients=40, ambiguity=1.0)
    stacks = empty = 0
    for number in range(config.patients):
        patient = draw_patient(config, number)
        z = patient.grid.z_mm - patient.anatomy.shift_mm[2]
        for plan in filter(None, patient.plans.values()):
            shown = np.any([[n.radius(v) > 0 for v in z] for n in plan.focal.erosions], axis=0)
            ends = np.flatnonzero(np.diff(np.r_[0, shown.astype(int), 0]))
            assert set(np.diff(ends)[::2]) <= {2, 3} and all(np.diff(ends)[1::2] >= 5)
            near = np.convolve(shown, np.ones(5), "same") > 0
            stacks, empty = stacks + near.sum(), empty + (near & ~shown).sum()
    assert 0.5 < empty / stacks < 0.7


def test_intervals():
    z = np.arange(-10.0, 10.0, 2.5)
    shown = np.array([0, 1, 1, 0, 0, 1, 0, 0], bool)
    assert intervals(z, shown, 2.5) == "-8.75:-3.75;1.25:3.75"
    assert intervals(z, ~shown & False, 2.5) == ""


@pytest.mark.parametrize("number", range(3))
def test_joint_extent_follows_from_the_columns_of_bone(number):
    """Bone covers the columns from the midline to 60 mm beside it where the joint is."""
    config = SacroiliacPhantom(matrix=160, pixel_mm=2.2, workers=1)
    patient = draw_patient(config, number, force_control=True)
    grid, an = patient.grid, patient.anatomy
    bone = render_patient(patient, config).hu > 250
    assert np.ptp(np.flatnonzero(bone.any((0, 1)))) * grid.pixel_mm >= 200
    back = np.flatnonzero(bone.any((0, 2))).max()
    bone = bone[:, max(0, back - int(96 / grid.pixel_mm)) :]
    x = grid.origin_mm[0] + np.arange(grid.matrix) * grid.pixel_mm - an.shift_mm[0]
    covered = []
    for plane in bone.any(1):
        whole = True
        for sign in SIDES.values():
            gaps = np.diff(
                np.r_[0.0, np.sort(sign * x[plane & (sign * x > 0) & (sign * x < 60)]), 60.0]
            )
            whole &= gaps.max() <= 8 + grid.pixel_mm
        covered.append(whole)
    found = grid.z_mm[np.flatnonzero(covered)]
    assert found.min() == pytest.approx(an.shift_mm[2] - an.height_mm / 2, abs=8)
    assert found.max() == pytest.approx(an.shift_mm[2] + an.height_mm / 2, abs=8)
