"""A patient of the chest cohort as a radiograph, with the mask of the bones."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from msk_jax.phantoms.anatomy import stream
from msk_jax.phantoms.chest.anatomy import Chest
from msk_jax.phantoms.chest.bones import Bones
from msk_jax.phantoms.chest.soft import cage, soft_tissue
from msk_jax.phantoms.projection import (
    CORTEX_EXCESS,
    MINERAL_EXCESS,
    Curve,
    Detector,
    Rendering,
    ellipse_chord,
    expose,
    polyline,
    share,
    smooth_step,
    stamp,
    tube,
)

RIB, CLAVICLE, VERTEBRA, SHOULDER = 1, 2, 3, 4
CODES = {"rib": RIB, "clavicle": CLAVICLE, "vertebra": VERTEBRA, "shoulder": SHOULDER}
LEVEL_MM = 24.5  # from one vertebra to the next
RIBS = 10
MEAN_EXCESS = 0.12  # attenuation that healthy bones add on average
FOLLOWED = 0.55  # how much of a difference in it the choice of the beam makes up for


@dataclass(frozen=True)
class Frame:
    """Pixels of the picture at the patient's plane, [rows] and [columns] in mm."""

    x: np.ndarray
    y: np.ndarray
    pixel: float


def frame_of(chest: Chest, matrix: int, pixel_mm: float) -> Frame:
    """The detector's pixels brought back to the patient's plane."""
    pixel = pixel_mm / chest.magnification
    axis = (np.arange(matrix) - (matrix - 1) / 2) * pixel
    return Frame(
        (axis - chest.shift_mm[0]).astype(np.float32),
        (axis - chest.shift_mm[1] - 6).astype(np.float32),
        pixel,
    )


def render(
    chest: Chest, bones: Bones, frame: Frame, detector: Detector, seed: int, number: int
) -> Rendering:
    """Render one patient; the noise, the textures and the vessels have streams of their own."""
    gx, gy = np.meshgrid(frame.x, frame.y)
    turn = np.float32(np.radians(chest.tilt_deg))
    x, y = gx * np.cos(turn) + gy * np.sin(turn), gy * np.cos(turn) - gx * np.sin(turn)
    soft = soft_tissue(chest, stream(seed, number, "soft"), x, y, frame.pixel)
    layers = _Layers(chest, frame, x.shape, stream(seed, number, "texture"), bones.striation)
    _spine(layers, bones, x, y)
    _ribs(layers, bones)
    _clavicles(layers, bones)
    _shoulders(layers, bones, x, y)
    # The exposure follows the bones in part: thin bones are not just pale.
    mean = float(layers.excess[layers.labels > 0].mean())
    factor = chest.bone_factor * (MEAN_EXCESS / mean) ** FOLLOWED
    excess = layers.excess * np.float32(factor) * np.minimum(soft, 1)
    rng = stream(seed, number, "things")
    excess_shown = excess + _foreign(chest, rng, x, y)
    stored = expose(soft, excess_shown, detector, frame.pixel, stream(seed, number, "noise"))
    column = int(rng.uniform(0.86, 0.93) * len(frame.x))
    stamp(stored, "L", int(rng.uniform(0.03, 0.12) * len(frame.y)), column, len(frame.x) // 190 + 1)
    return Rendering(stored, layers.labels, soft, excess)


class _Layers:
    """The sum of the bones' attenuation and their mask."""

    def __init__(self, chest: Chest, frame: Frame, shape, rng, striation: float):
        self.chest, self.frame = chest, frame
        self.excess = np.zeros(shape, np.float32)
        self.labels = np.zeros(shape, np.uint8)
        noise = rng.standard_normal((2, *shape), dtype=np.float32)
        mm = frame.pixel
        upright = gaussian_filter(noise[0], (7.0 / mm, 0.9 / mm), truncate=3)
        grain = gaussian_filter(noise[1], 0.8 / mm, truncate=3)
        even = max(0.25 - 0.35 * striation, 0.04)  # fewer cross-links, fewer grains
        grain /= grain.std()
        self.spongy = np.clip(1 + striation * upright / upright.std() + even * grain, 0.05, 3.0)
        self.plain = 1 + np.float32(0.1) * grain

    def add(self, wall, inside, mg_cm3: float, code: int, window=...):
        """Path lengths of cortex and of trabecular bone."""
        texture = self.spongy if code in (VERTEBRA, SHOULDER) else self.plain
        mineral = np.float32(MINERAL_EXCESS * mg_cm3) * texture[window]
        self.excess[window] += np.float32(CORTEX_EXCESS) * wall + mineral * inside
        labels = self.labels[window]
        labels[(wall + inside > 0.5) & (labels == 0)] = code

    def add_tube(self, points, across, along, wall, mg_cm3, code, obliquity=1.0):
        """A tube along points of the patient's own, upright frame."""
        turn = np.radians(self.chest.tilt_deg)
        c, s = np.cos(turn), np.sin(turn)
        points = points @ np.array([[c, s], [-s, c]])
        ones = np.ones(len(points))
        drawn = tube(
            Curve(points, across * ones, along * ones, obliquity),
            self.frame.x,
            self.frame.y,
            wall,
            self.frame.pixel,
        )
        if drawn:
            self.add(drawn[0], drawn[1], mg_cm3, code, drawn[2])


def _spine(layers: _Layers, bones: Bones, x, y):
    """Vertebrae from the seventh cervical to the second lumbar, with pedicles and spines."""
    chest, pixel = layers.chest, layers.frame.pixel
    for level in range(-1, 13):
        grown = chest.size * (0.80 + 0.025 * (level + 2))
        top_down = (level - 4.5) * LEVEL_MM * chest.size
        middle = chest.scoliosis_mm * np.sin(top_down / 70 + chest.scoliosis_phase)
        half_width, height, depth = (grown * v for v in chest.vertebra_mm)
        if level == bones.wedge_level:
            height *= 1 - 0.75 * bones.wedge_loss  # the front loses more than the middle
        rows = slice(*np.searchsorted(layers.frame.y, (top_down - 32, top_down + 32)))
        if rows.start == rows.stop:
            continue
        u, v = x[rows] - np.float32(middle), y[rows] - np.float32(top_down)
        waist = half_width * (1 - 0.10 * (1 - np.clip(2 * v / height, -1, 1) ** 2))
        wall = np.float32(bones.vertebra_cortex_mm)

        def box(shrink, u=u, v=v, waist=waist, height=height):
            inside = share(np.abs(u) - waist + shrink, pixel)
            return inside * share(np.abs(v) - np.float32(height / 2) + shrink, pixel)

        outer, inner = box(np.float32(0)), box(wall)
        # end plates are fuller at their rim than the two walls that the ray crosses
        path = (outer - inner) * np.float32(0.55 * depth) + inner * 2 * wall
        layers.add(path, inner * np.float32(depth), bones.vertebra_mg_cm3, VERTEBRA, rows)
        for side in (-1, 1):
            px, py = u - side * np.float32(0.62 * half_width), v + np.float32(0.12 * height)
            ring = np.hypot(px / 0.72, py) - np.float32(0.24 * height)
            path = 7 * (share(ring, pixel) - share(ring + 1.4 * wall, pixel))
            layers.add(path, 5 * share(ring, pixel), bones.vertebra_mg_cm3, VERTEBRA, rows)
        spine = np.hypot(u / 0.6, v - np.float32(0.42 * height)) - np.float32(0.2 * height)
        path = 6 * (share(spine, pixel) - share(spine + 1.4 * wall, pixel))
        layers.add(path, 6 * share(spine, pixel), bones.vertebra_mg_cm3, VERTEBRA, rows)


def _ribs(layers: _Layers, bones: Bones):
    """Ribs as arcs from the spine round the side to the front, drawn in two halves."""
    chest = layers.chest
    angle = np.radians(np.arange(9, 147, 0.35))
    for index in range(RIBS):
        start = (index - 5.2) * LEVEL_MM * chest.size
        drop = chest.rib_slope * chest.size * (34 + 66 * min(index, 5) / 5)
        reach = float(cage(chest, start + 0.5 * drop)) + 2
        y = start - 9 * np.sin(2 * angle) + drop * (1 - np.cos(angle)) / 2
        depth = chest.depth_mm * min(reach / 105, 1)
        across = np.hypot(np.gradient(reach * np.sin(angle)), np.gradient(y))
        along = np.abs(np.gradient(depth * np.cos(angle)))
        slant = np.minimum(np.hypot(across, along) / across, 2.6)
        thick = chest.rib_mm * chest.size * (0.82 + 0.18 * min(index, 3) / 3)
        for side in (-1, 1):
            points = np.stack([side * reach * np.sin(angle), y], 1)
            for back in (True, False):
                part = (angle < np.pi / 2) == back
                half = thick * (1.0 if back else 1.12)
                layers.add_tube(
                    points[part],
                    half,
                    0.62 * thick,
                    bones.rib_cortex_mm,
                    chest.rib_mg_cm3,
                    RIB,
                    slant[part],
                )


def _clavicles(layers: _Layers, bones: Bones):
    chest, s = layers.chest, layers.chest.size
    for side in (-1, 1):
        lift = chest.clavicle_tilt * 110 + 0.4 * chest.shoulder_mm
        corners = [
            (14, -104),
            (45, -113 - 0.35 * lift),
            (88, -112 - 0.7 * lift),
            (122, -119 - lift),
            (150, -122 - lift),
        ]
        points = polyline([(side * px * s, py * s) for px, py in corners])
        ends = np.abs(np.linspace(-1, 1, len(points))) ** 3
        radius = chest.clavicle_mm * s * (1 + 0.35 * ends)
        layers.add_tube(points, radius, 0.9 * radius, bones.clavicle_cortex_mm, 110, CLAVICLE)


def _shoulders(layers: _Layers, bones: Bones, x, y):
    """Humeral heads and the lateral borders of the scapulae, as far as they are in the picture."""
    chest, s, pixel = layers.chest, layers.chest.size, layers.frame.pixel
    wall = np.float32(bones.vertebra_cortex_mm)
    for side in (-1, 1):
        cx, cy = side * 157 * s, (-98 - 0.4 * chest.shoulder_mm) * s
        head = np.hypot(x - cx, y - cy)
        radius = 23 * s
        outer = ellipse_chord(head, radius, radius, pixel)
        inner = ellipse_chord(head, radius - wall, radius - wall, pixel)
        layers.add(outer - inner, inner, bones.humerus_mg_cm3, SHOULDER)
        border = [(side * 138 * s, cy + 8), (side * 132 * s, cy + 45), (side * 112 * s, cy + 118)]
        layers.add_tube(polyline(border), 3.6, 3.6, bones.rib_cortex_mm, 90, SHOULDER)
        spine = [(side * 150 * s, cy - 8), (side * 118 * s, cy + 4), (side * 92 * s, cy + 22)]
        layers.add_tube(polyline(spine), 3.4, 3.0, bones.rib_cortex_mm, 90, SHOULDER)


def _foreign(chest: Chest, rng, x, y):
    """Calcified aortic wall and electrodes: neither bone nor disease of it."""
    ring = np.hypot(x - 19 * chest.size, y + 52 * chest.size) - chest.arch_mm
    arc = smooth_step(np.arctan2(-(y + 52), x - 19), 0.0, 0.4)
    extra = 0.16 * chest.calcification * np.exp(-((ring / 1.1) ** 2)) * arc
    for _ in range(chest.electrodes):
        cx, cy = rng.uniform(-95, 95), rng.uniform(-60, 90)
        away = np.hypot(x - cx, y - cy)
        extra += 0.5 * share(away - 2.4, 0.8)
        along = np.clip((y - cy) / 90, 0, 1)
        wire = np.abs(x - cx - 14 * np.sin(2.2 * along) * (1 if cx > 0 else -1))
        extra += 0.25 * share(wire - 0.5, 0.8) * smooth_step(y - cy, 0, 3)
    return extra.astype(np.float32)
