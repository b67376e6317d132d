"""Agreement between readers, or between a model and a reader: McNemar, kappa, ICC."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import binomtest, chi2, f
from sklearn.metrics import cohen_kappa_score

from msk_jax.evaluation.core.checks import check_choice, check_yes_no, upper_tail
from msk_jax.evaluation.core.figure import Figure, bootstrap_figure, missing, wald
from msk_jax.evaluation.core.resampling import cluster_bootstrap

_BANDS = ((0.2, "slight"), (0.4, "fair"), (0.6, "moderate"), (0.8, "substantial"))


@dataclass(frozen=True)
class McNemar:
    """Comparison of two sets of decisions on the same cases."""

    only_a: int
    """Cases where only the first is right."""
    only_b: int
    """Cases where only the second is right."""
    p_exact: float
    """Two-sided exact binomial p-value of the discordant cases."""
    chi2: float | None
    """(|b - c| - 1)² / (b + c); None without discordant cases."""
    p_chi2: float | None
    """p-value of `chi2` with one degree of freedom."""


def mcnemar(right_a: np.ndarray, right_b: np.ndarray) -> McNemar:
    """McNemar's test of two raters' correct answers [cases] (bool) on the same independent cases.

    The continuity-corrected chi-square takes |b - c| - 1 as at least 0.

    Raises:
        ValueError: unequal lengths, no case, or answers other than 0 and 1.

    Source: Q. McNemar, Psychometrika 1947;12:153; A. L. Edwards, Psychometrika 1948;13:185.
    """
    right_a, right_b = check_yes_no("Correct answers", right_a, right_b)
    if not len(right_a):
        raise ValueError("McNemar's test needs a case.")
    b, c = int((right_a & ~right_b).sum()), int((~right_a & right_b).sum())
    if b + c == 0:
        return McNemar(0, 0, 1.0, None, None)
    statistic = max(abs(b - c) - 1, 0) ** 2 / (b + c)
    exact = float(binomtest(b, b + c).pvalue)
    return McNemar(b, c, exact, float(statistic), float(chi2.sf(statistic, 1)))


def cohen_kappa(
    a: np.ndarray,
    b: np.ndarray,
    weights: Literal["linear", "quadratic"] | None = None,
    *,
    num_classes: int | None = None,
    confidence: float = 0.95,
) -> Figure:
    """Cohen's kappa of two raters with its large-sample interval.

    Args:
        a: class of each case by the first rater [cases], 0 .. num_classes - 1.
        b: by the second rater [cases].
        weights: of a disagreement of d classes: 1 where d > 0, d ("linear") or d² ("quadratic").
        num_classes: by default as many as occur.
        confidence: of the two-sided interval, cut to -1 .. 1.

    Raises:
        ValueError: unequal lengths, or classes that are no whole numbers from 0.

    Source: J. Cohen, Psychol Bull 1968;70:213; variance J. L. Fleiss, J. Cohen and B. S. Everitt,
    Psychol Bull 1969;72:323.
    """
    check_choice("weights", weights, (None, "linear", "quadratic"))
    a, b = _classes(a), _classes(b)
    if a.shape != b.shape:
        raise ValueError(f"Kappa compares equal vectors, not {a.shape} with {b.shape}.")
    method = "Fleiss-Cohen-Everitt"
    if not len(a):
        return missing(method, "There is no case.")
    k = max(int(max(a.max(), b.max())) + 1, num_classes or 0)
    if len(np.union1d(a, b)) < 2:
        return missing(method, "Both raters name one class only, so chance explains everything.")
    value = float(cohen_kappa_score(a, b, labels=range(k), weights=weights))
    joint = np.zeros((k, k))
    np.add.at(joint, (a, b), 1 / len(a))
    distance = np.abs(np.subtract.outer(np.arange(k), np.arange(k))) / (k - 1)
    agree = {None: np.eye(k), "linear": 1 - distance, "quadratic": 1 - distance**2}[weights]
    rows, columns = joint.sum(axis=1), joint.sum(axis=0)
    expected = rows @ agree @ columns
    means = (agree @ columns)[:, None] + (rows @ agree)[None, :]
    spread = (joint * (agree - means * (1 - value)) ** 2).sum()
    variance = (spread - (value - expected * (1 - value)) ** 2) / (1 - expected) ** 2 / len(a)
    if variance < 1e-15:
        return missing(method, "The large-sample variance is 0, so there is no interval.", value)
    return wald(value, np.sqrt(variance), confidence, method, (-1.0, 1.0))


def kappa_band(kappa: float) -> str:
    """The words of J. R. Landis and G. G. Koch, Biometrics 1977;33:159, for a kappa."""
    if kappa < 0:
        return "poor"
    return next((word for top, word in _BANDS if kappa <= top), "almost perfect")


def fleiss_kappa(
    ratings: np.ndarray, *, samples: int = 2000, seed: int = 0, confidence: float = 0.95
) -> Figure:
    """Fleiss' kappa of several readers, with a bootstrap interval over cases.

    Args:
        ratings: class that each reader names [cases, readers], 0 upwards, nothing missing.

    Raises:
        ValueError: fewer than two readers, or classes that are no whole numbers from 0.

    Source: J. L. Fleiss, Psychol Bull 1971;76:378.
    """
    ratings = _classes(ratings)
    if ratings.ndim != 2 or ratings.shape[1] < 2:
        raise ValueError(f"Fleiss' kappa needs ratings [cases, readers >= 2], not {ratings.shape}.")
    method = "bootstrap over cases"
    if not len(ratings) or len(np.unique(ratings)) < 2:
        return missing(method, "All ratings are of one class, so chance explains everything.")
    readers = ratings.shape[1]
    counts = (ratings[:, :, None] == np.arange(ratings.max() + 1)).sum(axis=1)
    agreement = (counts * (counts - 1)).sum(axis=1) / (readers * (readers - 1))

    def statistic(weights: np.ndarray) -> np.ndarray:
        total = weights.sum(axis=1)
        shares = weights @ counts / (readers * total)[:, None]
        by_chance = (shares**2).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return (weights @ agreement / total - by_chance) / (1 - by_chance)

    value = statistic(np.ones((1, len(ratings))))[0]
    options = {"samples": samples, "seed": seed, "confidence": confidence}
    bounds = cluster_bootstrap(np.arange(len(ratings)), statistic, **options)
    return bootstrap_figure(value, bounds.low[0], bounds.high[0], method)


def icc(
    ratings: np.ndarray,
    kind: Literal["ICC1", "ICC2", "ICC3", "ICC1k", "ICC2k", "ICC3k"] = "ICC2",
    confidence: float = 0.95,
) -> Figure:
    """Intraclass correlation of readers' measurements with its F interval.

    Args:
        ratings: measurements [cases, readers], nothing missing.
        kind: ICC1 one-way, ICC2 two-way random readers with absolute agreement, ICC3 two-way fixed
            readers with consistency; `k`: of the mean of all readers.

    Raises:
        ValueError: fewer than two cases or readers, values that are not finite, or another kind.

    Source: P. E. Shrout and J. L. Fleiss, Psychol Bull 1979;86:420; K. O. McGraw and S. P. Wong,
    Psychol Methods 1996;1:30.
    """
    check_choice("kind", kind, ("ICC1", "ICC2", "ICC3", "ICC1k", "ICC2k", "ICC3k"))
    ratings = np.asarray(ratings, float)
    if ratings.ndim != 2 or min(ratings.shape) < 2 or not np.isfinite(ratings).all():
        raise ValueError("An ICC needs finite ratings of at least two cases by two readers.")
    n, k = ratings.shape
    grand, of_case, of_reader = ratings.mean(), ratings.mean(axis=1), ratings.mean(axis=0)
    cases = k * ((of_case - grand) ** 2).sum() / (n - 1)
    readers = n * ((of_reader - grand) ** 2).sum() / (k - 1)
    rest = ratings - of_case[:, None] - of_reader + grand
    error = (rest**2).sum() / ((n - 1) * (k - 1))
    within = ((ratings - of_case[:, None]) ** 2).sum() / (n * (k - 1))
    method = f"{kind}, F interval"
    if cases == 0.0 and within == 0.0:
        return missing(method, "All measurements are equal.")
    if within == 0.0 or (error == 0.0 and kind.startswith("ICC3")):
        return missing(method, "The readers agree without error, so F is infinite.", 1.0)
    if error == 0.0 and kind.startswith("ICC2"):
        value = cases / (cases + (1 if kind.endswith("k") else k) * readers / n)
        return missing(method, "The readers differ by constants only, so F is infinite.", value)
    tails = (upper_tail(confidence), 1 - upper_tail(confidence))
    if kind.startswith("ICC2"):
        value, low, high = _icc2(cases, readers, error, n, k, tails)
    else:
        noise, df = (within, n * (k - 1)) if kind.startswith("ICC1") else (error, (n - 1) * (k - 1))
        value = (cases - noise) / (cases + (k - 1) * noise)
        ratio = cases / noise
        low, high = (
            (bound - 1) / (bound + k - 1)
            for bound in (ratio / f.ppf(tails[0], n - 1, df), ratio / f.ppf(tails[1], n - 1, df))
        )
    if kind.endswith("k"):
        value, low, high = (k * r / (1 + (k - 1) * r) for r in (value, low, high))
    return Figure(float(value), float(low), float(high), method)


def _icc2(
    cases: float, readers: float, error: float, n: int, k: int, tails: tuple[float, float]
) -> tuple[float, float, float]:
    """ICC(2,1) and its interval from the mean squares."""
    value = (cases - error) / (cases + (k - 1) * error + k * (readers - error) / n)
    ratio = readers / error
    a, b = k * value, n * (1 + (k - 1) * value) - k * value
    df = (k - 1) * (n - 1) * (a * ratio + b) ** 2
    df /= (n - 1) * (a * ratio) ** 2 + b**2
    upper, lower = f.ppf(tails[0], n - 1, df), f.ppf(tails[0], df, n - 1)
    noise = k * readers + (k * n - k - n) * error
    low = n * (cases - upper * error) / (upper * noise + n * cases)
    high = n * (lower * cases - error) / (noise + n * lower * cases)
    return value, low, high


def _classes(values: np.ndarray) -> np.ndarray:
    """Whole numbers from 0, or ValueError."""
    values = np.asarray(values)
    numbers = values.astype(float)
    if not (np.isfinite(numbers) & (numbers >= 0) & (numbers == np.floor(numbers))).all():
        raise ValueError("Classes must be whole numbers from 0, nothing missing.")
    return numbers.astype(int)
