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

from msk_jax.evaluation.core.figure import TestResult
from msk_jax.evaluation.mrmc.analysis import (
    NOTHING_VARIES,
    Components,
    Modality,
    MrmcResult,
    Random,
    check_study,
    difference_test,
    is_rounding,
    modality_alone,
)
from msk_jax.evaluation.mrmc.covariance import accuracies, covariance
from msk_jax.evaluation.mrmc.settings import Measure, Method


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
    """Compares modalities of which each has its own readers, as the head of this file derives it.

    Args:
        truth: 0 or 1 [cases].
        ratings: [modalities, readers, cases]; NaN where a reader did not read. The modalities may
            have the same cases or cases of their own. For measures other than the area: calls, 0 or
            1.
        modality_names: [modalities].
        reader_names: [readers].
        measure: of accuracy; `method`, of its `covariance`.
        random: which of readers and cases are samples of those one wants to speak of.

    Returns:
        As `obuchowski_rockette`; `accuracy` is NaN where a reader did not read in a modality,
        `ms_modality_reader` is MS(R), `components.modality_reader` the estimate of V, and there is
        nothing by reader.

    Raises:
        ValueError: as `obuchowski_rockette`; a modality with one reader where readers are random.

    Source: the marginal means of S. L. Hillis, Stat Med 2014;33:330.
    """
    truth, ratings = check_study(truth, ratings, measure, random)
    modality, reader = np.nonzero(np.isfinite(ratings).any(axis=2))
    counts = np.bincount(modality, minlength=len(ratings))
    for alone in np.flatnonzero(counts == 1) if random != "cases" else ():
        raise ValueError(
            f"Modality {modality_names[alone]} has one reader, which says nothing of other "
            "readers. Take --random cases, which speaks of these readers alone."
        )
    rows = ratings[modality, reader]
    values = accuracies(truth, rows, measure)
    for row in np.flatnonzero(~np.isfinite(values)):
        raise ValueError(
            f"Reader {reader_names[reader[row]]} has read too few cases for {measure}."
        )
    spread = covariance(truth, rows, measure, method)
    within = _Within.of(values, spread, modality, counts, random)
    accuracy = np.full(ratings.shape[:2], np.nan)
    accuracy[modality, reader] = values
    ms_modality, df1, df2, statistic, p = within.test()
    return MrmcResult(
        measure,
        random,
        method,
        accuracy,
        modality_names,
        reader_names,
        within.components,
        ms_modality,
        within.ms_readers,
        statistic,
        df1,
        df2,
        p,
        within.modalities(modality_names, confidence),
        within.differences(modality_names, confidence),
        (),
        NOTHING_VARIES if statistic is None else None,
    )


@dataclass(frozen=True)
class _Within:
    """Accuracies of readers, each of one modality, and what they vary by."""

    values: np.ndarray
    """[rows]."""
    spread: np.ndarray
    """Covariance over cases [rows, rows]."""
    modality: np.ndarray
    """Of each row [rows]."""
    counts: np.ndarray
    """Readers [modalities]."""
    means: np.ndarray
    """[modalities]."""
    components: Components
    ms_readers: float | None
    """MS(R) of the head of this file; None where each modality has one reader."""
    random: Random

    @classmethod
    def of(
        cls,
        values: np.ndarray,
        spread: np.ndarray,
        modality: np.ndarray,
        counts: np.ndarray,
        random: Random,
    ) -> "_Within":
        """From all but what is computed of it."""
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
        return cls(values, spread, modality, counts, means, components, ms_readers, random)

    def noise(self, readers: float) -> tuple[float, float | None]:
        """The denominator for so many readers a modality, 0 where it is rounding, and its degrees
        of freedom, None where readers are fixed."""
        c, df = self.components, len(self.values) - len(self.counts)
        between = 0.0 if self.random == "readers" else max(c.cov2 - c.cov3, 0.0)
        own = c.error - c.cov2 if self.random == "cases" else self.ms_readers
        noise = own + readers * between
        if is_rounding(noise, c.error):
            return 0.0, None
        if self.random == "cases":
            return noise, None
        return noise, np.inf if is_rounding(own, c.error) else df * (noise / own) ** 2

    def test(self) -> tuple[float, int, float | None, float | None, float | None]:
        """MS(T), both degrees of freedom, F or with fixed readers chi-square, and the p-value."""
        readers, df1 = len(self.counts) / np.sum(1 / self.counts), len(self.counts) - 1
        ms_modality = float(readers * self.means.var(ddof=1))
        noise, df2 = self.noise(readers)
        if not noise:
            return ms_modality, df1, df2, None, None
        ratio = ms_modality / noise
        if df2 is None:
            return ms_modality, df1, df2, df1 * ratio, float(chi2.sf(df1 * ratio, df1))
        p = f.sf(ratio, df1, df2) if np.isfinite(df2) else chi2.sf(df1 * ratio, df1)
        return ms_modality, df1, float(df2), ratio, float(p)

    def modalities(self, names: tuple[str, ...], confidence: float) -> tuple[Modality, ...]:
        """Each by itself."""
        rows = [np.flatnonzero(self.modality == i) for i in range(len(names))]
        return tuple(
            modality_alone(
                name, self.values[own], self.spread[np.ix_(own, own)], self.random, confidence
            )
            for name, own in zip(names, rows, strict=True)
        )

    def differences(
        self, names: tuple[str, ...], confidence: float
    ) -> tuple[tuple[str, str, TestResult], ...]:
        """The tests of each pair."""
        tests = []
        for a, b in combinations(range(len(names)), 2):
            readers = 2 / (1 / self.counts[a] + 1 / self.counts[b])
            noise, df = self.noise(readers)
            error = np.sqrt(2 / readers * noise)
            test = difference_test(self.means[a] - self.means[b], error, df, confidence)
            tests.append((names[a], names[b], test))
        return tuple(tests)
