"""Who the patients of the chest cohort are: centre, diagnosis, bone loss, age, sex, build.

One latent number, the bone loss that a radiograph shows, has unit variance in either class and a
mean that is SEPARATION higher with osteoporosis. Age, sex and build follow from it through one
further latent number, the frailty, and know of the diagnosis only what the bone loss tells: so a
clinical model adds little to an image model, as published. How closely frailty follows bone loss
differs by centre, which is what makes the clinical model fail elsewhere.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from msk_jax.phantoms.allotment import allot_diagnosis
from msk_jax.phantoms.anatomy import stream

CLASSES = ("non-osteoporosis", "osteoporosis")
SEPARATION = 2.25  # an ideal reading of the bone loss has an AUC of Phi(2.25 / sqrt 2) = 0.94
THRESHOLD = -2.5  # T-score, WHO


@dataclass(frozen=True)
class Centre:
    """One hospital: its share of the patients, and what age and sex say there."""

    name: str
    splits: tuple[tuple[str, float], ...]  # (split, share of all patients)
    link: float  # correlation of frailty with bone loss within a class
    shift: float  # frailty of all its patients against centre A, in standard deviations
    kind: str  # storage class of its radiographs
    inverted: bool  # MONOCHROME1
    look: int  # which of the detectors


# The links make a logistic model of A, on age, sex, height, weight and BMI, reach the published
# AUC of 0.839, 0.759 and 0.532 in A, B and C (by simulation; the test repeats it).
CENTRES = (
    Centre("A", (("train", 0.46), ("validation", 0.08), ("test", 0.14)), 0.93, 0.0, "DX", False, 0),
    Centre("B", (("test", 0.17),), 0.66, 0.3, "CR", True, 1),
    Centre("C", (("test", 0.15),), 0.08, 1.2, "DX", False, 2),
)


@dataclass(frozen=True)
class Person:
    """One row of the table, and the latent numbers behind it."""

    number: int
    centre: Centre
    split: str
    osteoporosis: bool
    flipped: bool  # the manifest says the contrary (label noise)
    bone_loss: float  # as the radiograph shows it
    t_score: float
    age: int
    sex: str
    height: float  # cm
    weight: float  # kg

    @property
    def patient_id(self) -> str:
        return f"PHANTOM-{self.number:05d}"

    @property
    def bmi(self) -> float:
        return round(self.weight / (self.height / 100) ** 2, 1)

    @property
    def label(self) -> str:
        return CLASSES[self.osteoporosis != self.flipped]


def draw_person(config, number: int) -> Person:
    """Patient `number` of the cohort `config` (a ChestPhantom)."""
    centre, split, ill = allot_diagnosis(CENTRES, config.positive_fraction, config.seed, number)
    rng = stream(config.seed, number, "person")
    scatter = rng.standard_normal()
    planned = scatter + SEPARATION * ill
    frailty = centre.shift + centre.link * planned
    frailty += np.sqrt(1 - centre.link**2) * rng.standard_normal()
    age = int(np.clip(np.rint(57 + 6.0 * frailty + 8.5 * rng.standard_normal()), 25, 92))
    female = bool(rng.random() < ndtr(0.45 * frailty))
    height = 169 - 12.5 * female - 0.8 * frailty + 5.5 * rng.standard_normal()
    bmi = float(np.clip(24.2 - 1.2 * frailty + 2.7 * rng.standard_normal(), 15, 42))
    return Person(
        number,
        centre,
        split,
        ill,
        bool(stream(config.seed, number, "label").random() < config.label_noise),
        # severity 0 gives both classes the same bones, 2 twice the distance
        float(planned + (config.severity - 1) * SEPARATION * (ill - 0.5)),
        _t_score(ill, 0.8 * scatter + 0.6 * rng.standard_normal()),
        age,
        "F" if female else "M",
        round(float(height), 1),
        round(float(bmi * (height / 100) ** 2), 1),
    )


def _t_score(ill: bool, loss: float) -> float:
    """A T-score on the right side of the threshold, lower the higher `loss` (standard normal)."""
    mean, deviation = ((-0.8, 0.8), (-3.1, 0.5))[ill]
    below = ndtr((THRESHOLD - mean) / deviation)
    rank = ndtr(-loss) * below if ill else below + ndtr(-loss) * (1 - below)
    return round(float(mean + deviation * ndtri(rank)), 2)
