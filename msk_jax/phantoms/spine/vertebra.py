"""One vertebra as signed distances in millimetres, healthy or broken.

Its own frame has the origin in the middle of the healthy body: x to the patient's left, y
posterior, z up. All that is drawn in `draw_spine` is nuisance: it is drawn before it is known what
is broken.
"""

from dataclasses import dataclass, replace

import numpy as np

from msk_jax.phantoms.anatomy import smooth_max, stream

LINE, BAND, FRAGMENT, MIMIC = 1, 2, 3, 4
"""Codes of the truth mask: fracture line or gap, impacted bone, bone in the canal, what only looks
like a fracture."""

PROCESS_MM = 29.0
"""How far to the left a transverse process breaks: where nothing else of the arch is."""


@dataclass(frozen=True)
class Vertebra:
    """The shape of one vertebra without any finding."""

    half_width_mm: float
    half_depth_mm: float
    posterior_mm: float  # height of the posterior wall
    anterior_mm: float
    concave_mm: float  # how far the posterior wall is hollow in the middle
    canal_mm: float  # antero-posterior
    canal_half_mm: float
    cortex_mm: float

    @property
    def wall_mm(self) -> float:
        """y of the middle of the posterior wall."""
        return self.half_depth_mm - self.concave_mm


@dataclass(frozen=True)
class Plane:
    """A crack: a plane through a point, of some width, filled with blood or marrow."""

    normal: tuple[float, float, float]
    offset_mm: float
    width_mm: float
    hu: float
    half: int = 0  # 1 or -1: above or below the body's middle alone


@dataclass(frozen=True)
class Findings:
    """What departs from the shape: physiological wedging, look-alikes, fractures."""

    anterior_loss: float = 0.0  # share of the height
    posterior_loss: float = 0.0
    retropulsion_mm: float = 0.0
    spread: float = 0.0  # share by which the pedicles are further apart
    band_hu: float = 0.0  # of impacted bone; 0: none
    band_strength: float = 0.0
    cracks: tuple[Plane, ...] = ()
    lamina_mm: float = 0.0  # width of a gap in the lamina
    inferior: bool = False  # the lower end plate gave way
    both: float = 0.0  # share of the loss that is the other end plate's
    process_mm: float = 0.0  # width of a gap in the left transverse process
    sclerosis_hu: float = 0.0  # below an end plate, degenerative
    node_mm: float = 0.0  # depth of a Schmorl node
    node_x_mm: float = 0.0
    lip_mm: float = 0.0  # anterior osteophyte
    vein_mm: float = 2.0  # width of the basivertebral vein's channel


@dataclass(frozen=True)
class Spine:
    """A patient's spine about one level."""

    age: int
    sex: str
    vertebra: Vertebra
    disc_mm: float
    trabecular_hu: float
    cortex_hu: float
    texture_hu: float
    disc_hu: float
    tilt_deg: tuple[float, float, float]  # about x, y, z
    centre_mm: tuple[float, float, float]  # of the level's body, patient coordinates
    muscle_hu: float
    fat_mm: float
    skin_mm: float  # y of the back's skin
    vessel_hu: float

    @property
    def pitch_mm(self) -> float:
        """From one body's middle to the next."""
        return (self.vertebra.anterior_mm + self.vertebra.posterior_mm) / 2 + self.disc_mm


def draw_spine(seed: int, patient: int) -> Spine:
    """Draw a patient; the same law for those who will have a fracture and those who will not."""
    rng = stream(seed, patient, "spine")
    sex, age = str(rng.choice(["F", "M"])), int(rng.integers(20, 86))
    size = (1.05 if sex == "M" else 0.95) * rng.uniform(0.93, 1.07)
    anterior = rng.uniform(26.5, 29.5) * size
    vertebra = Vertebra(
        half_width_mm=22.5 * size * rng.uniform(0.95, 1.05),
        half_depth_mm=17.0 * size * rng.uniform(0.95, 1.05),
        posterior_mm=anterior + rng.uniform(1.0, 2.0),
        anterior_mm=anterior,
        concave_mm=rng.uniform(1.0, 2.5),
        canal_mm=rng.uniform(15.0, 18.0),
        canal_half_mm=rng.uniform(10.0, 12.5),
        cortex_mm=rng.uniform(0.8, 1.5),
    )
    return Spine(
        age=age,
        sex=sex,
        vertebra=vertebra,
        disc_mm=float(rng.uniform(6.0, 10.0)),
        trabecular_hu=float(np.clip(rng.normal(165 - 1.3 * (age - 50), 35), 55, 280)),
        cortex_hu=float(rng.uniform(650, 1100)),
        texture_hu=float(rng.uniform(30, 60)),
        disc_hu=float(rng.uniform(60, 100)),
        tilt_deg=tuple(rng.uniform((-10, -6, -8), (10, 6, 8)).tolist()),
        centre_mm=(
            float(rng.uniform(-12, 12)),
            float(rng.uniform(-20, 20)),
            float(rng.uniform(-600, -100)),
        ),
        muscle_hu=float(rng.uniform(35, 65)),
        fat_mm=float(rng.uniform(6, 30)),
        skin_mm=float(rng.uniform(72, 92)),
        vessel_hu=float(rng.choice([45.0, 170.0]) + rng.normal(0, 8)),
    )


def _share(distance, width):
    """1 inside, 0 outside of a signed distance, over an edge of `width` mm."""
    return np.clip(np.float32(0.5) - distance / np.float32(width), 0, 1)


def _capsule(x, y, z, start, end, radius, flat=1.0):
    """Signed distance to a rod; `flat` below 1 draws it out along z."""
    p = (x - start[0], y - start[1], (z - start[2]) * flat)
    d = (end[0] - start[0], end[1] - start[1], (end[2] - start[2]) * flat)
    length = sum(v * v for v in d)
    t = np.clip(sum(a * b for a, b in zip(p, d, strict=True)) / length, 0, 1)
    return np.sqrt(sum((a - t * b) ** 2 for a, b in zip(p, d, strict=True))) - radius


def end_plates(v: Vertebra, f: Findings, x, y):
    """z of the upper and of the lower end plate, and what each has lost (mm)."""
    u = np.clip((v.half_depth_mm - y) / (2 * v.half_depth_mm), 0, 1)  # 0 behind, 1 in front
    half = (v.posterior_mm + (v.anterior_mm - v.posterior_mm) * u) / 2
    lost = v.posterior_mm * f.posterior_loss * (1 - u) + v.anterior_mm * f.anterior_loss * u
    node = f.node_mm * np.exp(-((x - f.node_x_mm) ** 2 + (y - 2) ** 2) / 25)
    hollow = 1.2 * np.clip(1 - (x / v.half_width_mm) ** 2 - (y / v.half_depth_mm) ** 2, 0, 1)
    upper, lower = half - hollow - node, hollow - half
    second = lost * f.both
    first = lost - second
    above, below = (second, first) if f.inferior else (first, second)
    return upper - above, lower + below, above, below


def body(v: Vertebra, f: Findings, x, y, z):
    """Signed distance of the vertebral body, and of the healthy wall behind it (y beyond it)."""
    upper, lower, *_ = end_plates(v, f, x, y)
    middle, half = (upper + lower) / 2, np.maximum((upper - lower) / 2, 1)
    q = np.clip((z - middle) / half, -1, 1)
    sign = -1 if f.inferior else 1
    bump = np.exp(-((x * x / 81) ** 2) - ((sign * q - 0.45) / 0.5) ** 2)
    behind = y - f.retropulsion_mm * bump * np.clip(y / v.half_depth_mm, 0, 1)
    waist = 1 - 0.07 * (1 - q * q)
    lip = 1 + f.lip_mm / v.half_depth_mm * np.clip(np.abs(q) - 0.7, 0, 1) / 0.3 * (y < 0)
    a, b = v.half_width_mm * waist, v.half_depth_mm * waist * lip
    p, r = (x / a) ** 2, (behind / b) ** 2
    ring = (np.sqrt(p + r) + np.sqrt(np.sqrt(p * p + r * r))) / 2  # between ellipse and rectangle
    outline = (ring - 1) * v.half_depth_mm
    wall = v.half_depth_mm - v.concave_mm * np.exp(-((x / 10) ** 2))
    outline = smooth_max(outline, behind - wall, 1.5)
    # The posterior wall of the healthy body: what lies beyond it has been pushed back.
    return smooth_max(outline, np.abs(z - middle) - half, 1.5), y - wall


def arch(v: Vertebra, f: Findings, x, y, z):
    """Signed distance of pedicles, laminae and processes."""
    left, x = x, np.abs(x)
    wall, canal, half = v.wall_mm, v.canal_mm, v.canal_half_mm
    corner = (half + 5, wall + 0.55 * canal, 4)
    back = (0, wall + canal + 4, -3)
    parts = (
        _capsule(x, y, z, (half + 4.5, wall - 4, 6), corner, 4.6, 0.75),
        _capsule(x, y, z, corner, back, 3.2, 0.4),
        _capsule(x, y, z, back, (0, wall + canal + 30, -10), 3.2, 0.45),
        _capsule(x, y, z, corner, (38, wall + 0.8 * canal, 6), 4.0),
        _capsule(x, y, z, (half + 4, wall + canal * 0.8, 10), (half + 4, wall + canal, 18), 4.0),
        _capsule(x, y, z, (half + 1, wall + canal, -8), (half + 3, wall + canal * 0.95, -20), 3.8),
    )
    found = parts[0]
    for part in parts[1:]:
        found = -smooth_max(-found, -part, 2.0)
    if f.lamina_mm:
        gap = np.abs(x - 4) - f.lamina_mm / 2
        found = np.maximum(found, np.where(y > wall + canal / 2, -gap, -1e3))
    if f.process_mm:
        gap = np.abs(left - PROCESS_MM) - f.process_mm / 2
        found = np.maximum(found, np.where(left > half + 8, -gap, -1e3))
    return found


def near_bone(v: Vertebra, f: Findings, x, y, z, margin_mm: float):
    """Whether points of its frame are in the bone or no further than a margin from it."""
    x = x / np.float32(1 + f.spread)
    return (body(v, f, x, y, z)[0] < margin_mm) | (arch(v, f, x, y, z) < margin_mm)


def materials(spine: Spine, f: Findings, x, y, z, width: float):
    """HU and share of bone, share of trabecular bone and truth by code at points of one vertebra.

    x, y, z: [n] float32 in its frame; `width` is that of anti-aliased edges in mm.
    """
    v = spine.vertebra
    x = x / np.float32(1 + f.spread)
    solid, beyond = body(v, f, x, y, z)
    rear = arch(v, f, x, y, z)
    in_body, in_arch = _share(solid, width), _share(rear, width)
    upper, lower, above, below = end_plates(v, f, x, y)
    marrow = np.full_like(x, spine.trabecular_hu)
    truth = {}
    if f.band_strength:
        sides = ((upper - z, above), (z - lower, below))
        bands = (np.exp(-(((d - 5) / 3) ** 2)) * np.clip(lost / 3, 0, 1) for d, lost in sides)
        band = np.maximum(*bands) * f.band_strength
        marrow += np.maximum(f.band_hu - marrow, 60) * band
        truth[BAND] = (band > 0.4) * in_body
    if f.sclerosis_hu:
        other = upper - z if f.inferior else z - lower
        dense = np.exp(-((other / 3.5) ** 2)) * np.clip(1 - (x / 14) ** 2, 0, 1)
        marrow += np.maximum(f.sclerosis_hu - marrow, 0) * dense
        truth[MIMIC] = (dense > 0.4) * in_body
    spongy = _share(np.minimum(solid, rear) + v.cortex_mm, max(width, 0.8))
    hu = spine.cortex_hu + (marrow - spine.cortex_hu) * spongy
    vein = np.hypot(x * 0.25, z) - f.vein_mm / 2 * np.clip((y + 4) / v.half_depth_mm, 0, 1)
    hu += (30 - hu) * _share(vein, width) * in_body * (y > -4)
    for crack in f.cracks:
        away = sum(n * p for n, p in zip(crack.normal, (x, y, z), strict=True)) - crack.offset_mm
        inside = _share(np.abs(away) - crack.width_mm / 2, width) * in_body
        if crack.half:
            inside = inside * _share(-crack.half * z, width)
        hu += (crack.hu - hu) * inside
        truth[LINE] = np.maximum(truth.get(LINE, 0), inside)
    if f.process_mm:
        whole = _share(arch(v, replace(f, process_mm=0.0), x, y, z), width)
        truth[LINE] = np.maximum(truth.get(LINE, 0), whole - in_arch)
    if f.retropulsion_mm:
        truth[FRAGMENT] = in_body * _share(-beyond, width)
    bone = np.maximum(in_body, in_arch)
    return hu, bone, bone * spongy, truth
