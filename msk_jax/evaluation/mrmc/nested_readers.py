"""Modalities of which each was read by readers of its own.

Obuchowski and Rockette's model (Commun Stat Simul 1995;24:285) of reader j of modality i is then

    accuracy = mean + modality i + reader j of i + error.

A reader's own level and their answer to the modality cannot be told apart: one variance V. Errors
of variance E covary by Cov2 between readers of one modality and by Cov3 between readers of two. No
reader reads twice, so there is no Cov1.

Let MS(R) be the variance of the accuracies over the readers of a modality, pooled over modalities
with d = readers - modalities degrees of freedom, r the harmonic mean of the modalities' numbers of
readers, and MS(T) = r times the variance of the modalities' means. Without a difference

    expected MS(R) = V + E - Cov2
    expected MS(T) = V + E - Cov2 + r (Cov2 - Cov3)

so that F = MS(T) / (MS(R) + r max(Cov2 - Cov3, 0)). d MS(R) over its expectation is chi-square and
independent of the means, and the covariances are taken as known; so the denominator has
Satterthwaite's d (denominator / MS(R))² degrees of freedom, of the kind of S. L. Hillis (Stat Med
2007;26:596). A difference of two modalities has r from these two.

With fixed cases the covariances drop out and F is that of the one-way analysis of variance. With
fixed readers E - Cov2 takes the place of MS(R), and the law is chi-square. With unequal numbers of
readers the expectations hold as they are; the law of F for three and more modalities is then
approximate.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.stats import chi2, f

from msk_jax.evaluation.mrmc.analysis import (
    NOTHING_VARIES,
    Components,
    MrmcResult,
    Random,
    check_study,
    difference_test,
    is_rounding,
    modality_alone,
)
from msk_jax.evaluation.mrmc.covariance import Measure, Method, accuracies, covariance


def readers_are_nested(ratings: np.ndarray) -> bool:
    """Whether every reader read in one modality alone, and every modality has a reader.

    Args:
      ratings: [modalities, readers, cases], NaN where a case was not read.
    """
    read = np.isfinite(ratings).any(axis=2)
    return bool((read.sum(axis=0) == 1).all() and read.any(axis=1).all())


def nested_readers(
    truth: np.ndarray,
    ratings: np.ndarray,
    *,
    modality_names: tuple[str, ...],
    reader_names: tuple[str, ...],
    measure: Measure = "auc",
    method: Method = "jackknife",
    random: Random = "readers and cases",
    confidence: float = 0.95,
) -> MrmcResult:
    """Compares modalities of which each has its own readers.

    The form of the test and its derivation stand at the head of this file.

    Args:
      truth: 0 or 1 [cases].
      ratings: [modalities, readers, cases]; NaN where a reader did not read. The modalities may
        have the same cases or cases of their own. For measures other than the area: calls, 0 or 1.
      modality_names: [modalities].
      reader_names: [readers].
      measure: of accuracy.
      method: of the covariance; see `covariance`.
      random: which of readers and cases are samples of those one wants to speak of.

    Returns:
      As `obuchowski_rockette`; `accuracy` is NaN where a reader did not read in a modality,
      `ms_modality_reader` is MS(R), `components.modality_reader` the estimate of V, and there is
      nothing by reader.

    Raises:
      ValueError: as `obuchowski_rockette`; a modality with one reader where readers are random.

    Source: the marginal means of S. L. Hillis, Stat Med 2014;33:330; derived here.
    """
    truth, ratings = check_study(truth, ratings, measure, random)
    modality, reader = np.nonzero(np.isfinite(ratings).any(axis=2))
    counts = np.bincount(modality, minlength=len(ratings))
    for alone in np.flatnonzero(counts == 1) if random != "cases" else ():
        raise ValueError(
            f"Modality {modality_names[alone]} has one reader, which says nothing of other "
            "readers; take random='cases'."
        )
    rows = ratings[modality, reader]
    values = accuracies(truth, rows, measure)
    for row in np.flatnonzero(~np.isfinite(values)):
        raise ValueError(
            f"Reader {reader_names[reader[row]]} has read too few cases for {measure}."
        )
    spread = covariance(truth, rows, measure, method)
    if not np.isfinite(spread).all():
        raise ValueError("A reader has fewer than two cases of a kind, which leaves no covariance.")
    within = _Within.of(values, spread, modality, counts, random)
    means = np.bincount(modality, values) / counts
    typical = len(counts) / np.sum(1 / counts)
    ms_modality, df1 = float(typical * means.var(ddof=1)), len(counts) - 1
    noise, df2 = within.noise(typical)
    statistic, p = _test(ms_modality, df1, noise, df2)
    differences = []
    for a, b in combinations(range(len(counts)), 2):
        typical = 2 / (1 / counts[a] + 1 / counts[b])
        noise, df = within.noise(typical)
        test = difference_test(means[a] - means[b], np.sqrt(2 / typical * noise), df, confidence)
        differences.append((modality_names[a], modality_names[b], test))
    accuracy = np.full(ratings.shape[:2], np.nan)
    accuracy[modality, reader] = values
    alone = [
        modality_alone(name, values[own], spread[np.ix_(own, own)], random, confidence)
        for name, own in zip(
            modality_names, modality == np.arange(len(counts))[:, None], strict=True
        )
    ]
    return MrmcResult(
        measure, random, method, accuracy, modality_names, reader_names, within.components,
        ms_modality, within.ms_readers, statistic, df1, df2, p, tuple(alone), tuple(differences),
        (), NOTHING_VARIES if statistic is None else None,
    )  # fmt: skip


@dataclass(frozen=True)
class _Within:
    """What the accuracies vary by within a modality."""

    components: Components
    ms_readers: float | None
    """MS(R) of `nested_readers`; None where each modality has one reader."""
    df: int
    """Its degrees of freedom."""
    random: Random

    @classmethod
    def of(
        cls, values: np.ndarray, spread: np.ndarray, modality: np.ndarray, counts: np.ndarray,
        random: Random,
    ) -> "_Within":  # fmt: skip
        """From accuracies [rows], their covariance [rows, rows] and the modality of each row."""
        same, own = modality[:, None] == modality, np.eye(len(values), dtype=bool)
        error, cov2, cov3 = (
            float(spread[where].mean()) if where.any() else 0.0
            for where in (own, same & ~own, ~same)
        )
        means, df = np.bincount(modality, values) / counts, len(values) - len(counts)
        ms_readers = variance = None
        if df:
            ms_readers = float(np.sum((values - means[modality]) ** 2) / df)
            variance = ms_readers - error + cov2
        components = Components(None, variance, error, None, cov2, cov3)
        return cls(components, ms_readers, df, random)

    def noise(self, readers: float) -> tuple[float, float | None]:
        """The denominator for so many readers a modality, 0 where it is rounding, and its degrees
        of freedom, None where readers are fixed."""
        c = self.components
        between = 0.0 if self.random == "readers" else max(c.cov2 - c.cov3, 0.0)
        own = c.error - c.cov2 if self.random == "cases" else self.ms_readers
        noise = own + readers * between
        if is_rounding(noise, c.error):
            return 0.0, None
        if self.random == "cases":
            return noise, None
        return noise, np.inf if is_rounding(own, c.error) else self.df * (noise / own) ** 2


def _test(
    ms_modality: float, df1: int, noise: float, df2: float | None
) -> tuple[float | None, float | None]:
    """Statistic, F or with fixed readers chi-square, and p-value; None where nothing varies."""
    if not noise:
        return None, None
    ratio = ms_modality / noise
    if df2 is None:
        return df1 * ratio, float(chi2.sf(df1 * ratio, df1))
    return ratio, float(f.sf(ratio, df1, df2) if np.isfinite(df2) else chi2.sf(df1 * ratio, df1))
