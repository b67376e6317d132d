"""Obuchowski and Rockette's analysis of a reader study, with Hillis' degrees of freedom."""

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from scipy.stats import chi2, f, norm, t

from msk_jax.evaluation.core.checks import check_choice, upper_tail
from msk_jax.evaluation.core.figure import TestResult
from msk_jax.evaluation.mrmc.covariance import accuracies, covariance
from msk_jax.evaluation.mrmc.settings import Measure, Method

Random = Literal["readers and cases", "readers", "cases"]

NO_VARIANCE = 1e-24
"""A variance of accuracies up to this is rounding."""

NOTHING_VARIES = (
    "The accuracies vary neither over readers nor over cases as far as this study counts them, "
    "which proves no certainty; there is neither interval nor test."
)


@dataclass(frozen=True)
class Components:
    """What the accuracies vary by."""

    reader: float | None
    """Variance of readers; None with one reader. An estimate, which may be negative."""
    modality_reader: float | None
    """Variance of the modality's effect over readers; where these are nested in modalities, of
    readers and that effect together. May be negative."""
    error: float
    """Variance of one accuracy over samples of cases."""
    cov1: float | None
    """Covariance of two modalities of one reader; None where no reader read in two."""
    cov2: float
    """Covariance of two readers in one modality."""
    cov3: float
    """Covariance of two readers in two modalities."""


@dataclass(frozen=True)
class Modality:
    """The mean accuracy of one modality, from its own data alone."""

    name: str
    """As in the ratings."""
    value: float
    """Mean over readers."""
    standard_error: float
    """Of `value`."""
    df: float | None
    """Degrees of freedom; None where the normal distribution is used."""
    low: float | None
    """Lower bound, cut to 0..1; None where nothing varies."""
    high: float | None
    """Upper bound."""
    why: str | None = None
    """Why there is no interval."""


@dataclass(frozen=True)
class MrmcResult:
    """The analysis of one measure of a reader study."""

    measure: Measure
    """What was measured."""
    random: Random
    """What the readers and the cases stand for: themselves, or others like them."""
    method: Method
    """Of the covariance."""
    accuracy: np.ndarray
    """[modalities, readers]."""
    modality_names: tuple[str, ...]
    """Rows of `accuracy`."""
    reader_names: tuple[str, ...]
    """Columns of `accuracy`."""
    components: Components
    """Variances and covariances."""
    ms_modality: float
    """Mean square of modalities."""
    ms_modality_reader: float | None
    """Mean square of the interaction, or of readers nested in modalities; None with one reader."""
    statistic: float | None
    """F, or chi-square where readers are fixed; None where nothing varies."""
    df1: float
    """Degrees of freedom of modalities."""
    df2: float | None
    """Of the denominator; None where readers are fixed."""
    p: float | None
    """Of the hypothesis that all modalities are equally accurate; None as `statistic`."""
    modalities: tuple[Modality, ...]
    """Each by itself."""
    differences: tuple[tuple[str, str, TestResult], ...]
    """First and second modality, and the test of first minus second."""
    by_reader: tuple[tuple[str, str, str, TestResult], ...]
    """Reader, first and second modality, test with this reader fixed."""
    why: str | None = None
    """Why there is no test."""


def obuchowski_rockette(
    truth: np.ndarray,
    ratings: np.ndarray,
    *,
    modality_names: tuple[str, ...] | None = None,
    reader_names: tuple[str, ...] | None = None,
    measure: Measure = "auc",
    method: Method = "jackknife",
    random: Random = "readers and cases",
    confidence: float = 0.95,
) -> MrmcResult:
    """Compares modalities over readers and cases.

    Args:
        truth: 0 or 1 [cases].
        ratings: [modalities, readers, cases]; NaN where a reader did not read a case in a modality.
            So cases may be nested in readers, in modalities or in groups of readers (split plot).
            For sensitivity, specificity and accuracy: calls, 0 or 1.
        modality_names: [modalities].
        reader_names: [readers].
        measure: of accuracy.
        method: of the covariance; see `covariance`.
        random: which of readers and cases are samples of those one wants to speak of.

    Raises:
        ValueError: shapes that do not fit, fewer than two modalities, fewer than two readers where
            these are random, one class only, or a reader without the cases that the measure needs.

    Source: N. A. Obuchowski and H. E. Rockette, Commun Stat Simul 1995;24:285; degrees of freedom
    S. L. Hillis, Stat Med 2007;26:596; unbalanced and split-plot designs S. L. Hillis, Stat Med
    2014;33:330.
    """
    truth, ratings = check_study(truth, ratings, measure, random)
    modality_names = modality_names or tuple(str(i + 1) for i in range(ratings.shape[0]))
    reader_names = reader_names or tuple(str(i + 1) for i in range(ratings.shape[1]))
    shape = ratings.shape[:2]
    rows = ratings.reshape(-1, ratings.shape[2])
    accuracy = accuracies(truth, rows, measure).reshape(shape)
    _check_accuracy(accuracy, measure, modality_names, reader_names)
    spread = covariance(truth, rows, measure, method).reshape(*shape, *shape)
    components = _components(accuracy, spread)
    statistic, df1, df2, p, error = _global_test(accuracy, components, random)
    means = accuracy.mean(axis=1)
    differences = tuple(
        (
            modality_names[a],
            modality_names[b],
            difference_test(means[a] - means[b], error, df2, confidence),
        )
        for a, b in combinations(range(shape[0]), 2)
    )
    return MrmcResult(
        measure,
        random,
        method,
        accuracy,
        modality_names,
        reader_names,
        components,
        _ms_modality(accuracy),
        _ms_interaction(accuracy),
        statistic,
        df1,
        df2,
        p,
        tuple(
            modality_alone(name, accuracy[i], spread[i, :, i], random, confidence)
            for i, name in enumerate(modality_names)
        ),
        differences,
        _by_reader(accuracy, spread, confidence, modality_names, reader_names),
        NOTHING_VARIES if statistic is None else None,
    )


def check_study(
    truth: np.ndarray, ratings: np.ndarray, measure: Measure, random: Random
) -> tuple[np.ndarray, np.ndarray]:
    """Truth as bool [cases] and ratings as numbers, or ValueError; see `obuchowski_rockette`."""
    check_choice("random", random, ("readers and cases", "readers", "cases"))
    check_choice("measure", measure, ("auc", "sensitivity", "specificity", "accuracy"))
    truth, ratings = np.asarray(truth), np.asarray(ratings, float)
    if ratings.ndim != 3 or truth.shape != ratings.shape[2:]:
        raise ValueError(
            f"Ratings must be [modalities, readers, cases] with a truth per case, not "
            f"{ratings.shape} with {truth.shape}."
        )
    if np.isinf(ratings).any():
        raise ValueError("Ratings must be finite; a missing one is NaN.")
    if not np.isin(truth, (0, 1)).all() or truth.all() or not truth.any():
        raise ValueError("The truth must be 0 or 1, with cases of both.")
    if len(ratings) < 2:
        raise ValueError("A comparison needs two modalities.")
    if ratings.shape[1] < 2 and random != "cases":
        raise ValueError(
            "With one reader nothing is known of other readers. Take --random cases, which speaks "
            "of this reader alone."
        )
    if measure != "auc" and not np.isin(ratings[~np.isnan(ratings)], (0, 1)).all():
        raise ValueError(f"For {measure} the ratings must be calls, 0 or 1.")
    return truth.astype(bool), ratings


def _check_accuracy(
    accuracy: np.ndarray,
    measure: Measure,
    modality_names: tuple[str, ...],
    reader_names: tuple[str, ...],
) -> None:
    for i, j in np.argwhere(~np.isfinite(accuracy)):
        raise ValueError(
            f"Reader {reader_names[j]} has read too few cases in modality {modality_names[i]} for "
            f"{measure}."
        )


def _components(accuracy: np.ndarray, spread: np.ndarray) -> Components:
    """Variance components of accuracy [t, r] with covariance [t, r, t, r]."""
    num_modalities, num_readers = accuracy.shape
    same_t = np.eye(num_modalities, dtype=bool)[:, None, :, None]
    same_r = np.eye(num_readers, dtype=bool)[None, :, None, :]

    def mean(where: np.ndarray) -> float:
        where = np.broadcast_to(where, spread.shape)
        return float(spread[where].mean()) if where.any() else 0.0

    error, cov1 = mean(same_t & same_r), mean(~same_t & same_r)
    cov2, cov3 = mean(same_t & ~same_r), mean(~same_t & ~same_r)
    interaction = _ms_interaction(accuracy)
    reader = modality_reader = None
    if interaction is not None:
        ms_reader = num_modalities * accuracy.mean(axis=0).var(ddof=1)
        reader = float((ms_reader - interaction) / num_modalities - cov1 + cov3)
        modality_reader = interaction - error + cov1 + max(cov2 - cov3, 0.0)
    return Components(reader, modality_reader, error, cov1, cov2, cov3)


def _ms_modality(accuracy: np.ndarray) -> float:
    return float(accuracy.shape[1] * accuracy.mean(axis=1).var(ddof=1))


def _ms_interaction(accuracy: np.ndarray) -> float | None:
    if accuracy.shape[1] < 2:
        return None
    rest = accuracy - accuracy.mean(axis=1, keepdims=True) - accuracy.mean(axis=0) + accuracy.mean()
    return float(np.sum(rest**2) / ((accuracy.shape[0] - 1) * (accuracy.shape[1] - 1)))


def _global_test(
    accuracy: np.ndarray, components: Components, random: Random
) -> tuple[float | None, int, float | None, float | None, float]:
    """Statistic, both degrees of freedom, p-value, and the standard error of a difference.

    Without variance there is neither statistic nor p-value, and the error is 0.
    """
    num_modalities, num_readers = accuracy.shape
    df1 = num_modalities - 1
    ms = _ms_modality(accuracy)
    c = components
    if random == "cases":
        noise = c.error - c.cov1 + (num_readers - 1) * max(c.cov2 - c.cov3, 0.0)
        if is_rounding(noise, c.error):
            return None, df1, None, None, 0.0
        statistic = df1 * ms / noise
        error = float(np.sqrt(2 / num_readers * noise))
        return float(statistic), df1, None, float(chi2.sf(statistic, df1)), error
    interaction = _ms_interaction(accuracy)
    noise, df2 = interaction, float(df1 * (num_readers - 1))
    if random == "readers and cases":
        noise = interaction + num_readers * max(c.cov2 - c.cov3, 0.0)
        rounding = is_rounding(interaction, c.error)
        df2 = np.inf if rounding else noise**2 / interaction**2 * df2
    if is_rounding(noise, c.error):
        return None, df1, None, None, 0.0
    statistic = ms / noise
    p = float(f.sf(statistic, df1, df2) if np.isfinite(df2) else chi2.sf(df1 * statistic, df1))
    return float(statistic), df1, float(df2), p, float(np.sqrt(2 / num_readers * noise))


def is_rounding(variance: float, error: float) -> bool:
    """Whether a variance is what rounding leaves of 0, beside the readers' error variance."""
    return variance <= NO_VARIANCE + 1e-13 * error


def difference_test(value: float, error: float, df: float | None, confidence: float) -> TestResult:
    """Test of one difference, by t with these degrees of freedom, or by the normal."""
    value, error = float(value), float(error)
    method = "normal" if df is None else "t, Hillis degrees of freedom"
    if error <= 1e-12:
        value = 0.0 if abs(value) < 1e-12 else value
        return TestResult(value, 0.0, None, None, None, None, method, NOTHING_VARIES)
    law = norm if df is None or not np.isfinite(df) else t(df)
    half = float(law.ppf(upper_tail(confidence))) * error
    statistic = value / error
    p = float(2 * law.sf(abs(statistic)))
    return TestResult(value, error, value - half, value + half, statistic, p, method)


def modality_alone(
    name: str, accuracy: np.ndarray, spread: np.ndarray, random: Random, confidence: float
) -> Modality:
    """Mean accuracy of one modality from its own readers [readers] and their covariance."""
    readers = len(accuracy)
    apart = ~np.eye(readers, dtype=bool)
    cov2 = max(float(spread[apart].mean()), 0.0) if readers > 1 else 0.0
    df = None
    if random == "cases":
        error = np.sqrt((spread.diagonal().mean() + (readers - 1) * cov2) / readers)
    else:
        ms, cov2 = accuracy.var(ddof=1), cov2 * (random == "readers and cases")
        error = np.sqrt(ms / readers + cov2)
        if not is_rounding(ms, spread.diagonal().mean()):
            df = float((ms + readers * cov2) ** 2 / ms**2 * (readers - 1))
    mean = float(accuracy.mean())
    if is_rounding(error**2, spread.diagonal().mean()):
        return Modality(name, mean, 0.0, None, None, None, NOTHING_VARIES)
    law = norm if df is None else t(df)
    half = law.ppf(upper_tail(confidence)) * error
    low, high = max(mean - half, 0.0), min(mean + half, 1.0)
    return Modality(name, mean, float(error), df, float(low), float(high))


def _by_reader(
    accuracy: np.ndarray,
    spread: np.ndarray,
    confidence: float,
    modality_names: tuple[str, ...],
    reader_names: tuple[str, ...],
) -> tuple[tuple[str, str, str, TestResult], ...]:
    """Each reader's differences over samples of cases.

    The variance is pooled over the reader's modalities: 2 (mean variance - mean covariance).
    """
    rows = []
    apart = ~np.eye(len(accuracy), dtype=bool)
    for j, reader in enumerate(reader_names):
        own = spread[:, j, :, j]
        variance = 2 * float(own.diagonal().mean() - own[apart].mean())
        error = 0.0 if is_rounding(variance, own.diagonal().mean()) else np.sqrt(variance)
        for a, b in combinations(range(len(accuracy)), 2):
            test = difference_test(accuracy[a, j] - accuracy[b, j], error, None, confidence)
            rows.append((reader, modality_names[a], modality_names[b], test))
    return tuple(rows)
