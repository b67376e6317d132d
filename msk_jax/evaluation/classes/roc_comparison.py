"""Tests between ROC areas: several scores, other patients, clustered patients, permutation."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2, rankdata, t

from msk_jax.evaluation.classes.roc import (
    NO_VARIANCE,
    auc_interval,
    check_score_rows,
    check_scores,
    delong_components,
    obuchowski_components,
)
from msk_jax.evaluation.core.checks import units_of, upper_tail
from msk_jax.evaluation.core.figure import Figure, TestResult, missing, wald_test

_MOST_EXACT = 14
"""Up to this many clusters all exchanges are counted; beyond, a sample of them."""


@dataclass(frozen=True)
class RocAreas:
    """Areas of several scores of the same cases, and what they have in common."""

    values: np.ndarray
    """[scores]."""
    covariance: np.ndarray
    """[scores, scores]."""
    chi2: float | None
    """Of the hypothesis that all areas are equal; None with one score or a singular covariance."""
    df: int
    """Degrees of freedom of `chi2`."""
    p: float | None
    """p-value of `chi2`."""
    method: str
    """Whose covariance it is."""

    def figure(self, score: int, confidence: float = 0.95) -> Figure:
        """One area with its interval; where its variance is 0 there is none."""
        value, variance = float(self.values[score]), float(self.covariance[score, score])
        method = f"{self.method}, logit"
        if not variance > NO_VARIANCE or value in (0.0, 1.0):
            return missing(method, "The variance of the area is 0 or has no estimate.", value)
        bounds = auc_interval(value, np.sqrt(variance), confidence, "logit")
        return Figure(value, *bounds, method)

    def compare(self, first: int = 0, second: int = 1, confidence: float = 0.95) -> TestResult:
        """Paired test of two of the areas."""
        s = self.covariance
        variance = s[first, first] + s[second, second] - 2 * s[first, second]
        difference = self.values[first] - self.values[second]
        return wald_test(difference, np.sqrt(max(variance, 0.0)), confidence, "normal, paired")


def roc_areas(
    labels: np.ndarray, scores: np.ndarray, clusters: np.ndarray | None = None
) -> RocAreas:
    """Areas of several scores with DeLong's covariance, or Obuchowski's where cases cluster.

    Args:
        labels: 0 or 1 [cases].
        scores: [scores, cases], or [cases] for one.
        clusters: patient of each case, who may have cases of both classes; None: cases are
            independent.

    Raises:
        ValueError: labels other than 0 and 1, scores that are not finite, unequal lengths, or fewer
            than two cases (with clusters: two patients) of a class.

    Source: E. R. DeLong et al., Biometrics 1988;44:837; N. A. Obuchowski, Biometrics 1997;53:567.
    """
    labels, scores = check_score_rows(labels, scores)
    if clusters is None:
        if min(labels.sum(), (~labels).sum()) < 2:
            raise ValueError("Comparing areas needs at least two cases of each class.")
        values, covariance = delong_components(labels, scores)
    else:
        values, covariance = obuchowski_components(labels, scores, units_of(clusters, len(labels)))
    k = len(values)
    statistic = p = None
    contrast = np.eye(k)[:-1] - np.eye(k)[1:]
    spread = contrast @ covariance @ contrast.T
    if k > 1 and np.linalg.matrix_rank(spread, tol=1e-12) == k - 1:
        apart = contrast @ values
        statistic = float(apart @ np.linalg.solve(spread, apart))
        p = float(chi2.sf(statistic, k - 1))
    method = "DeLong" if clusters is None else "Obuchowski"
    return RocAreas(values, covariance, statistic, k - 1, p, method)


def delong_unpaired_test(
    labels_a: np.ndarray,
    a: np.ndarray,
    labels_b: np.ndarray,
    b: np.ndarray,
    confidence: float = 0.95,
) -> TestResult:
    """Compares the areas of two scores on different, independent cases.

    The statistic is held against Student's t with Satterthwaite's degrees of freedom, n - 1 for
    the variance of an area from n cases, as in pROC (X. Robin et al., BMC Bioinformatics
    2011;12:77).

    Args:
        labels_a: 0 or 1 [cases of the first], at least two of each.
        a: scores [cases of the first].
        labels_b: 0 or 1 [cases of the second].
        b: scores [cases of the second].

    Raises:
        ValueError: as `roc_areas`.
    """
    first, second = roc_areas(labels_a, a), roc_areas(labels_b, b)
    difference = float(first.values[0] - second.values[0])
    variances = np.array([first.covariance[0, 0], second.covariance[0, 0]])
    sizes = np.array([len(labels_a), len(labels_b)])
    method = "DeLong, unpaired"
    if variances.sum() < 1e-16:
        return wald_test(difference, 0.0, confidence, method)
    df = variances.sum() ** 2 / np.sum(variances**2 / (sizes - 1))
    error = float(np.sqrt(variances.sum()))
    half = float(t.ppf(upper_tail(confidence), df)) * error
    p = float(2 * t.sf(abs(difference) / error, df))
    return TestResult(
        difference, error, difference - half, difference + half, difference / error, p, method
    )


def permutation_test(
    labels: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    clusters: np.ndarray | None = None,
    *,
    samples: int = 10_000,
    seed: int = 0,
) -> TestResult:
    """Paired test of two areas that exchanges the two scores' ranks within patients.

    Under exchangeability the difference of the areas after an exchange is a sum of one signed term
    per case, so the terms are found once, by ranks, and each permutation is a row of signs.

    Args:
        labels: 0 or 1 [cases], both present.
        a: first scores [cases].
        b: second scores [cases].
        clusters: patient of each case; a patient's cases are exchanged together.
        samples: of the exchanges, where more than 2^14 are possible; all of them else.
        seed: of the sample.

    Raises:
        ValueError: as `roc_areas`, or one class only.

    Source: A. I. Bandos, H. E. Rockette and D. Gur, Stat Med 2005;24:2873.
    """
    labels, a = check_scores(labels, a)
    _, b = check_scores(labels, b)
    if labels.all() or not labels.any():
        raise ValueError("An ROC curve needs both classes.")
    terms = _exchange_terms(labels, rankdata(a), rankdata(b))
    units = units_of(clusters, len(labels))
    _, member = np.unique(units, return_inverse=True)
    terms = np.bincount(member, terms)
    observed, spread = float(terms.sum()), float(np.sqrt(np.sum(terms**2)))
    if len(terms) <= _MOST_EXACT:
        signs = 1 - 2 * ((np.arange(2 ** len(terms))[:, None] >> np.arange(len(terms))) & 1)
        p = float(np.mean(np.abs(signs @ terms) >= abs(observed) - 1e-12))
        return TestResult(observed, spread, None, None, observed, p, "permutation, exact")
    rng = np.random.default_rng(seed)
    drawn = np.concatenate(
        [
            (1 - 2 * rng.integers(0, 2, (size, len(terms)), np.int8)).astype(np.float64) @ terms
            for size in np.diff(np.r_[np.arange(0, samples, 2000), samples])
        ]
    )
    # The observed arrangement is one of the possible ones.
    p = float((1 + np.sum(np.abs(drawn) >= abs(observed) - 1e-12)) / (samples + 1))
    return TestResult(observed, spread, None, None, observed, p, "permutation")


def _exchange_terms(labels: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Terms whose sum is area(a) - area(b), and whose signs turn with the exchange of a case.

    With f(x, y) = 1 for x > y and 1/2 for x = y, and both scores of positives i and negatives j:
    f(aᵢ, aⱼ) - f(bᵢ, bⱼ) where both or neither is exchanged (with one sign), and
    f(aᵢ, bⱼ) - f(bᵢ, aⱼ) where one is. Half their sum belongs to i, half their difference to j.
    """
    m, n = int(labels.sum()), int((~labels).sum())

    def above(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        y = np.sort(y)
        return (np.searchsorted(y, x, "left") + np.searchsorted(y, x, "right")) / 2

    pa, pb, na, nb = a[labels], b[labels], a[~labels], b[~labels]
    terms = np.empty(len(labels))
    terms[labels] = (above(pa, na) - above(pb, nb) + above(pa, nb) - above(pb, na)) / 2
    below_a, below_b = m - above(na, pa), m - above(nb, pb)
    terms[~labels] = (below_a - below_b - (m - above(nb, pa)) + (m - above(na, pb))) / 2
    return terms / (m * n)
