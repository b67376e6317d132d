"""Power of a next reader study, and how many readers and cases it needs."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import f, ncf

from msk_jax.evaluation.mrmc.analysis import NO_VARIANCE, Components, Random


@dataclass(frozen=True)
class Power:
    """Chance that a study finds a difference."""

    readers: int
    """Readers of the study."""
    cases: int
    """Cases of the study, with the pilot's share of positives."""
    difference: float
    """True difference of two modalities."""
    power: float
    """Chance that the test rejects."""


def power(
    components: Components,
    pilot_cases: int,
    *,
    readers: int,
    cases: int,
    difference: float,
    random: Random = "readers and cases",
    alpha: float = 0.05,
) -> Power:
    """Power of a factorial study of two modalities, from a pilot's variance components.

    Error variance and covariances shrink as pilot_cases / cases; negative estimates of the reader
    variance and of Cov2 - Cov3 count as 0.

    Args:
        components: of the pilot.
        pilot_cases: cases of the pilot.
        readers: of the study, at least 2 unless cases alone are random.
        cases: of the study.
        difference: to be found, in units of the measure.
        random: as in the planned analysis.
        alpha: two-sided.

    Raises:
        ValueError: too few readers or cases, a pilot with one reader where readers are random, a
            pilot that shows no variance, or a difference that is not finite.

    Source: S. L. Hillis, N. A. Obuchowski and K. S. Berbaum, Acad Radiol 2011;18:129.
    """
    if cases < 2 or pilot_cases < 2 or readers < (1 if random == "cases" else 2):
        raise ValueError("A study needs two cases, and two readers where readers are random.")
    if not np.isfinite(difference) or not 0.0 < alpha < 1.0:
        raise ValueError(f"A difference of {difference} at the level {alpha} cannot be tested.")
    scale = pilot_cases / cases
    interaction = 0.0 if random == "cases" else _interaction(components)
    between = max(components.cov2 - components.cov3, 0.0) * scale
    noise = max(components.error - components.cov1, 0.0) * scale
    ms_interaction = max(interaction + noise - between, 0.0)
    denominator = ms_interaction + readers * between
    df2 = float(readers - 1)
    if random == "readers":
        # Cases stay as they are: the test does not pay for Cov2 - Cov3.
        denominator = ms_interaction
    elif random == "cases":
        df2 = np.inf
    elif ms_interaction > 0:
        df2 *= (denominator / ms_interaction) ** 2
    else:
        df2 = np.inf
    if not denominator > NO_VARIANCE:
        raise ValueError("The pilot shows no variance, which says nothing of a next study's power.")
    # F with an infinite denominator is beyond scipy's non-central F; 1e7 gives the same digits.
    df2 = min(df2, 1e7)
    noncentrality = readers * difference**2 / 2 / denominator
    critical = f.isf(alpha, 1, df2)
    chance = alpha if noncentrality == 0 else ncf.sf(critical, 1, df2, noncentrality)
    return Power(readers, cases, difference, float(chance))


def _interaction(components: Components) -> float:
    if components.modality_reader is None:
        raise ValueError("A pilot with one reader says nothing of the spread of readers.")
    return max(components.modality_reader, 0.0)


def cases_needed(
    components: Components,
    pilot_cases: int,
    *,
    readers: int,
    difference: float,
    target: float = 0.8,
    most: int = 100_000,
    random: Random = "readers and cases",
    alpha: float = 0.05,
) -> Power | None:
    """The smallest number of cases that reaches the target power; None where `most` do not.

    More cases help only so far: the readers' own spread stays. Arguments as `power`.

    Raises:
        ValueError: as `power`, or a target outside alpha..1.
    """
    if not alpha < target < 1:
        raise ValueError(f"A power of {target} cannot be asked for; give {alpha} < power < 1.")

    def reached(cases: int) -> Power:
        return power(
            components,
            pilot_cases,
            readers=readers,
            cases=cases,
            difference=difference,
            random=random,
            alpha=alpha,
        )

    if reached(most).power < target:
        return None
    low, high = 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle).power >= target else (middle, high)
    return reached(high)
