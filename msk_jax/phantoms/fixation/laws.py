"""How the 43 variables are distributed, and how they hang together.

Every variable follows from a standard normal number of its own by the quantile function of its
law. That number is a sum of those of the variables named before it (`parents`, with their
correlations) and of one that belongs to it alone, so that a fracture that is displaced more is
reduced worse, and older bone is thinner. Links to the five variables of the risk stay below a
correlation of 0.4: a variable that goes closely with one of them would take its place in a ranking
and be right. All figures are our choices, of the size that studies of such patients report.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import ndtri

from msk_jax.phantoms.fixation.variables import VARIABLES


@dataclass(frozen=True)
class Law:
    """Distribution of one variable, as a function of a standard normal number."""

    parents: tuple[tuple[str, float], ...] = ()
    """Variables that it follows, with the weights of their normal numbers."""


@dataclass(frozen=True)
class Normal(Law):
    """A number with a normal distribution, rounded."""

    mean: float = 0.0
    deviation: float = 1.0
    decimals: int = 0

    def values(self, z: np.ndarray) -> np.ndarray:
        """Numbers of the same shape as `z`."""
        return np.round(self.mean + self.deviation * z, self.decimals)


@dataclass(frozen=True)
class LogNormal(Law):
    """A number whose logarithm is normal, rounded."""

    median: float = 1.0
    deviation: float = 0.5
    """Standard deviation of the natural logarithm."""
    decimals: int = 0

    def values(self, z: np.ndarray) -> np.ndarray:
        """Numbers of the same shape as `z`."""
        return np.round(self.median * np.exp(self.deviation * z), self.decimals)


@dataclass(frozen=True)
class Shares(Law):
    """Words (as their place among the variable's, 0, 1, ...) in stated shares."""

    shares: tuple[float, ...] = (0.5, 0.5)

    def values(self, z: np.ndarray) -> np.ndarray:
        """Places of the words, of the same shape as `z`."""
        cuts = ndtri(np.cumsum(self.shares)[:-1])
        return np.searchsorted(cuts, z).astype(np.float64)


def _yes(share: float, *parents: tuple[str, float]) -> Shares:
    return Shares(parents, (1 - share, share))


LAWS: dict[str, Law] = {
    "age": Normal((), 54, 14),
    "sex": Shares((), (0.52, 0.48)),
    "bmi": Normal((), 23.6, 3.3, 1),
    "asa": Shares((("age", 0.3),), (0.30, 0.48, 0.20, 0.02)),
    "side": Shares(),
    "mechanism": Shares((("age", -0.3),), (0.58, 0.24, 0.11, 0.07)),
    "smoking": _yes(0.27, ("sex", 0.4)),
    "alcohol": _yes(0.22, ("sex", 0.4), ("smoking", 0.2)),
    "steroid": _yes(0.12),
    "diabetes": _yes(0.15, ("bmi", 0.25), ("age", 0.2)),
    "hypertension": _yes(0.32, ("bmi", 0.2), ("age", 0.3)),
    "t_score": Normal((("sex", 0.3), ("age", -0.3)), -1.6, 1.1, 1),
    "haemoglobin": Normal((("sex", 0.4),), 128, 15),
    "albumin": Normal((("asa", -0.3),), 40, 4.2, 1),
    "garden": Shares((("age", 0.08),), (0.15, 0.33, 0.30, 0.22)),
    "pauwels": Shares((), (0.18, 0.47, 0.35)),
    "displacement": LogNormal((("garden", 0.38),), 7.0, 0.6, 1),
    "comminution": _yes(0.30, ("garden", 0.2)),
    "traction": _yes(0.35, ("hours_to_surgery", 0.2)),
    "hours_to_surgery": LogNormal((), 50, 0.45),
    "anaesthesia": Shares(),
    "surgeon": Shares((), (0.35, 0.45, 0.20)),
    "open_reduction": _yes(0.18, ("displacement", 0.3)),
    "capsulotomy": _yes(0.22, ("open_reduction", 0.4)),
    "reduction": Shares((("garden", 0.10),), (0.30, 0.32, 0.38)),
    "garden_angle": Normal((("reduction", -0.3),), 164, 9),
    "garden_angle_lateral": Normal((("reduction", 0.2),), 178, 8),
    "implant": Shares((("pauwels", 0.3),), (0.68, 0.22, 0.10)),
    "screws": Shares((("implant", -0.5),), (0.06, 0.12, 0.72, 0.10)),
    "configuration": Shares((("implant", 0.3),), (0.52, 0.20, 0.16, 0.12)),
    "screw_deviation": Normal((("reduction", 0.08),), 9.0, 3.4, 1),
    "tip_distance": Normal((("screw_deviation", 0.25),), 9.0, 3.2, 1),
    "operation_minutes": LogNormal((("open_reduction", 0.4), ("surgeon", 0.2)), 62, 0.33),
    "blood_loss": LogNormal((("operation_minutes", 0.5),), 55, 0.7),
    "infection": _yes(0.02, ("diabetes", 0.3)),
    "weight_bearing": Normal((), 12, 3),
    "vas": Normal((("reduction", 0.15),), 3.0, 1.5),
    "harris": Normal((("vas", -0.5),), 80, 9),
    "callus_area": LogNormal((("age", -0.2),), 45, 0.6),
    "neck_shortening": LogNormal((("comminution", 0.3), ("garden", 0.15)), 3.2, 0.7, 1),
    "neck_shaft_change": Normal((("neck_shortening", -0.3),), -2.0, 4.0, 1),
    "fixation_removed": _yes(0.40, ("age", -0.3)),
    "follow_up": LogNormal((), 46, 0.22),
}
"""By name, in the order of VARIABLES."""

OFFSETS = {"screws": 1}
"""Least value of numbers that are counted; their laws count from 0."""
LEAST_FOLLOW_UP = 30.0
"""Months: everybody was followed for more than two and a half years, as published."""


@dataclass(frozen=True)
class Hospital:
    """One site: its share of the patients, and where its normal numbers lie."""

    name: str
    share: float
    shifts: tuple[tuple[str, float], ...] = ()
    """Shifts of variables in standard deviations, against site A."""


HOSPITALS = (
    Hospital("A", 259 / 635),
    Hospital("B", 150 / 635, (("age", 0.35), ("sex", -0.3), ("t_score", -0.2))),
    Hospital("C", 126 / 635, (("age", -0.3), ("hours_to_surgery", 0.3), ("surgeon", 0.3))),
    Hospital("D", 100 / 635, (("sex", 0.35), ("bmi", 0.3), ("implant", 0.4))),
)
"""Published are 259 patients and 376 of three hospitals; how these divide is our choice."""


def normal_numbers(innovations: np.ndarray) -> dict[str, np.ndarray]:
    """Standard normal numbers [patients] by variable, every parent before its children.

    Added up number by number and not as a product of matrices, whose last bits depend on how many
    patients there are.

    Args:
        innovations: independent normal numbers [patients, 43], in the order of VARIABLES.
    """
    numbers: dict[str, np.ndarray] = {}
    for name, (parents, rest, column) in _recipe().items():
        total = rest * innovations[:, column]
        for parent, weight in parents:
            total = total + weight * numbers[parent]
        numbers[name] = total
    return numbers


@lru_cache(maxsize=1)
def _recipe() -> dict[str, tuple[tuple[tuple[str, float], ...], float, int]]:
    """Of every variable its parents, the weight of its own number, and the column of that one."""
    columns = {variable.name: index for index, variable in enumerate(VARIABLES)}
    rows: dict[str, np.ndarray] = {}
    recipe = {}

    def add(name: str) -> None:
        parents = LAWS[name].parents
        for parent, _ in parents:
            if parent not in rows:
                add(parent)
        row = sum((w * rows[p] for p, w in parents), np.zeros(len(columns)))
        rest = float(np.sqrt(1 - row @ row))  # the variance is 1 in all
        row[columns[name]] = rest
        rows[name], recipe[name] = row, (parents, rest, columns[name])

    for name in columns:
        if name not in rows:
            add(name)
    return recipe
