"""Lacunae of a field of bone: where they lie, what each holds, and their boxes.

Every lacuna is drawn as if a healthy osteocyte lay in it; its class changes the nucleus alone, by
`severity`. So at 0 all classes look alike, and at 1 nuclei have the published sizes.
"""

from dataclasses import dataclass

import numpy as np

from msk_jax.phantoms.histology.animal import Section, draw_classes
from msk_jax.phantoms.histology.ellipses import Ellipses
from msk_jax.phantoms.histology.tissue import Tissue, direction

MAJOR_UM, MINOR_UM = (12.0, 20.0), (6.0, 10.0)  # whole axes
PER_MM2 = (115.0, 455.0)  # 30 to 120 on a field of 1024 pixels of 0.5 um
AREA_RATIO = ((0.35, 0.6), (0.1, 0.25), (0.0, 0.0))  # nucleus to lacuna, by class
STAINING = ((0.42, 0.8), (0.75, 1.15), (0.0, 0.0))  # haematoxylin of nuclei, by class
LEAST_INSIDE = 1 / 3  # of a lacuna's area, or it is not drawn
GAP_UM = 2.0  # at least, between the outlines of lacunae that do not touch
MARGIN_UM = 1.5  # of bone around a lacuna
TRIES = 25  # places tried for each lacuna


@dataclass(frozen=True)
class Lacunae:
    """[n] lacunae of a tile and their nuclei, in pixels."""

    ellipses: Ellipses
    nuclei: Ellipses  # axes of 0 where there is none
    classes: np.ndarray  # [n] int, as drawn
    annotated: np.ndarray  # [n] int, as the annotations say
    ratio: np.ndarray  # [n] of the areas of nucleus and lacuna
    staining: np.ndarray  # [n] haematoxylin of the nuclei
    haze: np.ndarray  # [n, 2] haematoxylin and eosin of what else lies in a lacuna
    speck: np.ndarray  # [n] haematoxylin of a grain of debris, 0 where there is none
    touching: np.ndarray  # [n] bool
    boxes: np.ndarray  # [n, 4] float32, edges of the part in the tile

    def __len__(self) -> int:
        return len(self.classes)


def draw_lacunae(config, section: Section, tissue: Tissue) -> Lacunae:
    """The lacunae of one section of the cohort `config` (a HistologyPhantom)."""
    places = section.stream(config.seed, "lacunae")
    ellipses, partner = _place(config, places, tissue)
    count = len(ellipses)
    classes = draw_classes(section, count, section.stream(config.seed, "classes"))
    noise = section.stream(config.seed, "label")
    wrong = noise.random(count) < config.label_noise
    annotated = np.where(wrong, (classes + noise.integers(1, 3, count)) % 3, classes)
    rng = section.stream(config.seed, "nuclei")
    ratio, staining = (
        _by_class(rng, limits, classes, config.severity) for limits in (AREA_RATIO, STAINING)
    )
    return Lacunae(
        ellipses,
        _draw_nuclei(rng, ellipses, ratio, partner),
        classes,
        annotated,
        ratio,
        staining,
        haze=rng.uniform((0.0, 0.01), (0.05, 0.07), (count, 2)),
        speck=np.where(rng.random(count) < 0.3, rng.uniform(0.1, 0.4, count), 0),
        touching=partner >= 0,
        boxes=ellipses.boxes(config.matrix),
    )


def _by_class(rng, limits: tuple, classes: np.ndarray, severity: float) -> np.ndarray:
    """A figure of each nucleus: that of a healthy one, moved towards that of its class."""
    low, high = np.array(limits).T
    rank = rng.random(len(classes))
    healthy = low[0] + (high[0] - low[0]) * rank
    ill = low[classes] + (high - low)[classes] * rank
    return healthy + severity * (ill - healthy)


def _place(config, rng, tissue: Tissue) -> tuple[Ellipses, np.ndarray]:
    """Lacunae that lie in the bone and apart, but for pairs; [n] the other of a pair, or -1."""
    size, pixel = config.matrix, config.pixel_um
    wanted = max(round(rng.uniform(*PER_MM2) * (size * pixel / 1000) ** 2), 2)
    count = wanted * TRIES
    major, minor = (rng.uniform(*axis, count) / 2 / pixel for axis in (MAJOR_UM, MINOR_UM))
    reach = MAJOR_UM[1] / 2 / pixel
    x, y = rng.uniform(-reach, size + reach, (2, count))
    turn = np.radians(30) * rng.standard_normal(count)
    candidates = Ellipses(x, y, major, minor, direction(tissue, x, y, pixel) + turn)
    makes_pair = rng.random(count) < config.touching_share / (2 - config.touching_share)
    side = rng.choice([-1.0, 1.0], count)
    lies_well = (candidates.share_inside(size) >= LEAST_INSIDE) & _in_bone(
        candidates, tissue, pixel
    )
    chosen: list[Ellipses] = []
    partner: list[int] = []
    for k in np.flatnonzero(lies_well):
        if len(chosen) >= wanted:
            break
        group = [candidates.at([k])]
        if makes_pair[k] and len(chosen) + 2 <= wanted:
            other = _beside(group[0], candidates.at([(k + 1) % count]), side[k])
            if other.share_inside(size)[0] < LEAST_INSIDE or not _in_bone(other, tissue, pixel)[0]:
                continue
            group.append(other)
        if chosen and any(_too_near(one, _joined(chosen), GAP_UM / pixel) for one in group):
            continue
        partner += [-1] if len(group) == 1 else [len(chosen) + 1, len(chosen)]
        chosen += group
    return _joined(chosen), np.array(partner, int)


def _joined(parts: list[Ellipses]) -> Ellipses:
    names = Ellipses.__dataclass_fields__
    return Ellipses(
        *(np.concatenate([getattr(p, n) for p in parts]) if parts else np.zeros(0) for n in names)
    )


def _in_bone(ellipses: Ellipses, tissue: Tissue, pixel_um: float) -> np.ndarray:
    """Whether [n] ellipses, as far as they lie in the tile, are in bone, away from cracks."""
    size = len(tissue.bone)
    outline = ellipses.outline(np.linspace(0, 2 * np.pi, 16, endpoint=False))
    middle = np.stack([ellipses.x, ellipses.y], axis=1)[:, None]
    points = np.concatenate([outline, middle, (outline + middle) / 2], axis=1)
    columns, rows = np.clip(np.floor(points), 0, size - 1).astype(int).transpose(2, 0, 1)
    return (tissue.room_um[rows, columns] > MARGIN_UM).all(1)


def _beside(first: Ellipses, shape: Ellipses, side: float) -> Ellipses:
    """An ellipse of another's shape that touches the first, along whose flank it lies."""
    apart = side * (first.minor + shape.minor)
    return Ellipses(
        first.x - apart * np.sin(first.angle), first.y + apart * np.cos(first.angle),
        shape.major, shape.minor, first.angle,
    )  # fmt: skip


def _too_near(one: Ellipses, others: Ellipses, gap: float) -> bool:
    """Whether an ellipse comes nearer to one of the others than the gap."""
    near = np.hypot(others.x - one.x, others.y - one.y) < others.major + one.major + gap
    if not near.any():
        return False
    others = others.at(near)
    places = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    outlines, outline = others.outline(places), one.outline(places)
    return bool(
        (
            one.radius(outlines[..., 0].reshape(1, -1), outlines[..., 1].reshape(1, -1), gap) < 1
        ).any()
        or (others.radius(outline[..., 0], outline[..., 1], gap) < 1).any()
    )


def _draw_nuclei(rng, ellipses: Ellipses, ratio: np.ndarray, partner: np.ndarray) -> Ellipses:
    """Nuclei of these shares of the lacunae's areas, somewhere in them; those of a pair are at the
    wall between the two, where they touch."""
    count = len(ellipses)
    ovalness, place, angle = rng.random(count), np.sqrt(rng.random(count)), rng.random(count)
    aspect = ellipses.minor / ellipses.major
    # From as long as the lacuna's shape allows to round, which a small nucleus can be.
    least = np.sqrt(ratio)
    across = least + (np.minimum(0.88, np.sqrt(ratio / aspect)) - least) * ovalness
    across = np.maximum(across, 1e-6)
    along = ratio / across
    # In shares of the semi-axes, where the lacuna is a circle and `across` the longer half.
    shift_x = (1 - across) * place * np.cos(2 * np.pi * angle)
    shift_y = (1 - across) * place * np.sin(2 * np.pi * angle)
    pairs = np.flatnonzero(partner >= 0)
    cos, sin = np.cos(ellipses.angle), np.sin(ellipses.angle)
    for k in pairs:
        other = partner[k]
        towards = (ellipses.y[other] - ellipses.y[k]) * cos[k]
        towards -= (ellipses.x[other] - ellipses.x[k]) * sin[k]
        shift_x[k], shift_y[k] = 0, np.sign(towards) * (1 - across[k])
    along_px, across_px = shift_x * ellipses.major, shift_y * ellipses.minor
    return Ellipses(
        ellipses.x + along_px * cos - across_px * sin,
        ellipses.y + along_px * sin + across_px * cos,
        along * ellipses.major,
        across * ellipses.minor,
        ellipses.angle,
    )
