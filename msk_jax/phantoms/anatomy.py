"""Anatomy of the pelvis around the sacroiliac joints, as signed distances in millimetres.

The body frame has its origin in the middle between the two joints at half their height: x to the
patient's left, y posterior, z superior. A side is described in (u, y), where u = side * x is the
distance from the midline, so that left and right are one piece of code. The patient frame (DICOM
LPS) is the body frame turned about z and shifted.

Every quantity here is nuisance: it is drawn before it is known who is ill.
"""

import zlib
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

LEFT, RIGHT = 1, -1
SIDES = {"left": LEFT, "right": RIGHT}

# Beyond its upper and lower end the joint opens to these half widths within OPENING_MM.
SACRUM_BEYOND_MM = 24.0
ILIUM_BEYOND_MM = 50.0
OPENING_MM = 4.0
BEND_MM = 26.0  # the sheet is curved up to this far from its middle


def stream(seed: int, patient: int, name: str) -> np.random.Generator:
    """The random stream `name` of one patient: no stream ever moves another one."""
    return np.random.default_rng([seed, patient, zlib.crc32(name.encode())])


@dataclass(frozen=True)
class JointShape:
    """One auricular joint: an oblique, curved sheet between sacrum and ilium."""

    side: int
    lateral_mm: float  # distance of the sheet's middle from the midline at half height
    taper_mm: float  # how much further lateral the top is than the bottom
    angle_deg: float  # of the joint line against the sagittal plane, running postero-medially
    turn_deg: float  # change of that angle from top to bottom
    posterior_mm: float  # shift of the joint's middle towards the back from top to bottom
    curvature_per_mm: float
    wave_mm: float
    wave_phase: float
    length_mm: float  # antero-posterior length at half height


@dataclass(frozen=True)
class Anatomy:
    """One patient without any finding. Lengths in mm, densities in HU."""

    age: int
    sex: str
    height_mm: float  # cranio-caudal extent of the joints
    rotation_deg: float
    shift_mm: tuple[float, float, float]
    body_mm: tuple[float, float]  # half width and half depth of the body ellipse
    fat_mm: float
    size: float  # scale of everything away from the joints
    asis_mm: tuple[float, float]  # lateral, anterior
    ilium_mm: float  # thickness of the ilium beside the joint
    trabecular_hu: tuple[float, float]  # sacrum, ilium
    texture_hu: float
    cortex_hu: float
    cortex_mm: tuple[float, float]  # sacrum, ilium
    cartilage_hu: float
    muscle_hu: float
    vessel_hu: float
    joints: tuple[JointShape, JointShape]

    def joint(self, side: int) -> JointShape:
        return next(joint for joint in self.joints if joint.side == side)

    def to_body(self, x, y):
        """Body x, y of the patient coordinates x, y (any shape, mm)."""
        c, s = np.cos(np.radians(self.rotation_deg)), np.sin(np.radians(self.rotation_deg))
        x, y = x - self.shift_mm[0], y - self.shift_mm[1]
        return (c * x + s * y).astype(np.float32), (c * y - s * x).astype(np.float32)

    def to_patient(self, x: float, y: float) -> tuple[float, float]:
        """Patient x, y of body x, y."""
        c, s = np.cos(np.radians(self.rotation_deg)), np.sin(np.radians(self.rotation_deg))
        return c * x - s * y + self.shift_mm[0], s * x + c * y + self.shift_mm[1]


def draw_anatomy(seed: int, patient: int) -> Anatomy:
    """Draw a patient; the same law for those who are going to be ill and those who are not."""
    rng = stream(seed, patient, "anatomy")
    age = int(rng.integers(18, 66))
    sex = str(rng.choice(["F", "M"]))
    size = (1.03 if sex == "M" else 0.97) * rng.uniform(0.95, 1.05)
    height = rng.uniform(45.0, 60.0)
    common = {
        "lateral_mm": rng.uniform(32, 37) * size,
        "taper_mm": rng.uniform(2, 8),
        "angle_deg": rng.uniform(22, 34),
        "turn_deg": rng.uniform(-8, 4),
        "posterior_mm": rng.uniform(4, 12),
        "curvature_per_mm": rng.uniform(-0.003, 0.005),
        "wave_mm": rng.uniform(0.2, 1.0),
        "wave_phase": rng.uniform(0, 6.28),
        "length_mm": rng.uniform(38, 48) * size,
    }
    jitter = {
        "lateral_mm": 0.8,
        "angle_deg": 1.5,
        "curvature_per_mm": 0.0008,
        "wave_phase": 0.6,
        "length_mm": 1.5,
    }
    joints = tuple(
        JointShape(
            side, **{k: float(v + rng.normal(0, jitter.get(k, 0))) for k, v in common.items()}
        )
        for side in (LEFT, RIGHT)
    )
    # Density falls with age, but most of its spread has nothing to do with it.
    trabecular = float(np.clip(rng.normal(190 - 1.7 * (age - 40), 45), 60, 340))
    cortex_mm = rng.uniform(0.7, 1.9)
    half_width = rng.uniform(148, 182)
    return Anatomy(
        age=age,
        sex=sex,
        height_mm=float(height),
        rotation_deg=float(rng.uniform(-10, 10)),
        shift_mm=(
            float(rng.uniform(-12, 12)),
            float(rng.uniform(-2, 14)),
            float(np.round(rng.uniform(-900, -100), 1)),
        ),
        body_mm=(float(half_width), float(half_width * rng.uniform(0.6, 0.7))),
        fat_mm=float(rng.uniform(8, 34)),
        size=float(size),
        asis_mm=(float(rng.uniform(116, 126) * size), float(rng.uniform(66, 80) * size)),
        ilium_mm=float(rng.uniform(17, 24)),
        trabecular_hu=(trabecular, float(np.clip(trabecular * rng.uniform(0.9, 1.3), 60, 380))),
        texture_hu=float(rng.uniform(45, 95)),
        cortex_hu=float(rng.uniform(750, 1350)),
        cortex_mm=(float(cortex_mm), float(cortex_mm * rng.uniform(1.0, 1.35))),
        cartilage_hu=float(rng.uniform(20, 80)),
        muscle_hu=float(rng.uniform(40, 65)),
        vessel_hu=float(rng.choice([45.0, 160.0]) + rng.normal(0, 8)),
        joints=joints,
    )


def smooth_max(a, b, k: float):
    """Maximum with its corner rounded over about k mm (a, b: signed distances)."""
    h = np.maximum(k - np.abs(a - b), 0)
    return np.maximum(a, b) + h * h * (0.25 / k)


@dataclass(frozen=True)
class JointSection:
    """The geometry of one side in the axial plane at body z: scalars, then functions of (u, y)."""

    anatomy: Anatomy
    shape: JointShape
    z: float

    def __post_init__(self):
        shape, q = self.shape, self.q
        inside = min(max(q, 0.0), 1.0)
        angle = np.radians(shape.angle_deg + shape.turn_deg * (inside - 0.5))
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        put("sin", float(np.sin(angle)))
        put("cos", float(np.cos(angle)))
        put("u0", shape.lateral_mm + shape.taper_mm * (0.5 - inside))
        put("y0", shape.posterior_mm * (inside - 0.5))
        put("inside", inside)
        put("length", shape.length_mm * (0.8 + 0.2 * np.sin(np.pi * inside)))
        # The synovial part takes the whole length in the lower half, its front above.
        grown = np.clip(inside / 0.5, 0, 1)
        put("synovial_end", -self.length / 2 + self.length * (0.5 + 0.5 * grown))
        put("beyond", float(np.clip(max(-q, q - 1) * self.anatomy.height_mm / OPENING_MM, 0, 1)))

    @property
    def q(self) -> float:
        """Position along the joint: 0 at its upper end, 1 at its lower end."""
        return 0.5 - self.z / self.anatomy.height_mm

    def sheet(self, u, y):
        """(w, t) in mm: w across the joint (towards the ilium), t along it (towards the back)."""
        du, dy = u - np.float32(self.u0), y - np.float32(self.y0)
        t = dy * np.float32(self.cos) - du * np.float32(self.sin)
        w = du * np.float32(self.cos) + dy * np.float32(self.sin)
        shape = self.shape
        # The joint is curved; its continuation, which bounds the iliac wing, is not.
        bend = np.float32(shape.curvature_per_mm) * np.minimum(t * t, np.float32(BEND_MM**2))
        wave = np.float32(shape.wave_mm) * np.sin(
            t * np.float32(0.21) + np.float32(shape.wave_phase)
        )
        return w - bend - wave, t

    def point(self, t: float, w: float = 0.0) -> tuple[float, float]:
        """(u, y) of a sheet position; curvature and wave included."""
        shape = self.shape
        w = (
            w
            + shape.curvature_per_mm * np.minimum(t * t, BEND_MM**2)
            + shape.wave_mm * np.sin(0.21 * t + shape.wave_phase)
        )
        return (self.u0 - t * self.sin + w * self.cos, self.y0 + t * self.cos + w * self.sin)

    def opening(self, t):
        """What the half gap gains outside the synovial part: ligament behind, capsule in front."""
        behind = np.clip((t - np.float32(self.synovial_end)) * np.float32(0.28), 0, 5)
        front = np.clip((np.float32(-self.length / 2) - t) * np.float32(0.5), 0, 4)
        return behind + front

    def sacrum(self, u, y, across):
        """Signed distance of the sacrum (negative inside); `across` is w + half gap."""
        q, size = self.inside, self.anatomy.size
        anterior = size * (-31 + 22 * q) + (0.007 - 0.013 * q) * u * u
        posterior = size * (33 - 3 * q) - 0.42 * np.sqrt(u * u + 25) + 2.0 * np.cos(u * 0.3)
        lateral = 70 + (SACRUM_BEYOND_MM - 70) * self.beyond
        outline = smooth_max(anterior - y, y - posterior, 6.0)
        outline = smooth_max(outline, across, 3.0)
        outline = smooth_max(outline, u - np.float32(lateral), 5.0)
        return np.maximum(outline, -self._holes(u, y))

    def _holes(self, u, y):
        """Signed distance of the sacral canal and the ventral foramina (negative inside)."""
        q, size = self.inside, self.anatomy.size
        a, b = size * (11 - 5 * q), size * (6.5 - 2 * q)
        canal_y = size * (17 - 1 * q)
        canal = (np.sqrt((u / a) ** 2 + ((y - canal_y) / b) ** 2) - 1) * b
        holes = canal
        for level, lateral in ((0.22, 20.0), (0.72, 17.0)):
            dz = (self.q - level) * self.anatomy.height_mm / 8.0
            if abs(dz) >= 1:
                continue
            r = np.sqrt(1 - dz * dz)
            front = size * (-31 + 22 * q)
            for depth, a, b in ((6.0, 5.0, 9.0), (20.0, 3.5, 7.0)):
                centre = front + depth + (0.007 - 0.013 * q) * lateral * lateral
                d = np.sqrt(
                    ((u - size * lateral + 0.25 * depth) / (a * r)) ** 2
                    + ((y - centre) / (b * r)) ** 2
                )
                holes = np.minimum(holes, (d - 1) * (a * r))
        return holes

    def nodes(self) -> list[tuple[float, float, float]]:
        """The ilium's middle line from the posterior to the anterior superior spine: (u, y, r)."""
        an, q = self.anatomy, self.inside
        offset, r = an.ilium_mm / 2 - 1.0, an.ilium_mm / 2 + 1.0
        half = self.length / 2
        asis_u, asis_y = an.asis_mm[0] - 10 * q, -an.asis_mm[1] + 6 * q
        back, front = self.point(half - 5, offset), self.point(-half + 5, offset)
        return [
            (self.u0 + 7, self.y0 + 38 * an.size, 7.0),
            (*back, r),
            (*front, r),
            (*self.point(-half - 9, offset + 3), 7.5 + 1.5 * q),
            (0.45 * asis_u + 36 * an.size, 0.5 * asis_y - 4, 4.2 + 4 * q),
            (0.8 * asis_u + 14 * an.size, 0.78 * asis_y - 2, 3.8 + 3.5 * q),
            (asis_u, asis_y, 6.5 + 1.5 * q),
        ]

    def ilium(self, u, y, across):
        """Signed distance of the ilium (negative inside); `across` is half gap - w."""
        nodes = self.nodes()
        outline = None
        for (u1, y1, r1), (u2, y2, r2) in pairwise(nodes):
            eu, ey = u2 - u1, y2 - y1
            along = np.clip(
                ((u - u1) * np.float32(eu) + (y - y1) * np.float32(ey))
                * np.float32(1 / (eu * eu + ey * ey)),
                0,
                1,
            )
            d = np.hypot(u - u1 - along * np.float32(eu), y - y1 - along * np.float32(ey))
            d -= np.float32(r1) + along * np.float32(r2 - r1)
            outline = d if outline is None else -smooth_max(-outline, -d, 4.0)
        outline = smooth_max(outline, across, 2.0)
        if self.beyond > 0:
            outline = smooth_max(outline, np.float32(ILIUM_BEYOND_MM * self.beyond) - u, 5.0)
            if self.q > 1:  # the greater sciatic notch takes the posterior part away
                outline = smooth_max(outline, y - np.float32(40 - 55 * self.beyond), 8.0)
        return outline
