"""What a lytic tumour of either kind looks like, as numbers."""

from dataclasses import asdict, dataclass

import numpy as np

from msk_jax.phantoms.anatomy import stream
from msk_jax.phantoms.knee.table import Person, blend

# By class (giant cell tumour, osteosarcoma): a range, or a probability.
RANGES = {
    "size_mm": ((35, 90), (50, 120)),
    "edge_mm": ((0, 8), (8, 60)),  # from the nearest edge to the subchondral plate
    "eccentricity": ((0.4, 0.9), (0.1, 0.6)),
    "transition_mm": ((1, 4), (6, 25)),
    "expansion_mm": ((3, 15), (0, 3)),
    "mass_mm": ((5, 20), (15, 60)),
    "matrix_share": ((0, 0.0), (0, 0.10)),
}
CHANCES = {
    "breach": (0.35, 0.85),
    "periosteum": (0.05, 0.80),
    "mass": (0.25, 0.75),
    "septa": (0.60, 0.10),
    "rim": (0.05, 0.0),
}
REACTIONS = ("codman", "sunburst", "lamellated")
LIMITS = {"femur": (120, 60), "tibia": (110, 50), "fibula": (55, 30)}  # size and edge in mm


@dataclass(frozen=True)
class Tumour:
    """One tumour; lengths in mm."""

    bone: str
    typical: float  # 1 as the table of its class says, 0 halfway to the other class
    size_mm: float  # along the bone
    edge_mm: float
    eccentricity: float  # offset from the axis, in half widths of the bone
    transition_mm: float
    expansion_mm: float
    breach: bool
    reaction: str  # of the periosteum; "" for none
    mass_mm: float  # 0 for none
    matrix_share: float
    septa: bool
    rim: bool
    azimuth: float  # of the offset, about the bone's axis
    slim: float  # width against length


def draw_tumour(seed: int, severity: float, person: Person) -> Tumour:
    """The tumour of a patient."""
    rng = stream(seed, person.number, "tumour")
    ill = person.osteosarcoma
    # some tumours look like neither; a few of them like the other one
    typical = float(np.clip(rng.normal(0.85, 0.45), -0.5, 1.0))
    distance = severity * typical
    values = {}
    for name, pair in RANGES.items():
        low, high = blend(pair, ill, distance)
        values[name] = float(max(low + (high - low) * rng.random(), 0.0))
    flags = {
        name: bool(rng.random() < np.clip(blend(pair, ill, distance), 0, 1))
        for name, pair in CHANCES.items()
    }
    size, edge = LIMITS[person.bone]
    values["size_mm"] = float(np.clip(values["size_mm"], 25, size))
    values["edge_mm"] = max(min(values["edge_mm"], edge, 118 - values["size_mm"]), 0.0)
    values["transition_mm"] = max(values["transition_mm"], 0.8)
    if not flags["mass"]:
        values["mass_mm"] = 0.0
    reaction = str(rng.choice(REACTIONS))
    return Tumour(
        bone=person.bone,
        typical=typical,
        **values,
        breach=flags["breach"],
        reaction=reaction if flags["periosteum"] else "",
        septa=flags["septa"],
        rim=flags["rim"],
        azimuth=float(rng.uniform(0, 2 * np.pi)),
        slim=float(rng.uniform(0.75, 1.0)),
    )


def parameters(tumour: Tumour) -> dict:
    """The tumour as a row of plain values."""
    return {
        key: round(v, 3) if isinstance(v, float) else int(v) if isinstance(v, bool) else v
        for key, v in asdict(tumour).items()
    }
