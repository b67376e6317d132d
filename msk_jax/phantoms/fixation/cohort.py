"""The cohort after fixation: drawing patients, and the rows that are written of them.

The label follows from the table, patient by patient:

    log odds = b0 + severity * sum over effects of effect * (value - middle)

as P9 has it, with the intercept b0 moved so that the share of necrosis is the stated one at any
severity.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from msk_jax.phantoms.allotment import allot
from msk_jax.phantoms.anatomy import stream
from msk_jax.phantoms.fixation.laws import (
    HOSPITALS,
    LAWS,
    LEAST_FOLLOW_UP,
    OFFSETS,
    normal_numbers,
)
from msk_jax.phantoms.fixation.settings import FixationPhantom
from msk_jax.phantoms.fixation.variables import VARIABLES

CLASSES = ("none", "necrosis")
SCORE_DISTANCE = 1.19  # SD between the classes' image scores: an AUC of Phi(1.19 / sqrt 2) = 0.80


@dataclass(frozen=True)
class Effect:
    """One cause of necrosis: a variable, from which word on where it is one, and its middle."""

    setting: str
    """Field of FixationPhantom with the log odds per unit."""
    variable: str
    middle: float
    """Value in a patient of average risk."""
    deviation: float
    """Standard deviation in site A."""
    threshold: int | None = None
    """Place of the first word that counts as 1; None of a number."""

    def values(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """What the log odds are proportional to [patients], from a cohort's columns."""
        values = columns[self.variable]
        return values if self.threshold is None else (values >= self.threshold).astype(np.float64)


EFFECTS = (
    Effect("garden_effect", "garden", 0.52, 0.5, threshold=2),
    Effect("age_effect", "age", 54, 14),
    Effect("reduction_effect", "reduction", 0.38, 0.486, threshold=2),
    Effect("delay_effect", "hours_to_surgery", 55.3, 26.3),
    Effect("deviation_effect", "screw_deviation", 9.0, 3.4),
)
"""Means and deviations as the laws give them."""


@dataclass(frozen=True)
class FixationCohort:
    """Patients as drawn; arrays [patients]."""

    numbers: tuple[int, ...]
    site: tuple[str, ...]
    columns: dict[str, np.ndarray]
    """Values of the 43 variables, of words their place among the allowed ones."""
    empty: dict[str, np.ndarray]
    """Whether the manifest leaves the cell empty, by variable."""
    parts: dict[str, np.ndarray]
    """Share of each effect in the log odds, by variable."""
    log_odds: np.ndarray
    ill: np.ndarray
    """Whether the head necroses."""
    flipped: np.ndarray
    """Whether the manifest says the contrary (label noise)."""
    image_score: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """0 or 1 as the manifest has it."""
        return (self.ill != self.flipped).astype(int)


def draw_cohort(config: FixationPhantom, numbers: Sequence[int] | None = None) -> FixationCohort:
    """The patients of these numbers, by default all of the cohort."""
    numbers = tuple(range(config.patients) if numbers is None else numbers)
    shares = tuple(hospital.share for hospital in HOSPITALS)
    hospitals = [HOSPITALS[allot(shares, config.seed, number)] for number in numbers]
    count = len(VARIABLES)
    streams = [stream(config.seed, number, "patient") for number in numbers]
    normal = np.array([rng.standard_normal(count + 1) for rng in streams]).reshape(-1, count + 1)
    chance = np.array([rng.random(count + 2) for rng in streams]).reshape(-1, count + 2)
    columns = _columns(normal[:, :count], hospitals)
    parts = {
        effect.variable: config.severity
        * getattr(config, effect.setting)
        * (effect.values(columns) - effect.middle)
        for effect in EFFECTS
    }
    log_odds = intercept(config) + sum(parts.values())
    ill = chance[:, count] < expit(log_odds)
    shift = config.severity * SCORE_DISTANCE * (ill - 0.5)
    return FixationCohort(
        numbers,
        tuple(hospital.name for hospital in hospitals),
        columns,
        {
            variable.name: variable.optional & (chance[:, index] < config.missing)
            for index, variable in enumerate(VARIABLES)
        },
        parts,
        log_odds,
        ill,
        chance[:, count + 1] < config.label_noise,
        np.round(expit(normal[:, count] + shift), 4),
    )


def _columns(innovations: np.ndarray, hospitals) -> dict[str, np.ndarray]:
    """Values of all variables [patients], within their limits."""
    innovations = innovations.copy()
    for index, variable in enumerate(VARIABLES):
        shifts = [dict(hospital.shifts).get(variable.name, 0.0) for hospital in hospitals]
        innovations[:, index] += shifts
    normal = normal_numbers(innovations)
    columns = {}
    for variable in VARIABLES:
        values = LAWS[variable.name].values(normal[variable.name])
        if not variable.words:
            low = LEAST_FOLLOW_UP if variable.name == "follow_up" else variable.low
            values = np.clip(values + OFFSETS.get(variable.name, 0), low, variable.high)
        columns[variable.name] = values + 0.0  # -0.0 is 0
    return columns


def intercept(config: FixationPhantom) -> float:
    """Log odds of a patient of average risk.

    By E[expit(m + s z)] = expit(m / sqrt(1 + pi s^2 / 8)), z standard normal (MacKay, Neural
    Computation 1992;4:720-736), which is within 0.02 here.
    """
    effects = [getattr(config, effect.setting) * effect.deviation for effect in EFFECTS]
    variance = config.severity**2 * sum(value**2 for value in effects)
    return float(logit(config.positive_fraction) * np.sqrt(1 + np.pi * variance / 8))


def manifest_rows(config: FixationPhantom, cohort: FixationCohort) -> list[dict]:
    """What the manifest says, a row a patient."""
    rows = []
    for index, number in enumerate(cohort.numbers):
        row = {
            "patient_id": f"PHANTOM-{number:05d}",
            "label": CLASSES[cohort.labels[index]],
            "site": cohort.site[index],
        }
        for variable in VARIABLES:
            name, value = variable.name, float(cohort.columns[variable.name][index])
            if cohort.empty[name][index]:
                row[name] = ""
            else:
                row[name] = variable.words[int(value)] if variable.words else f"{value:g}"
        if config.image_score:
            row["image_score"] = f"{cohort.image_score[index]:g}"
        rows.append(row)
    return rows


def true_parameters(cohort: FixationCohort) -> list[dict]:
    """The truth, a row a patient: outcome, log odds, and the share that each effect has in them."""
    return [
        {
            "patient_id": f"PHANTOM-{number:05d}",
            "true_label": int(cohort.ill[index]),
            "flipped": int(cohort.flipped[index]),
            "site": cohort.site[index],
            "log_odds": round(float(cohort.log_odds[index]), 4),
            **{f"part_{name}": round(float(part[index]), 4) for name, part in cohort.parts.items()},
        }
        for index, number in enumerate(cohort.numbers)
    ]
