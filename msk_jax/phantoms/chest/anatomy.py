"""The chest around and between the bones: every number here is nuisance, whoever is ill.

Coordinates of the frontal picture in mm at the patient's plane: x to the patient's left (the right
side of the picture), y downwards, from the middle of the chest at the level of the sixth thoracic
vertebra. The picture knows nothing of the age and sex in the table, breasts included.
"""

from dataclasses import dataclass

import numpy as np

from msk_jax.phantoms.anatomy import stream


@dataclass(frozen=True)
class Chest:
    """One patient's body and how it stood before the detector."""

    size: float
    width: float  # of the rib cage against its height
    depth_mm: float  # half depth of the rib cage
    wall_mm: float  # muscle and fat outside of the ribs, on either side of the path
    tilt_deg: float
    shift_mm: tuple[float, float]
    inspiration_mm: float  # the domes of the diaphragm go down by this
    dome_gap_mm: float  # the right dome is higher by this
    heart_mm: tuple[float, float]  # half axes
    heart_turn_deg: float
    lung_texture: float  # fine markings, in attenuation
    breast: float  # 0 none to 1
    shoulder_mm: float  # height of the shoulders
    arch_mm: float  # radius of the aortic arch
    rib_slope: float
    rib_mm: float  # half height of a rib's cross-section
    clavicle_mm: float  # half width
    clavicle_tilt: float
    scoliosis_mm: float
    scoliosis_phase: float
    vertebra_mm: tuple[float, float, float]  # half width, height, depth at the sixth
    rib_mg_cm3: float
    bone_factor: float  # contrast of bone against that at 60 keV: harder beams show less
    calcification: float  # 0 to 1, of the aortic arch
    electrodes: int
    magnification: float


def draw_chest(seed: int, number: int) -> Chest:
    """Draw a patient; the same law for all."""
    rng = stream(seed, number, "chest")
    uniform = lambda low, high: float(rng.uniform(low, high))  # noqa: E731
    return Chest(
        size=uniform(0.93, 1.05),
        width=uniform(0.93, 1.05),
        depth_mm=uniform(82, 108),
        wall_mm=uniform(22, 60),
        tilt_deg=float(np.clip(rng.normal(0, 2.2), -6, 6)),
        shift_mm=(float(rng.normal(0, 6)), float(rng.normal(0, 7))),
        inspiration_mm=uniform(-14, 12),
        dome_gap_mm=uniform(4, 16),
        heart_mm=(uniform(46, 60), uniform(56, 72)),
        heart_turn_deg=uniform(20, 50),
        lung_texture=uniform(0.01, 0.06),
        breast=uniform(0.3, 1) if rng.random() < 0.5 else 0.0,
        shoulder_mm=uniform(-10, 14),
        arch_mm=uniform(13, 21),
        rib_slope=uniform(0.85, 1.15),
        rib_mm=uniform(4.4, 6.0),
        clavicle_mm=uniform(5.4, 6.6),
        clavicle_tilt=uniform(-0.04, 0.22),
        scoliosis_mm=float(rng.normal(0, 3.5)),
        scoliosis_phase=uniform(0, 6.28),
        vertebra_mm=(uniform(14.5, 18.0), uniform(19.5, 22.5), uniform(22, 36)),
        rib_mg_cm3=uniform(40, 160),
        bone_factor=uniform(1.7, 2.3),
        calcification=uniform(0.3, 1) if rng.random() < 0.25 else 0.0,
        electrodes=int(rng.integers(1, 4)) if rng.random() < 0.12 else 0,
        magnification=round(uniform(1.05, 1.12), 3),
    )
