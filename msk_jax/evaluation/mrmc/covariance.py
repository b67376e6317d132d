"""How the accuracies of readers and modalities vary together over cases."""

import numpy as np

from msk_jax.evaluation.classes.roc import delong_components, placements
from msk_jax.evaluation.core.checks import check_choice
from msk_jax.evaluation.mrmc.settings import Measure, Method


def accuracies(truth: np.ndarray, ratings: np.ndarray, measure: Measure) -> np.ndarray:
    """The measure of each row of ratings [rows, cases]; NaN are cases that a row did not read.

    Args:
        truth: 0 or 1 [cases].
        ratings: for auc any numbers, higher for 1; for the others calls, 0 or 1.

    Returns:
        [rows]; NaN where a row lacks the cases that the measure needs.
    """
    values = np.full(len(ratings), np.nan)
    for row, rating in enumerate(ratings):
        read = np.isfinite(rating)
        labels, scores = truth[read], rating[read]
        if measure == "auc":
            if labels.any() and not labels.all():
                values[row] = delong_components(labels, scores[None])[0][0]
            continue
        among = {"sensitivity": labels, "specificity": ~labels, "accuracy": np.ones_like(labels)}
        right = (scores > 0.5) == labels
        if among[measure].any():
            values[row] = right[among[measure]].mean()
    return values


def covariance(
    truth: np.ndarray, ratings: np.ndarray, measure: Measure, method: Method
) -> np.ndarray:
    """Covariance of the rows' accuracies over samples of cases.

    Args:
        truth: 0 or 1 [cases], bool.
        ratings: [rows, cases], NaN where a row did not read a case.
        measure: what is estimated of each row.
        method: "jackknife" leaves out each case in turn and serves every measure and design;
            "delong" and "unbiased" serve the AUC, DeLong's where every row read every case.

    Returns:
        [rows, rows]; 0 between rows without a common case.

    Raises:
        ValueError: a method that does not serve the measure or the design, or a row with fewer than
            two cases of a kind.

    Source: N. A. Obuchowski and H. E. Rockette, Commun Stat Simul 1995;24:285; jackknife B. Efron
    (1982); unbiased B. D. Gallas et al., J Opt Soc Am A 2007;24:B70.
    """
    if method != "jackknife" and measure != "auc":
        raise ValueError(
            f"The {method} covariance is of the AUC; for {measure} take --covariance jackknife."
        )
    check_choice("method", method, ("delong", "jackknife", "unbiased"))
    if method == "jackknife":
        found = _jackknife(truth, ratings, measure)
    elif method == "unbiased":
        found = _unbiased(truth, ratings)
    elif np.isfinite(ratings).all():
        found = delong_components(truth, ratings)[1]
    else:
        raise ValueError(
            "DeLong's covariance needs every case read by every reader in every modality. Take "
            "--covariance jackknife or unbiased."
        )
    if not np.isfinite(found).all():
        raise ValueError(
            "A reader has read fewer than two positive or two negative cases, which leaves no "
            "covariance. Add cases, or leave the reader out."
        )
    return found


def _jackknife(truth: np.ndarray, ratings: np.ndarray, measure: Measure) -> np.ndarray:
    """Jackknife covariance; the factor of a pair is that of the cases that both rows have.

    A row's cases are those that its measure counts: the sick ones only for a sensitivity.
    """
    counted = np.isfinite(ratings)
    if measure in ("sensitivity", "specificity"):
        counted = counted & (truth if measure == "sensitivity" else ~truth)
    without = np.stack(
        [_without_each(truth, row, had, measure) for row, had in zip(ratings, counted, strict=True)]
    )
    # Each row's own mean over the cases that it has.
    n = counted.sum(axis=1)
    centred = np.where(counted, without, 0.0)
    centred = np.where(counted, without - (centred.sum(axis=1) / n)[:, None], 0.0)
    factor = (np.sqrt((n - 1) / n))[:, None]
    return (factor * centred) @ (factor * centred).T


def _without_each(
    truth: np.ndarray, rating: np.ndarray, counted: np.ndarray, measure: Measure
) -> np.ndarray:
    """One row's accuracy without each of its cases in turn [cases], 0 for cases not counted."""
    without = np.zeros(len(truth))
    with np.errstate(divide="ignore", invalid="ignore"):
        if measure != "auc":
            right = ((rating > 0.5) == truth)[counted].astype(float)
            without[counted] = (right.sum() - right) / (len(right) - 1)
            return without
        for labels, share in zip((truth, ~truth), _placements(truth, rating), strict=True):
            n = len(share)
            without[counted & labels] = (share.sum() - share) / (n - 1)
    return without


def _placements(truth: np.ndarray, rating: np.ndarray) -> list[np.ndarray]:
    """Placements of the positives and the negatives that a row has."""
    read = np.isfinite(rating)
    return [share[0] for share in placements(truth[read], rating[None, read])]


def _unbiased(truth: np.ndarray, ratings: np.ndarray) -> np.ndarray:
    """Gallas' covariance: cov = E[ab] - E[a]E[b], the product from pairs without a common case."""
    kernels = []
    for rating in ratings:
        positive, negative = rating[truth][:, None], rating[~truth][None, :]
        kernel = (positive > negative) + 0.5 * (positive == negative)
        kernels.append(np.where(np.isfinite(positive) & np.isfinite(negative), kernel, 0.0))
    read = np.isfinite(ratings).astype(float)
    m, n = read[:, truth], read[:, ~truth]
    result = np.empty((len(ratings),) * 2)
    for i, a in enumerate(kernels):
        for j in range(i + 1):
            b = kernels[j]
            pairs = np.array([m[i].sum(), n[i].sum(), m[j].sum(), n[j].sum()])
            common_m, common_n = m[i] @ m[j], n[i] @ n[j]
            every = pairs.prod()
            same_m = common_m * pairs[1] * pairs[3]
            same_n = common_n * pairs[0] * pairs[2]
            apart = every - same_m - same_n + common_m * common_n
            total = a.sum() * b.sum()
            overlap = a.sum(1) @ b.sum(1) + a.sum(0) @ b.sum(0) - np.sum(a * b)
            value = np.nan
            if apart > 0:
                value = total / every - (total - overlap) / apart
            result[i, j] = result[j, i] = value
    return result
