"""Who the patients of the knee tumour cohort are: hospital, diagnosis, age, sex, bone."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from msk_jax.phantoms.allotment import allot_diagnosis
from msk_jax.phantoms.anatomy import stream

CLASSES = ("giant cell tumour", "osteosarcoma")
BONES = ("femur", "tibia", "fibula")
MALE = (0.46, 0.57)  # by class, as all pairs here
BONE_SHARES = ((0.50, 0.45, 0.05), (0.60, 0.30, 0.10))
OLD = (55.0, 12.0)  # age at secondary osteosarcoma: mean and SD
PHYSIS_CLOSES = 16.5  # years, the middle of a steep course


@dataclass(frozen=True)
class Hospital:
    """One hospital: its share of the patients, and how old they are there (mean, SD)."""

    name: str
    splits: tuple[tuple[str, float], ...]  # (split, share of all patients)
    young: tuple[float, float]  # age at primary osteosarcoma
    late: float  # share of secondary osteosarcoma, at old age
    giant: tuple[float, float]  # age at giant cell tumour, above 18
    kind: str  # storage class of its radiographs
    inverted: bool  # MONOCHROME1
    look: int  # which of the detectors


# The ages make a logistic model of A, on age, sex and bone, reach the published AUC of 0.77 in A
# and 0.64 in B, C and D together (by simulation; the test repeats it). 217 of 333 patients train.
HOSPITALS = (
    Hospital(
        "A",
        (("train", 0.53), ("validation", 0.12), ("test", 0.11)),
        (17.0, 6.0),
        0.195,
        (32.5, 9.0),
        "DX",
        False,
        0,
    ),
    Hospital("B", (("test", 0.08),), (19.0, 7.0), 0.26, (29.5, 7.0), "CR", True, 1),
    Hospital("C", (("test", 0.08),), (20.0, 7.0), 0.24, (29.0, 7.0), "DX", False, 2),
    Hospital("D", (("test", 0.08),), (20.0, 7.0), 0.22, (28.5, 7.0), "CR", False, 1),
)


@dataclass(frozen=True)
class Person:
    """One row of the table, and what of it shows in the picture."""

    number: int
    hospital: Hospital
    split: str
    osteosarcoma: bool
    flipped: bool  # the manifest says the contrary (label noise)
    age: int
    sex: str
    side: str  # L or R
    bone: str
    physis_open: bool

    @property
    def patient_id(self) -> str:
        return f"PHANTOM-{self.number:05d}"

    @property
    def label(self) -> str:
        return CLASSES[self.osteosarcoma != self.flipped]


def blend(pair, ill: bool, distance: float):
    """The value of a class, drawn towards the mean of both: 0 is that mean, 1 the class's own."""
    both = np.asarray(pair, float)
    return both.mean(0) + distance * (both[int(ill)] - both.mean(0))


def draw_person(config, number: int) -> Person:
    """Patient `number` of the cohort `config` (a KneePhantom).

    Age and sex keep their law at any severity; bone and physis, which the picture shows, fade.
    """
    hospital, split, ill = allot_diagnosis(HOSPITALS, config.positive_fraction, config.seed, number)
    rng = stream(config.seed, number, "person")
    if not ill:
        age = rng.normal(*hospital.giant)
        while age <= 18:
            age = rng.normal(*hospital.giant)
    elif rng.random() < hospital.late:
        age = np.clip(rng.normal(*OLD), 30, 85)
    else:
        age = np.clip(rng.normal(*hospital.young), 6, 45)
    distance = min(config.severity, 1.0)
    shares = blend(BONE_SHARES, ill, distance)
    sex, side = rng.random() < MALE[ill], "LR"[int(rng.random() < 0.5)]
    bone = BONES[int(np.searchsorted(np.cumsum(shares), rng.random() * shares.sum()))]
    chance, told = rng.random(), rng.random() < distance
    by_age = expit((PHYSIS_CLOSES - age) / 0.8)
    return Person(
        number,
        hospital,
        split,
        ill,
        bool(stream(config.seed, number, "label").random() < config.label_noise),
        round(float(age)),
        "M" if sex else "F",
        side,
        bone,
        bool(chance < (by_age if told else 0.25)),
    )
