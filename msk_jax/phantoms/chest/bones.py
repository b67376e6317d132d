"""The bones of a chest: what osteoporosis does to them, and what it does not."""

from dataclasses import dataclass

import numpy as np

from msk_jax.phantoms.anatomy import stream
from msk_jax.phantoms.chest.table import SEPARATION

# Without and with osteoporosis, at the middle of either class; between and beyond them the course
# is geometric in the bone loss. Then the scatter (of the logarithm) that has nothing to do with it.
SIGNS = {
    "rib_cortex_mm": (1.10, 0.58, 0.13),
    "clavicle_cortex_mm": (2.75, 1.42, 0.13),
    "vertebra_cortex_mm": (1.00, 0.54, 0.13),
    "vertebra_mg_cm3": (140.0, 62.0, 0.15),
    "humerus_mg_cm3": (150.0, 70.0, 0.18),
    "striation": (0.10, 0.65, 0.20),
}
WEDGED = (0.03, 0.30)  # share of patients with a wedge fracture


@dataclass(frozen=True)
class Bones:
    """What the bones of one patient are like."""

    rib_cortex_mm: float
    clavicle_cortex_mm: float
    vertebra_cortex_mm: float
    vertebra_mg_cm3: float
    humerus_mg_cm3: float
    striation: float  # contrast of vertical trabeculae
    wedge_level: int  # counted from the second thoracic vertebra; -1: none
    wedge_loss: float  # of the vertebra's height


def draw_bones(seed: int, number: int, bone_loss: float) -> Bones:
    """The bones that go with a bone loss; 0 is the middle of the healthy."""
    rng = stream(seed, number, "bones")
    place = bone_loss / SEPARATION
    values = {
        name: float(healthy * (ill / healthy) ** place * np.exp(spread * rng.standard_normal()))
        for name, (healthy, ill, spread) in SIGNS.items()
    }
    values["striation"] = min(values["striation"], 1.2)
    chance = np.clip(WEDGED[0] * (WEDGED[1] / WEDGED[0]) ** place, 0, 0.6)
    wedged = rng.random() < chance
    level, loss = int(rng.integers(4, 11)), float(rng.uniform(0.2, 0.45))
    return Bones(**values, wedge_level=level if wedged else -1, wedge_loss=loss if wedged else 0.0)
