"""From a configuration and a number to one patient: status, findings, scanner, true parameters."""

from dataclasses import dataclass, replace

import numpy as np

from msk_jax.phantoms.anatomy import SIDES, Anatomy, draw_anatomy, stream
from msk_jax.phantoms.ct import Grid, Scanner, scan_grid
from msk_jax.phantoms.findings import Findings, Plan
from msk_jax.phantoms.sacroiliac.lesions import (
    add_disease,
    draw_control,
    draw_expression,
    draw_grades,
    draw_plan,
)

# Scanners of the sites, taken in turn: noise range in HU, PSF width in mm, kernel sharpening.
SCANNERS = (((15.0, 32.0), 0.8, 0.2, "B40"), ((22.0, 40.0), 0.6, 0.6, "B60"))
BLOCK = 4  # patients are balanced within blocks of this size


@dataclass(frozen=True)
class Patient:
    """One patient, ready to be rendered."""

    number: int
    anatomy: Anatomy
    grid: Grid
    scanner: Scanner
    kernel: str
    site: str
    positive: bool
    flipped: bool  # the manifest says the contrary (label noise)
    expression: float
    control: dict[str, Findings]
    plans: dict[str, Plan | None]  # None: this joint stays as in a control
    findings: dict[str, Findings]  # as rendered
    at_full_severity: dict[str, Findings]  # the disease as planned, whoever has it

    @property
    def patient_id(self) -> str:
        return f"PHANTOM-{self.number:04d}"


def _statuses(seed: int, number: int, fraction: float) -> list[bool]:
    """True status of patients 0..number, balanced within blocks, whatever comes after them."""
    statuses: list[bool] = []
    for block in range(number // BLOCK + 1):
        places = np.arange(block * BLOCK, (block + 1) * BLOCK)
        ranks = np.floor((places + 1) * fraction + 0.5) > np.floor(places * fraction + 0.5)
        order = np.random.default_rng([seed, block, 77]).permutation(BLOCK)
        statuses += [bool(v) for v in ranks[order]]
    return statuses[: number + 1]


def draw_patient(config, number: int, force_control: bool = False) -> Patient:
    """Patient `number` of the cohort `config` (a SacroiliacPhantom).

    With force_control the disease is not added: the same person, healthy.
    """
    seed = config.seed
    anatomy = draw_anatomy(seed, number)
    rng = stream(seed, number, "scanner")
    pixel = round(config.pixel_mm * rng.uniform(0.92, 1.08), 4)
    grid = scan_grid(anatomy, config.matrix, pixel, config.slice_spacing_mm)
    status = _statuses(seed, number, config.positive_fraction)
    positive = status[-1]
    # Sites take turns within each class, so that a small cohort does not confound the two.
    rank = sum(s == positive for s in status[:-1]) + seed
    site = rank % len(config.sites)
    noise, psf, sharpening, kernel = SCANNERS[site % len(SCANNERS)]
    scanner = Scanner(float(rng.uniform(*noise)), psf, sharpening)
    expression = draw_expression(seed, number)
    slice_z = grid.z_mm - anatomy.shift_mm[2]
    control = draw_control(seed, number, anatomy, slice_z, config.ambiguity)
    grades = dict(zip(SIDES, draw_grades(seed, number), strict=True))
    plans = {
        side: draw_plan(seed, number, side, anatomy, grade, slice_z)
        if (grade := grades[side])
        else None
        for side in SIDES
    }

    def ill(severity):
        return {
            side: add_disease(control[side], plans[side], severity, config.ambiguity)
            if plans[side]
            else control[side]
            for side in SIDES
        }

    shown = control if force_control or not positive else ill(config.severity * expression)
    return Patient(
        number,
        anatomy,
        grid,
        scanner,
        kernel,
        config.sites[site],
        positive,
        bool(stream(seed, number, "label").random() < config.label_noise),
        expression,
        control,
        plans,
        shown,
        ill(1.0),
    )


def read_out(patient: Patient) -> dict[str, int]:
    """Grade of each joint as the manifest gives it: the truth, or the contrary of it."""
    says_ill = patient.positive != patient.flipped
    if says_ill:
        return {
            side: patient.plans[side].grade if patient.plans[side] else patient.control[side].grade
            for side in SIDES
        }
    return {side: patient.control[side].grade for side in SIDES}


def healthy_version(patient: Patient) -> Patient:
    """The same patient without the disease."""
    return replace(patient, positive=False, findings=patient.control)
