"""Rendering: anatomy and findings to Hounsfield units on a CT grid, with truth masks.

Everything is evaluated plane by plane. Voxels near a joint are super-sampled (3 x 3 in the plane,
4 across) and averaged, which gives true partial volume in the joint space and in erosions; the
rest is anti-aliased by the width of its edges.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import norm

from msk_jax.phantoms.anatomy import SIDES, Anatomy, JointSection, stream
from msk_jax.phantoms.findings import BRIDGE, EROSION, ILIAC, MIMIC, SCLEROSIS, Findings
from msk_jax.phantoms.soft_tissue import coarse_noise, soft_tissue

IN_PLANE, ACROSS = 3, 4  # super-sampling
NEAR_MM = 7.0  # voxels this near to the sheet are super-sampled
MARGIN_MM = 10.0  # the scan reaches this far above and below the joints
LESION_CODES = (1, 2, 3, 4)
# Further fractions, measured but not labelled: cartilage between the bones, every notch and all
# trabecular bone made denser, whatever the cause (what an ideal reader could measure).
JOINT_SPACE, NOTCH, DENSE = 6, 7, 8


@dataclass(frozen=True)
class Grid:
    """The CT's voxels: [slices, matrix, matrix], z and y and x ascending, LPS mm."""

    matrix: int
    slices: int
    pixel_mm: float
    spacing_mm: float
    origin_mm: tuple[float, float, float]  # x, y, z of voxel [0, 0, 0]

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.slices, self.matrix, self.matrix

    @property
    def z_mm(self) -> np.ndarray:
        return self.origin_mm[2] + self.spacing_mm * np.arange(self.slices)


def scan_grid(anatomy: Anatomy, matrix: int, pixel_mm: float, spacing_mm: float) -> Grid:
    """The grid that covers the joints and MARGIN_MM above and below them."""
    reach = anatomy.height_mm / 2 + MARGIN_MM
    slices = int(np.ceil(2 * reach / spacing_mm)) + 1
    bottom = np.round(anatomy.shift_mm[2] - reach, 1)
    corner = np.round(-(matrix - 1) / 2 * pixel_mm, 3)
    return Grid(matrix, slices, pixel_mm, spacing_mm, (float(corner), float(corner), float(bottom)))


@dataclass(frozen=True)
class Scanner:
    """What the scanner adds: blur and noise."""

    noise_hu: float
    psf_mm: float  # full width at half maximum
    sharpening: float  # of the noise by the reconstruction kernel, 0 = none


@dataclass(frozen=True)
class Rendering:
    """hu int16 and labels uint8 [slices, rows, columns]; fractions (code -> joint box) of voxels.

    `lesion_area_mm2[side]` [slices] is the area of the labels 1 to 4 in each slice;
    `measured[side]` are volumes in mm3 by code, and the mean width of the joint space in mm.
    """

    hu: np.ndarray
    labels: np.ndarray
    lesion_area_mm2: dict[str, np.ndarray]
    measured: dict[str, dict[int, float]]


def _share(distance, width):
    """1 inside, 0 outside of a signed distance, over an edge of `width` mm."""
    return np.clip(np.float32(0.5) - distance * np.float32(1 / width), 0, 1)


def _lookup(profile, t):
    """Linear interpolation of a sheet profile ([121], t from -60 to 60 mm)."""
    place = np.clip(t + np.float32(60), 0, np.float32(119.99))
    low = place.astype(np.int32)
    share = place - low
    return profile[low] * (1 - share) + profile[low + 1] * share


def _zones(section: JointSection, findings: Findings, t, depth, bone: int):
    """Density of the trabecular bone's zones: yields (zone, share) at these points of one bone."""
    patch = None
    for zone in findings.zones:
        if zone.bone != bone or zone.strength == 0:
            continue
        q0, q1 = zone.q
        fade = np.clip(min(section.q - q0, q1 - section.q) / zone.fade, 0, 1)
        if zone.triangular:  # widest low down
            fade *= np.clip((section.q - q0) / (0.8 - q0), 0.15, 1)
        if fade <= 0:
            continue
        t0, t1 = (place * section.length for place in zone.t)
        if zone.triangular:
            along = np.clip((t1 - t) / (t1 - t0), 0, 1)
        else:
            along = np.sqrt(np.clip((t - t0) / 9, 0, 1) * np.clip((t1 - t) / 9, 0, 1))
        reach = np.float32(zone.depth_mm * fade) * along
        if zone.patchy:
            if patch is None:
                patch = _lookup(findings.fields["patch"].profile(section.z), t)
            reach = reach * np.clip(1 + np.float32(zone.patchy) * patch, 0.2, 1.8)
        # the inner third fades into normal bone
        edge = np.maximum(reach * np.float32(0.35), np.float32(0.8))
        yield zone, np.clip((reach - depth) / edge, 0, 1) * (reach > 0.3)


def materials(section: JointSection, findings: Findings, u, y, soft, width: float):
    """HU, share of trabecular bone and fractions by code at points (u, y) of one plane.

    u, y, soft (HU of what is not bone): [n] float32; `width` is the anti-aliasing width in mm.
    """
    anatomy = section.anatomy
    w, t = section.sheet(u, y)
    opening = section.opening(t) + np.float32(findings.width_mm / 2)
    within = np.abs(t) < section.length / 2 + 2
    inside_joint = 0 <= section.q <= 1
    facing = np.clip((section.length / 2 + 4 - np.abs(t)) / 4, 0, 1) * findings.roughness_mm
    rough = [
        facing.astype(np.float32) * _lookup(findings.fields[name].profile(section.z), t)
        for name in ("ilium", "sacrum")
    ]
    gap_ilium, gap_sacrum = opening + rough[0], opening + rough[1]
    sacrum = section.sacrum(u, y, w + gap_sacrum)
    ilium = section.ilium(u, y, gap_ilium - w)
    in_sacrum = _share(sacrum, width)
    in_ilium = np.minimum(_share(ilium, width), 1 - in_sacrum)
    gap = 1 - in_sacrum - in_ilium
    base, fused, fractions = _between(section, findings, w, t, opening, soft, gap, within)
    hu, trabecular = base * gap, np.zeros_like(u)
    cortex = np.float32(anatomy.cortex_hu)
    for bone, share, distance, depth, spongy, thick in (
        (-ILIAC, in_sacrum, sacrum, -w - gap_sacrum, *_of(anatomy, 0)),
        (ILIAC, in_ilium, ilium, w - gap_ilium, *_of(anatomy, 1)),
    ):
        shell = _share(-distance - np.float32(thick), max(width, 0.9)) * (1 - 0.75 * fused)
        density, texture = np.full_like(u, spongy), np.ones_like(u)
        if inside_joint:
            for zone, amount in _zones(section, findings, t, depth, bone):
                amount = amount * np.float32(zone.strength)
                target = zone.hu if zone.hu < 100 else max(zone.hu, spongy + 80)
                density += (np.float32(target) - density) * amount
                texture -= 0.5 * amount * texture
                for code in (zone.code, DENSE if zone.hu > 100 else 0):
                    if code:
                        fractions[code] = np.maximum(fractions.get(code, 0), amount * share)
        value = density + np.maximum(cortex - density, 0) * shell
        eaten = np.float32(0)
        for code, hole, notch in _notches(section, findings, t, depth, bone, width):
            hole = hole * np.float32(notch.strength)
            value = value + (np.float32(notch.hu) - value) * hole
            eaten = np.maximum(eaten, hole)
            for name in (code, NOTCH):
                fractions[name] = np.maximum(fractions.get(name, 0), hole * share)
        hu += value * share
        trabecular += share * (1 - shell) * texture * (1 - eaten)
    hu, trabecular = _spurs(section, findings, w, t, hu, trabecular, gap, width, fractions)
    return hu, trabecular, fractions


def _between(section, findings, w, t, opening, soft, gap, within):
    """(HU of what is not bone, share fused by a bridge, fractions) with the joint space filled."""
    inside_joint = 0 <= section.q <= 1
    between = within & (np.abs(w) < opening + 1) & (t < section.synovial_end + 1) & inside_joint
    base = np.where(between, np.float32(section.anatomy.cartilage_hu), soft)
    fractions = {JOINT_SPACE: gap * between}
    if findings.bridge_fraction == 0 or not inside_joint:
        return base, np.float32(0), fractions
    limit = norm.ppf(1 - min(findings.bridge_fraction, 0.999))
    field = _lookup(findings.fields["bridge"].profile(section.z), t)
    fused = np.clip((field - np.float32(limit)) / np.float32(0.3) + np.float32(0.5), 0, 1) * (
        within & (np.abs(w) < opening + 3)
    )
    base = base + (np.float32(findings.bridge_hu) - base) * fused * between
    # The fused plates belong to the bridge: the gap alone may be thinner than a voxel.
    fractions[BRIDGE] = fused * (np.abs(w) < opening + 0.8)
    return base, fused, fractions


def _of(anatomy: Anatomy, index: int):
    return np.float32(anatomy.trabecular_hu[index]), anatomy.cortex_mm[index]


def _notches(section, findings, t, depth, bone, width):
    """Yield (code, share, notch) of the defects of one bone that this plane cuts."""
    for notch in findings.notches:
        radius = notch.radius(section.z) if notch.bone == bone else 0.0
        if radius > 0:
            distance = np.hypot(
                t - np.float32(notch.t), depth - np.float32(0.3 * notch.diameter_mm)
            )
            yield notch.code, _share(distance - np.float32(radius), width), notch


def _spurs(section, findings, w, t, hu, trabecular, gap, width, fractions):
    """Lay anterior osteophytes over the joint line."""
    for spur in findings.osteophytes:
        middle, half = sum(spur.q) / 2, (spur.q[1] - spur.q[0]) / 2
        place = (section.q - middle) / half
        if abs(place) >= 1:
            continue
        size = float(np.sqrt(1 - place * place))
        reach, thick = spur.reach_mm * size, spur.thickness_mm * (0.4 + 0.6 * size)
        front = np.float32(-section.length / 2 - 0.5)
        bow = front - np.float32(0.25 * thick) + (w * w) * np.float32(0.02)
        distance = np.maximum(
            np.abs(t - bow) - np.float32(thick / 2),
            np.abs(w - np.float32(5 - reach / 2)) - np.float32(reach / 2 + 1),
        )
        share = _share(distance, width)
        new = share * gap
        hu = hu + new * (np.float32(spur.hu) - hu)
        fractions[MIMIC] = np.maximum(fractions.get(MIMIC, 0), new)
    return hu, trabecular


def render(
    anatomy: Anatomy,
    findings: dict[str, Findings],
    grid: Grid,
    scanner: Scanner,
    seed: int,
    patient: int,
) -> Rendering:
    """Render one patient; the noise and the texture depend on (seed, patient) alone."""
    rng = stream(seed, patient, "scan")
    spacing = (grid.spacing_mm, grid.pixel_mm, grid.pixel_mm)
    axis = np.arange(grid.matrix) * grid.pixel_mm
    x, y = anatomy.to_body(grid.origin_mm[0] + axis[None, :], grid.origin_mm[1] + axis[:, None])
    volume = soft_tissue(anatomy, rng, x, y, grid.shape, spacing)
    bone_box = (np.abs(x) < anatomy.asis_mm[0] + 14) & (y < 62) & (y > -anatomy.asis_mm[1] - 14)
    rows, columns = np.flatnonzero(bone_box.any(1)), np.flatnonzero(bone_box.any(0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    texture = (
        trabecular_texture(rng, volume[(slice(None), *box)].shape, spacing) * anatomy.texture_hu
    )
    uneven = coarse_noise(rng, volume[(slice(None), *box)].shape, spacing, (12, 12, 12)) * 18
    shape = texture.shape
    labels = np.zeros(grid.shape, np.uint8)
    areas, measured = {}, {}
    for side, sign in SIDES.items():
        chosen = np.flatnonzero((bone_box & (x * sign >= 0))[box])
        flat = {"u": (sign * x[box]).ravel()[chosen], "y": y[box].ravel()[chosen]}
        planes = [
            _plane(
                JointSection(anatomy, anatomy.joint(sign), float(z)),
                findings[side],
                flat["u"],
                flat["y"],
                volume[k][box].ravel()[chosen],
                grid,
            )
            for k, z in enumerate(grid.z_mm - anatomy.shift_mm[2])
        ]
        for k, (hu, spongy, fractions) in enumerate(planes):
            noise = (texture[k] + uneven[k]).ravel()[chosen]
            r, c = np.unravel_index(chosen, shape[1:])
            volume[k][box][r, c] = hu + spongy * noise
            labels[k][box][r, c] = _label(fractions, len(chosen))
        lesion, sizes = _measure(planes, grid)
        areas[side], measured[side] = lesion, sizes
    return Rendering(add_scanner(volume, rng, scanner, grid.pixel_mm), labels, areas, measured)


def lesion_areas(anatomy: Anatomy, findings: dict[str, Findings], grid: Grid):
    """Area of the labels 1 to 4 in each slice, by side [slices] mm2, without a whole rendering."""
    axis = np.arange(grid.matrix) * grid.pixel_mm
    x, y = anatomy.to_body(grid.origin_mm[0] + axis[None, :], grid.origin_mm[1] + axis[:, None])
    areas = {}
    for side, sign in SIDES.items():
        near = (x * sign > 0) & (x * sign < 85) & (np.abs(y) < 55)
        u, v = sign * x[near], y[near]
        soft = np.zeros_like(u)
        areas[side] = np.array(
            [
                (
                    np.isin(
                        _label(
                            materials(
                                JointSection(anatomy, anatomy.joint(sign), float(z)),
                                findings[side],
                                u,
                                v,
                                soft,
                                grid.pixel_mm,
                            )[2],
                            len(u),
                        ),
                        LESION_CODES,
                    )
                ).sum()
                * grid.pixel_mm**2
                for z in grid.z_mm - anatomy.shift_mm[2]
            ]
        )
    return areas


def _plane(section: JointSection, findings: Findings, u, y, soft, grid: Grid):
    """`materials` of one voxel plane of one side, super-sampled near the joint."""
    hu, spongy, fractions = materials(section, findings, u, y, soft, grid.pixel_mm)
    w, t = section.sheet(u, y)
    near = np.flatnonzero(
        (np.abs(w) < NEAR_MM + findings.width_mm / 2) & (np.abs(t) < section.length / 2 + 6)
    )
    if not len(near):
        return hu, spongy, fractions
    c, s = (
        np.cos(np.radians(section.anatomy.rotation_deg)),
        np.sin(np.radians(section.anatomy.rotation_deg)) * section.shape.side,
    )
    steps = (np.arange(IN_PLANE) + 0.5) / IN_PLANE - 0.5
    dx, dy = (v.ravel() * grid.pixel_mm for v in np.meshgrid(steps, steps))
    du, dv = (c * dx + s * dy).astype(np.float32), (c * dy - s * dx).astype(np.float32)
    points = {
        "u": (u[near, None] + du).ravel(),
        "y": (y[near, None] + dv).ravel(),
        "soft": np.repeat(soft[near], len(dx)),
    }
    total = {}
    for step in (np.arange(ACROSS) + 0.5) / ACROSS - 0.5:
        part = JointSection(section.anatomy, section.shape, section.z + step * grid.spacing_mm)
        values = materials(part, findings, **points, width=grid.pixel_mm / IN_PLANE)
        for name, value in (("hu", values[0]), ("spongy", values[1]), *values[2].items()):
            mean = np.broadcast_to(value, points["u"].shape).reshape(-1, len(dx)).mean(1)
            total[name] = total.get(name, 0) + mean / ACROSS
    hu[near], spongy[near] = total.pop("hu"), total.pop("spongy")
    merged = {}
    for code in {*fractions, *total}:
        whole = np.array(np.broadcast_to(fractions.get(code, np.float32(0)), u.shape))
        whole[near] = total.get(code, 0)
        merged[code] = whole
    return hu, spongy, merged


def _label(fractions: dict, count: int) -> np.ndarray:
    """One label per voxel where at least half of it is that; the lower, rarer code wins."""
    label = np.zeros(count, np.uint8)
    for code in (MIMIC, SCLEROSIS, 4, BRIDGE, EROSION):
        if code in fractions:
            label[fractions[code] >= 0.5] = code
    return label


def _measure(planes, grid: Grid):
    """Lesion area by slice in mm2, and volumes by code in mm3."""
    area = grid.pixel_mm**2
    lesion = np.array(
        [(np.isin(_label(f, len(hu)), LESION_CODES)).sum() * area for hu, _, f in planes], float
    )
    sizes = {
        code: float(sum(f[code].sum() for _, _, f in planes if code in f)) * area * grid.spacing_mm
        for code in (*LESION_CODES, MIMIC, JOINT_SPACE, NOTCH, DENSE)
    }
    return lesion, sizes


def trabecular_texture(rng, shape, spacing) -> np.ndarray:
    """Trabecular texture of unit variance, correlated over about 0.9 mm."""
    field = gaussian_filter(
        rng.standard_normal(shape, dtype=np.float32),
        [0.9 / 2.355 * 1.6 / s for s in spacing],
        truncate=3,
    )
    return field / field.std()


def add_scanner(volume, rng, scanner: Scanner, pixel_mm: float) -> np.ndarray:
    """Blur by the point spread function, add correlated noise, round to int16 HU."""
    sigma = scanner.psf_mm / 2.355 / pixel_mm
    blurred = gaussian_filter(volume, (0, sigma, sigma), truncate=3)
    noise = rng.standard_normal(volume.shape, dtype=np.float32)
    fine = gaussian_filter(noise, (0, sigma, sigma), truncate=3)
    if scanner.sharpening:
        fine -= np.float32(scanner.sharpening) * gaussian_filter(
            noise, (0, 2.5 * sigma, 2.5 * sigma), truncate=3
        )
    if scanner.noise_hu > 0:
        blurred += fine * np.float32(scanner.noise_hu / fine.std())
    return np.clip(np.rint(blurred), -1024, 3071).astype(np.int16)
