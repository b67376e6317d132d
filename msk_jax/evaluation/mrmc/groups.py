"""Whether two groups of readers gain differently from a modality."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm, t

from msk_jax.evaluation.core.checks import upper_tail
from msk_jax.evaluation.core.figure import TestResult
from msk_jax.evaluation.mrmc.analysis import NO_VARIANCE, Random
from msk_jax.evaluation.mrmc.covariance import accuracies, covariance
from msk_jax.evaluation.mrmc.settings import Measure, Method


def difference_between_groups(
    truth: np.ndarray,
    ratings: np.ndarray,
    first: Sequence[int],
    second: Sequence[int],
    *,
    measure: Measure = "auc",
    method: Method = "jackknife",
    random: Random = "readers and cases",
    confidence: float = 0.95,
) -> TestResult:
    """The first group's mean gain (first minus second modality) minus the second group's.

    The gains of readers have a variance over readers and errors that covary over the cases: by cw
    within a group and by cb between the groups. With S² the pooled variance of the gains within
    groups of r1 and r2 readers the difference has the variance

        S² (1/r1 + 1/r2) + 2 max(cw - cb, 0)

    since E S² = variance over readers + error variance - cw. It is held against t with Hillis'
    kind of degrees of freedom, (r1 + r2 - 2) (variance / (S² (1/r1 + 1/r2)))². With fixed cases the
    second term is left out, which is Student's test of the gains; with fixed readers the variance
    over cases of this very contrast stands alone, and the law is the normal one.

    Args:
        truth: 0 or 1 [cases].
        ratings: [2 modalities, readers, cases], as in `obuchowski_rockette`.
        first: indices of the first group's readers.
        second: of the second group's.

    Source: derived here from the model of N. A. Obuchowski and H. E. Rockette, Commun Stat Simul
    1995;24:285.
    """
    truth, ratings = np.asarray(truth, bool), np.asarray(ratings, float)
    kept = [*first, *second]
    readers, rows = len(kept), ratings[:, kept].reshape(2 * len(kept), -1)
    in_first = np.arange(readers) < len(first)
    law = "normal" if random == "cases" else "t, Hillis degrees of freedom"
    if random != "cases" and min(len(first), len(second)) < 2:
        why = "A group of one reader says nothing of other readers of its kind."
        return TestResult(None, None, None, None, None, None, law, why)
    gains = np.subtract(*accuracies(truth, rows, measure).reshape(2, readers))
    if not np.isfinite(gains).all():
        why = "A reader has read too few cases in one of the modalities."
        return TestResult(None, None, None, None, None, None, law, why)
    spread = covariance(truth, rows, measure, method).reshape(2, readers, 2, readers)
    errors = spread[0, :, 0] + spread[1, :, 1] - spread[0, :, 1] - spread[1, :, 0]
    difference = float(gains[in_first].mean() - gains[~in_first].mean())
    variance, df = _variance(gains, errors, in_first, random)
    if variance <= NO_VARIANCE + 1e-13 * float(errors.diagonal().mean()):
        why = "The gains do not vary, which proves no certainty."
        return TestResult(difference, 0.0, None, None, None, None, law, why)
    found = norm if np.isinf(df) else t(df)
    error = float(np.sqrt(variance))
    half = float(found.ppf(upper_tail(confidence))) * error
    p = float(2 * found.sf(abs(difference) / error))
    return TestResult(
        difference, error, difference - half, difference + half, difference / error, p, law
    )


def _variance(
    gains: np.ndarray, errors: np.ndarray, in_first: np.ndarray, random: Random
) -> tuple[float, float]:
    """Variance of the difference of the groups' mean gains, and its degrees of freedom.

    Args:
        gains: of each reader [readers].
        errors: covariance of the gains over cases [readers, readers].
        in_first: whether a reader is of the first group [readers].
    """
    readers, first, second = len(gains), int(in_first.sum()), int((~in_first).sum())
    if random == "cases":
        contrast = np.where(in_first, 1 / first, -1 / second)
        return float(contrast @ errors @ contrast), np.inf
    means = np.where(in_first, gains[in_first].mean(), gains[~in_first].mean())
    own = float(np.sum((gains - means) ** 2) / (readers - 2) * (1 / first + 1 / second))
    within = in_first[:, None] == in_first[None]
    between = float(errors[~within].mean())
    shared = float(errors[within & ~np.eye(readers, dtype=bool)].mean()) - between
    variance = own + 2 * max(shared, 0.0) * (random == "readers and cases")
    return variance, (readers - 2) * (variance / own) ** 2 if own > NO_VARIANCE else np.inf
