"""What is found in a joint: first as in a control, then with sacroiliitis added to it.

Sizes are our choice, anchored on the modified New York criteria
(0 normal, 1 suspicious, 2 small erosions and sclerosis, 3 definite with width change or partial
ankylosis, 4 ankylosis). `t` runs along the joint and z across the slices, both in mm from the
joint's middle; depth is counted from the joint surface into the bone.
"""

from dataclasses import replace

import numpy as np

from msk_jax.phantoms.anatomy import SIDES, Anatomy, stream
from msk_jax.phantoms.findings import (
    EROSION,
    FAT,
    ILIAC,
    MIMIC,
    SACRAL,
    Findings,
    Focal,
    Notch,
    Osteophyte,
    Plan,
    Zone,
)
from msk_jax.phantoms.sacroiliac.fields import draw_field

# (left, right) grades of a positive patient and their odds; None = as drawn for a control, so a
# pair with None needs a grade of 3 or more on the other side (modified New York rule).
GRADE_PAIRS = (
    ((2, 2), 0.06),
    ((2, 3), 0.14),
    ((3, 3), 0.40),
    ((3, 4), 0.12),
    ((4, 4), 0.10),
    ((3, None), 0.14),
    ((4, None), 0.04),
)

PITS_PER_SLICE = 0.15  # at ambiguity 1


def is_positive(left: int, right: int) -> bool:
    """Modified New York rule: bilateral grade >= 2 or unilateral grade >= 3."""
    return min(left, right) >= 2 or max(left, right) >= 3


def draw_control(
    seed: int, patient: int, anatomy: Anatomy, slice_z: np.ndarray, ambiguity: float
) -> dict[str, Findings]:
    """Both joints as a control: normal variants and mimics at their rates in everyone."""
    rng = stream(seed, patient, "control")
    condensans = rng.random() < 0.10
    degenerative = rng.random() < 0.10 + 0.006 * (anatomy.age - 18)
    return {
        side: _control_joint(
            rng,
            anatomy,
            SIDES[side],
            slice_z,
            ambiguity,
            condensans,
            degenerative,
            stream(seed, patient, f"notches {side}"),
        )
        for side in SIDES
    }


def _mimics(rng, condensans, degenerative) -> tuple[list[Zone], tuple[Osteophyte, ...]]:
    """Osteitis condensans, an anterior spur, fatty marrow: what only looks like disease."""
    triangle = Zone(
        ILIAC,
        rng.uniform(8, 20),
        rng.uniform(600, 900),
        (-0.55, rng.uniform(-0.05, 0.25)),
        (rng.uniform(0.3, 0.5), 1.0),
        triangular=True,
        patchy=0.0,
        code=MIMIC,
    )
    zones, osteophytes = [], []
    if condensans & (rng.random() < 0.85):
        zones.append(triangle)
    start = rng.uniform(0.15, 0.7)
    spur = Osteophyte(
        rng.uniform(5, 11),
        rng.uniform(1.8, 3.4),
        (start, start + rng.uniform(0.15, 0.3)),
        rng.uniform(600, 900),
    )
    if degenerative & (rng.random() < 0.75):
        osteophytes.append(spur)
    marrow = Zone(
        _bone(rng), rng.uniform(3, 6), rng.uniform(-50, 50), (-0.3, 0.2), (0.3, 0.8), code=MIMIC
    )
    if rng.random() < 0.03:
        zones.append(marrow)
    return zones, tuple(osteophytes)


def _control_joint(
    rng, anatomy, side, slice_z, ambiguity, condensans, degenerative, notch_rng
) -> Findings:
    """Every draw is made whether it is used or not, so that a rate can change alone."""
    length, height = anatomy.joint(side).length_mm, anatomy.height_mm
    notches, zones = [], []
    zones.append(
        Zone(
            ILIAC, rng.uniform(0, 3), rng.uniform(150, 300) + 150, (-0.5, 0.5), (0.05, 0.95), code=0
        )
    )
    suspicious = Notch(
        length * rng.uniform(-0.4, 0.4),
        height * (0.5 - rng.uniform(0.2, 0.9)),
        rng.uniform(1.0, 1.5),
        rng.uniform(2, 4),
        rng.uniform(50, 120),
        _bone(rng),
        code=MIMIC,
    )
    grade = int(rng.random() < 0.2)
    if grade:
        notches.append(suspicious)
    mimics, osteophytes = _mimics(rng, condensans, degenerative)
    zones += mimics
    fields = {
        "ilium": draw_field(rng, 2.5, 1.6),
        "sacrum": draw_field(rng, 2.5, 1.6),
        "patch": draw_field(rng, 5.0, 4.0),
        "bridge": draw_field(rng, 3.5, 2.6),
    }
    width = rng.uniform(2.0, 3.5 if condensans or degenerative else 4.0)
    pits = draw_pits(notch_rng, length, height, slice_z, ambiguity)
    # A suspicious joint (grade 1) is a little uneven too, so that the grades touch.
    roughness = (rng.uniform(0.1, 0.2), rng.uniform(0.2, 0.45))[grade]
    return Findings(
        grade,
        width,
        roughness,
        (*notches, *pits),
        tuple(zones),
        osteophytes,
        fields=fields,
    )


def _bone(rng) -> int:
    return ILIAC if rng.random() < 0.7 else SACRAL


def _slice_notch(rng, length: float, z: float, spacing: float, code: int) -> Notch:
    """A defect that fills one whole slice: erosions of short lesions and pits share this law."""
    return Notch(
        float(rng.uniform(-0.42, 0.42) * length),
        float(z),
        rng.uniform(3.2, 4.6),
        spacing,
        rng.uniform(50, 120),
        _bone(rng),
        flat=True,
        code=code,
    )


def draw_pits(
    rng, length: float, height: float, slice_z: np.ndarray, ambiguity: float
) -> tuple[Notch, ...]:
    """Normal pits of one slice each, everywhere along the joint; none at ambiguity 0.

    `slice_z` [n] are the slice positions in body z, ascending.
    """
    q = 0.5 - slice_z / height
    return tuple(
        _slice_notch(rng, length, z, _spacing(slice_z), MIMIC)
        for z in slice_z[(q > 0.05) & (q < 0.95)]
        for _ in range(rng.poisson(PITS_PER_SLICE * ambiguity))
    )


def draw_focal(rng, length: float, height: float, slice_z: np.ndarray) -> Focal:
    """Short lesions of one joint: erosions and sclerosis that two or three slices share.

    They lie in the lower two thirds, and at least five slices without any lie between two of
    them, so that most stacks of five with a lesion have a middle slice without one.
    """
    spacing, q = _spacing(slice_z), 0.5 - slice_z / height
    zone = slice_z[(q > 0.28) & (q < 0.82)]
    erosions, zones, first = [], [], int(rng.integers(0, 4))
    while first + 2 <= len(zone):
        run = zone[first : first + int(rng.integers(2, 4))]
        ends = (0.5 - (run.max() + spacing / 2) / height, 0.5 - (run.min() - spacing / 2) / height)
        middle, half = rng.uniform(-0.2, 0.2), rng.uniform(0.25, 0.4)
        depth, hu = rng.uniform(9, 15), rng.uniform(600, 900)
        zones += [
            Zone(bone, share * depth, hu, (middle - half, middle + half), ends, fade=0.01)
            for bone, share in ((ILIAC, 1.0), (SACRAL, 0.6))
        ]
        for _ in range(int(rng.integers(2, 4))):
            notch = _slice_notch(rng, length, run.mean(), spacing, EROSION)
            erosions.append(replace(notch, length_mm=len(run) * spacing))
        first += len(run) + int(rng.integers(5, 8))
    return Focal(tuple(erosions), tuple(zones))


def _spacing(slice_z: np.ndarray) -> float:
    return float(slice_z[1] - slice_z[0]) if len(slice_z) > 1 else 2.5


def draw_grades(seed: int, patient: int) -> tuple[int | None, int | None]:
    """The pair of grades that this patient has if positive."""
    rng = stream(seed, patient, "grades")
    odds = np.array([p for _, p in GRADE_PAIRS])
    pair = GRADE_PAIRS[rng.choice(len(odds), p=odds / odds.sum())][0]
    return pair if rng.random() < 0.5 else (pair[1], pair[0])


def draw_expression(seed: int, patient: int) -> float:
    """How strongly the disease shows in this patient: one patient in twelve is a subtle case.

    The published sensitivity misses about one in eleven; more subtle cases would put it out of
    reach of anyone.
    """
    rng = stream(seed, patient, "expression")
    subtle, clear = rng.uniform(0.15, 0.5), rng.uniform(0.8, 1.0)
    return float(subtle if rng.random() < 1 / 12 else clear)


def _erosions(rng, count, diameter, middle, length, height, spacing) -> tuple[Notch, ...]:
    """Erosions of one joint; four in five in the middle-to-lower part, most about `middle`."""
    erosions = []
    for _ in range(int(rng.integers(count[0], count[1] + 1))):
        q = rng.uniform(0.35, 0.75) if rng.random() < 0.8 else rng.uniform(0.1, 0.9)
        t = rng.normal(middle, 0.14) if rng.random() < 0.6 else rng.uniform(-0.42, 0.42)
        erosions.append(
            Notch(
                length * float(np.clip(t, -0.44, 0.44)),
                height * (0.5 - q),
                rng.uniform(*diameter),
                spacing * rng.uniform(2.4, 4.2),
                rng.uniform(50, 120),
                _bone(rng),
            )
        )
    return tuple(erosions)


def draw_plan(
    seed: int, patient: int, side: str, anatomy: Anatomy, grade: int, slice_z: np.ndarray
) -> Plan:
    """The disease of one joint at severity 1, by grade 2, 3 or 4."""
    rng = stream(seed, patient, f"disease {side}")
    length, height = anatomy.joint(SIDES[side]).length_mm, anatomy.height_mm
    count, diameter, depth, hu = {
        2: ((2, 5), (2, 3), (3, 6), (350, 550)),
        3: ((6, 15), (2, 5), (6, 15), (450, 900)),
        4: ((0, 3), (2, 3), (0, 5), (300, 450)),
    }[grade]
    width = {2: (1.5, 4.5), 4: (0.0, 0.5)}.get(
        grade, (0.5, 2.0) if rng.random() < 0.5 else (5.0, 8.0)
    )
    roughness = {2: (0.4, 0.8), 3: (0.8, 1.5), 4: (0.3, 0.6)}[grade]
    bridge = {2: (0, 0), 3: (0, 0.3), 4: (0.5, 1.0)}[grade]
    if width[0] >= 5:  # a pseudo-widened joint is not fusing yet
        bridge = (0, 0)
    middle = rng.uniform(-0.25, 0.2)
    erosions = _erosions(rng, count, diameter, middle, length, height, _spacing(slice_z))
    extent = (rng.uniform(0.12, 0.3), rng.uniform(0.8, 0.95))
    along = (rng.uniform(-0.5, -0.3), rng.uniform(0.2, 0.48))
    zones = [Zone(ILIAC, rng.uniform(*depth), rng.uniform(*hu), along, extent, patchy=0.3)]
    sacral = Zone(
        SACRAL,
        zones[0].depth_mm * rng.uniform(0.4, 0.7),
        rng.uniform(*hu) - 50,
        along,
        extent,
        patchy=0.6,
    )
    if grade == 3 and rng.random() < 0.7:
        zones.append(sacral)
    start = rng.uniform(0.2, 0.45)
    fat = Zone(
        SACRAL if rng.random() < 0.6 else ILIAC,
        rng.uniform(4, 9),
        rng.uniform(-50, 50),
        (-0.4, 0.3),
        (start, start + rng.uniform(0.25, 0.4)),
        patchy=0.6,
        code=FAT,
    )
    if rng.random() < (0.2 if grade == 2 else 0.5):
        zones.append(fat)
    return Plan(
        grade,
        rng.uniform(*width),
        rng.uniform(*roughness),
        erosions,
        tuple(zones),
        rng.uniform(*bridge),
        rng.uniform(300, 700),
        draw_focal(stream(seed, patient, f"focal {side}"), length, height, slice_z),
    )


def _scaled_notch(notch: Notch, share: float) -> Notch:
    size = notch.diameter_mm * (0.5 + 0.5 * share)
    return replace(notch, diameter_mm=size, strength=min(1.0, share))


def add_disease(control: Findings, plan: Plan, severity: float, ambiguity: float) -> Findings:
    """The control's joint with the plan added, scaled by severity (0 = the control itself).

    Counts, sizes, contrast, depth, width deviation, roughness and bridging all shrink together.
    With ambiguity, what every slice of the joint shows gives way to short lesions, which show in
    two or three slices and in no other.
    """
    shown, focal = severity * (1 - ambiguity), severity * ambiguity
    mix = lambda normal, ill: max(0.0, normal + shown * (ill - normal))  # noqa: E731
    notches, zones = list(control.notches), list(control.zones)
    few = plan.erosions[: round(len(plan.erosions) * min(1.0, shown))]
    for share, erosions, bands in (
        (shown, few, plan.zones),
        (focal, plan.focal.erosions, plan.focal.zones),
    ):
        if share > 0:
            notches += [_scaled_notch(notch, share) for notch in erosions]
            zones += [
                replace(zone, depth_mm=zone.depth_mm * share, strength=min(1.0, share))
                for zone in bands
            ]
    return replace(
        control,
        grade=plan.grade,
        notches=tuple(notches),
        zones=tuple(zones),
        width_mm=mix(control.width_mm, plan.width_mm),
        roughness_mm=mix(control.roughness_mm, plan.roughness_mm),
        bridge_fraction=min(1.0, plan.bridge_fraction * shown),
        bridge_hu=plan.bridge_hu,
    )
