"""A tumour in a box of voxels: what it takes away from the bone and what it adds.

The box is turned with the rays: its axes are z, the frontal picture's and the lateral picture's,
so that each view is a sum along one axis.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from msk_jax.phantoms.knee.anatomy import Knee, distance, section
from msk_jax.phantoms.knee.signs import Tumour
from msk_jax.phantoms.projection import CORTEX_EXCESS, MINERAL_EXCESS, MU_FAT, MU_SOFT
from msk_jax.phantoms.soft_tissue import coarse_noise

JOINT_MM = 3.0  # from the joint line to either plate
MASS_EXCESS = MU_SOFT - MU_FAT
TUMOUR, PERIOSTEUM, MASS, PHYSIS = 1, 2, 3, 4
CODES = {"tumour": TUMOUR, "periosteum": PERIOSTEUM, "mass": MASS, "physis": PHYSIS}
MAX_VOXELS = 96  # along the longest edge


@dataclass(frozen=True)
class Box:
    """Projections of a tumour: per view [z, across] of added attenuation and path lengths.

    `excess` is the change that the bones' contrast belongs to, `soft` that of soft tissue;
    `paths` is in mm by code. Views are "AP" and "LL".
    """

    z: np.ndarray
    across: dict[str, np.ndarray]
    excess: dict[str, np.ndarray]
    soft: dict[str, np.ndarray]
    paths: dict[str, dict[int, np.ndarray]]


def render_tumour(knee: Knee, tumour: Tumour, rng, pixel: float) -> Box:
    """Build the box of a tumour and project it."""
    place = _place(knee, tumour)
    step = max(pixel, 2 * max(place.reach) / MAX_VOXELS)
    return _project(_Space(knee, tumour, place, rng, step), knee.bone_factor)


@dataclass(frozen=True)
class _Place:
    """Where a tumour lies in the leg's frame, and how far its box reaches; in mm."""

    middle: float  # z
    centre: np.ndarray  # x, d
    wide: np.ndarray  # half axes along x, d
    semi: float  # half axis along z
    reach: tuple[float, float]  # along z, and across


def _place(knee: Knee, tumour: Tumour) -> _Place:
    away = (12.0 if tumour.bone == "fibula" else JOINT_MM) + tumour.edge_mm + tumour.size_mm / 2
    middle = -away if tumour.bone == "femur" else away
    host = section(knee, tumour.bone, np.array(middle))
    # within the condyles, where the shaft's stack has ended, the bone is no narrower than 5 mm
    half = np.array([max(float(host.a), 5.0), max(float(host.b), 5.0)])
    turned = np.array([np.cos(tumour.azimuth), np.sin(tumour.azimuth)])
    centre = np.array([host.x, host.d]) + 0.8 * tumour.eccentricity * half * turned
    semi = tumour.size_mm / 2
    wide = np.minimum(tumour.slim * semi, 1.05 * half + 3)
    across = float(wide.max()) + tumour.expansion_mm + 0.6 * tumour.mass_mm + 17
    return _Place(middle, centre, wide, semi, (1.35 * semi + 8, across))


class _Space:
    """Coordinates and fields in the box, [z, p, q] float32: p across the frontal picture, q across
    the lateral one."""

    def __init__(self, knee: Knee, tumour: Tumour, place: _Place, rng, step: float):
        self.tumour, self.step, self.rng = tumour, step, rng
        centre, wide = place.centre, place.wide
        turn = np.radians(knee.turn_deg)
        c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        p0, q0 = centre[0] * c + centre[1] * s, centre[1] * c - centre[0] * s

        def axis(at, far):
            return (at + np.arange(-far, far + step, step)).astype(np.float32)

        along, across = place.reach
        self.z, self.p, self.q = axis(place.middle, along), axis(p0, across), axis(q0, across)
        z, p, q = np.ix_(self.z, self.p, self.q)
        x, d = p * c - q * s, p * s + q * c
        self.shape = (len(self.z), len(self.p), len(self.q))
        self.along = (z - np.float32(place.middle)) / np.float32(place.semi)
        rx, rd = (x - centre[0]) / np.float32(wide[0]), (d - centre[1]) / np.float32(wide[1])
        self.radius = np.sqrt(self.along**2 + rx * rx + rd * rd).astype(np.float32)
        self.scale = float(min(wide.min(), place.semi))
        self.surface, self.wall = distance(knee, tumour.bone, x, d, z)
        host = section(knee, tumour.bone, z)
        self.azimuth = np.arctan2(d - host.d, x - host.x).astype(np.float32)
        outward = np.cos(self.azimuth - np.float32(tumour.azimuth))
        self.facing = np.clip(0.6 + 0.9 * outward, 0, 1)  # 1 on the tumour's side of the bone
        self.trabecular = np.float32(MINERAL_EXCESS * knee.trabecular_mg)

    def noise(self, mm: float):
        """A smooth field of unit variance."""
        return coarse_noise(self.rng, self.shape, (self.step,) * 3, (mm, mm, mm))

    def edge(self, away):
        """1 inside, 0 outside of a signed distance, over a voxel."""
        return np.clip(0.5 - away / np.float32(max(self.step, 0.8)), 0, 1)


def _project(space: _Space, bone_factor: float) -> Box:
    tumour = space.tumour
    away = (space.radius - 1) * np.float32(space.scale)
    away += np.float32(0.10 * space.scale) * space.noise(max(0.55 * space.scale, 6))
    bulge = _bulge(space)
    lysis = _lysis(space, away, bulge)
    inside = space.edge(space.surface)
    cortex = inside * space.edge(-space.surface - space.wall)
    bone = np.float32(CORTEX_EXCESS) * cortex + space.trabecular * (inside - cortex)
    # without a breach a thinned cortex is left
    left = 0.0 if tumour.breach else 0.45
    left = left * cortex * (bulge < 1)
    change = -bone * lysis * (1 - left)
    shell, blown = _expansion(space, bulge, inside)
    change += np.float32(CORTEX_EXCESS) * shell
    if tumour.septa:
        ridge = np.exp(-((space.noise(11.0) / 0.10) ** 2)) * lysis * np.maximum(inside, blown)
        change += np.float32(0.30 * CORTEX_EXCESS) * ridge
    if tumour.rim:
        change += np.float32(0.3 * CORTEX_EXCESS) * np.exp(-((away / 1.5) ** 2)) * inside
    if tumour.matrix_share > 1e-3:
        start = ndtri(1 - tumour.matrix_share)  # so much of the tumour's room is above
        cloud = np.clip((space.noise(5.0) - np.float32(start)) * 3, 0, 1) * (away < 0)
        change += np.float32(0.3 * CORTEX_EXCESS) * cloud
    reaction = _reaction(space) * (1 - inside) * (1 - blown)
    change += np.float32(0.5 * CORTEX_EXCESS) * reaction
    mass = _mass(space) * (1 - inside)
    body = np.maximum(lysis * inside, blown)
    views = {"AP": 2, "LL": 1}

    def add(field, axis):
        return field.sum(axis, dtype=np.float32) * np.float32(space.step)

    return Box(
        space.z,
        {"AP": space.p, "LL": space.q},
        {view: add(change, axis) * np.float32(bone_factor) for view, axis in views.items()},
        {view: add(mass, axis) * np.float32(MASS_EXCESS) for view, axis in views.items()},
        {
            view: {
                TUMOUR: add(body, axis),
                PERIOSTEUM: add(reaction, axis),
                MASS: add(mass, axis),
            }
            for view, axis in views.items()
        },
    )


def _bulge(space: _Space):
    """How far in mm the surface is blown out."""
    height = np.clip(1 - (space.along / 1.05) ** 2 + 0.12 * space.noise(16.0), 0, 1)
    return np.float32(space.tumour.expansion_mm) * height * space.facing


def _lysis(space: _Space, away, bulge):
    """Share of bone that is gone: all within, none without, moth-eaten in the zone between."""
    width = np.float32(space.tumour.transition_mm)
    share = np.clip(0.5 - away / width, 0, 1)
    holes = space.noise(2.6) * np.sqrt(share * (1 - share)) * np.float32(2.4)
    gone = np.clip(0.5 + 3 * (share - 0.5 + 0.35 * holes), 0, 1)
    # a cortex that has been blown out is no longer where it was
    return np.maximum(gone, np.clip(bulge - 1, 0, 1) * (space.surface > -space.wall - 2))


def _expansion(space: _Space, bulge, inside):
    """The shell of a bone that is blown up, and the room between it and the old surface."""
    outer = space.surface - bulge
    out = (1 - inside) * np.clip(bulge - 0.5, 0, 1)
    shell = np.exp(-(((outer + 0.5) / 0.6) ** 2)) * out
    if space.tumour.breach:
        shell = shell * np.clip(space.noise(9.0) * 2 + 0.2, 0, 1)
    return 0.8 * shell, space.edge(outer) * out


def _mass(space: _Space):
    """Soft tissue outside of the bone, on the tumour's side."""
    if space.tumour.mass_mm <= 0:
        return np.zeros(space.shape, np.float32)
    height = np.sqrt(np.clip(1 - (space.along / 0.95) ** 2, 0, 1))
    reach = np.float32(0.6 * space.tumour.mass_mm) * height * space.facing**2
    return np.clip((reach - space.surface) / 3, 0, 1)


def _reaction(space: _Space):
    """New bone of the periosteum."""
    tumour, out = space.tumour, space.surface
    if not tumour.reaction:
        return np.zeros(space.shape, np.float32)
    near = (out > 0) & (out < 17)
    along = np.abs(space.along)
    gate = space.facing * near
    if tumour.reaction == "lamellated":
        layers = np.exp(-(((((out + 0.2) % 2.4) - 1.2) / 0.5) ** 2)) * (out < 7)
        return gate * layers * np.clip((1.25 - along) * 6, 0, 1)
    if tumour.reaction == "codman":
        rise = (1.30 - along) * np.float32(0.45 * tumour.size_mm / 2)
        sheet = np.exp(-(((out - rise) / 0.9) ** 2)) * np.clip((along - 0.62) * 8, 0, 1)
        fill = 0.35 * np.clip((rise - out) / 1.5, 0, 1) * np.clip((along - 0.95) * 8, 0, 1)
        return gate * (sheet + fill) * (along < 1.30)
    # sunburst: spicules stand on the surface, the same at every height above it
    field = coarse_noise(space.rng, (1, 160, 120), (1, 1, 1), (1, 1.5, 1.5))[0]
    place = ((space.z - space.z[0]) / 1.4).astype(int) % 160
    around = ((space.azimuth + np.pi) * np.float32(119 / (2 * np.pi))).astype(int)
    spicules = np.clip((field[place[:, None, None], around] - 0.35) * 2.5, 0, 1)
    length = 3 + 12 * np.clip(1 - along**2, 0, 1)
    return gate * spicules * np.clip((length - out) / 2, 0, 1) * (along < 1.15)
