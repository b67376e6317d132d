"""Who the animals are, and what is ill in each of their sections.

The stage of an animal is its rank in the cohort by how much of the bone is dead. From it follow
the expected shares of the classes of lacunae, so that over all animals healthy, pyknotic and empty
ones are 60 : 15 : 25 in a hundred; a section departs from its animal by chance. Stain and
microscope know nothing of the stage.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv, expit, logit

from msk_jax.phantoms.allotment import allot
from msk_jax.phantoms.anatomy import stream

EMPTY_RANGE = (0.02, 0.80)  # of all lacunae of a section
STAGE_SHAPE = (0.85, 2.2)  # of the beta distribution of an animal's empty share over that range
SECTION_SPREAD = 0.45  # standard deviation of a section's log odds about its animal's
PYKNOTIC = (0.15, 0.24)  # of lacunae that are not empty: with none of them empty, and more with all
GOLDEN = (5**0.5 - 1) / 2
SITES = (("A", 0.6), ("B", 0.4))  # laboratories and their shares of the animals
# Of the laboratories' microscopes: blur (SD) in um, noise in levels of 255, depth of vignetting.
MICROSCOPES = (((0.35, 0.6), (1.5, 3.0), (0.0, 0.08)), ((0.5, 0.8), (2.5, 5.0), (0.02, 0.14)))


@dataclass(frozen=True)
class Animal:
    """One animal and how its sections were stained and photographed."""

    number: int
    site: str
    sex: str
    stage: float  # rank of its disease among all, 0 to 1
    empty_share: float  # expected, 0 to 1
    stain: np.ndarray  # [3] of haematoxylin, eosin and residual: -1 to 1 of the widest shift
    blur_um: float
    noise: float  # standard deviation, in levels
    vignetting: float  # loss of light at the corners

    @property
    def patient_id(self) -> str:
        return f"PHANTOM-{self.number:05d}"


@dataclass(frozen=True)
class Section:
    """One section of an animal, before anything is drawn."""

    animal: Animal
    index: int
    shares: np.ndarray  # [3] expected shares of the classes
    stain: np.ndarray  # [3] factors of the three stains

    @property
    def name(self) -> str:
        return f"S{self.index + 1:02d}"

    def stream(self, seed: int, what: str) -> np.random.Generator:
        """The random stream `what` of this section."""
        return stream(seed, self.animal.number, f"{self.name} {what}")


def draw_animal(seed: int, number: int) -> Animal:
    """Animal `number` of the cohort."""
    site = allot(tuple(share for _, share in SITES), seed, number)
    rng = stream(seed, number, "animal")
    # Ranks spread evenly over the animals of a cohort of any size.
    start = np.random.default_rng([seed, 53]).random()
    stage = float((start + number * GOLDEN) % 1)
    low, high = EMPTY_RANGE
    blur, noise, vignetting = (float(rng.uniform(*limits)) for limits in MICROSCOPES[site])
    return Animal(
        number, SITES[site][0], "FM"[int(rng.integers(2))], stage,
        low + (high - low) * float(betaincinv(*STAGE_SHAPE, stage)),
        rng.uniform(-1, 1, 3), blur, noise, vignetting,
    )  # fmt: skip


def draw_section(seed: int, stain_shift: float, animal: Animal, index: int) -> Section:
    """Section `index` of an animal; `stain_shift` is the widest change of a stain, as a share."""
    rng = stream(seed, animal.number, f"section {index}")
    empty = expit(logit(animal.empty_share) + SECTION_SPREAD * rng.standard_normal())
    empty = float(np.clip(empty, *EMPTY_RANGE))
    pyknotic = PYKNOTIC[0] + PYKNOTIC[1] * empty
    pyknotic *= float(np.clip(1 + 0.35 * rng.standard_normal(), 0.2, 2))
    shares = np.array([(1 - empty) * (1 - pyknotic), (1 - empty) * pyknotic, empty])
    batch = 0.7 * animal.stain + 0.3 * rng.uniform(-1, 1, 3)
    return Section(animal, index, shares, 1 + stain_shift * batch)


def draw_classes(section: Section, count: int, rng: np.random.Generator) -> np.ndarray:
    """Classes [count] int of that many lacunae (places in `settings.CLASSES`), in random order.

    The number of empty ones stays within EMPTY_RANGE, as far as whole lacunae can.
    """
    low, high = EMPTY_RANGE
    empty = int(rng.binomial(count, section.shares[2]))
    empty = min(max(empty, round(low * count)), max(int(high * count), 1))
    pyknotic = int(rng.binomial(count - empty, section.shares[1] / (1 - section.shares[2])))
    return rng.permutation(np.repeat([0, 1, 2], [count - empty - pyknotic, pyknotic, empty]))
