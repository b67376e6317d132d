"""Measurements against measurements: agreement, correlation, image quality, registration."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import pearsonr, t, wilcoxon

from msk_jax.evaluation.core.checks import upper_tail
from msk_jax.evaluation.core.figure import Figure, missing


@dataclass(frozen=True)
class BlandAltman:
    """Agreement of two methods of measurement."""

    bias: Figure
    """Mean of first minus second."""
    lower: Figure
    """bias - 1.96 sd, the lower limit of agreement."""
    upper: Figure
    """bias + 1.96 sd."""
    sd: float
    """Of the differences."""


@dataclass(frozen=True)
class TargetError:
    """Distances in mm after a registration."""

    mean_mm: float
    """Mean."""
    rms_mm: float
    """Root mean square, as a fiducial registration error is usually given."""
    sd_mm: float | None
    """Standard deviation; None with one point."""
    p95_mm: float
    """95th percentile."""
    max_mm: float
    """Largest."""
    n: int
    """Points."""


@dataclass(frozen=True)
class ReadingTime:
    """Reading times with and without help."""

    saved: float
    """1 - median with / median without."""
    median_without: float
    """Of the times without help."""
    median_with: float
    """Of the times with help."""
    p: float | None
    """Wilcoxon's signed-rank test; None where no time differs."""


def bland_altman(a: np.ndarray, b: np.ndarray, confidence: float = 0.95) -> BlandAltman:
    """Bias and limits of agreement of two measurements of the same cases [cases].

    The limits' standard error is sd sqrt(1/n + 1.96² / (2 (n - 1))).

    Raises:
        ValueError: unequal lengths, fewer than two cases, or values that are not finite.

    Source: J. M. Bland and D. G. Altman, Stat Methods Med Res 1999;8:135.
    """
    a, b = _pair(a, b, 2)
    difference = a - b
    n, bias, sd = len(a), float(difference.mean()), float(difference.std(ddof=1))
    quantile = t.ppf(upper_tail(confidence), n - 1)

    def figure(value: float, error: float) -> Figure:
        half = float(quantile * error)
        return Figure(float(value), float(value - half), float(value + half), "t")

    wide = sd * np.sqrt(1 / n + 1.96**2 / (2 * (n - 1)))
    return BlandAltman(
        figure(bias, sd / np.sqrt(n)),
        figure(bias - 1.96 * sd, wide),
        figure(bias + 1.96 * sd, wide),
        sd,
    )


def correlation(a: np.ndarray, b: np.ndarray, confidence: float = 0.95) -> Figure:
    """Pearson's correlation of [cases] with Fisher's interval. Raises as `bland_altman`."""
    a, b = _pair(a, b, 2)
    if a.std() == 0 or b.std() == 0:
        return missing("Fisher z", "One of the two does not vary.")
    if len(a) < 4:
        return missing("Fisher z", "An interval needs four cases.", float(pearsonr(a, b).statistic))
    found = pearsonr(a, b)
    bounds = found.confidence_interval(confidence)
    return Figure(float(found.statistic), float(bounds.low), float(bounds.high), "Fisher z")


def adjusted_r2(r: float, n: int, predictors: int) -> float:
    """1 - (1 - r²)(n - 1)/(n - predictors - 1).

    Raises:
        ValueError: no more cases than predictors and the intercept, or a correlation outside -1..1.
    """
    if not -1.0 <= r <= 1.0 or predictors < 0:
        raise ValueError(f"A correlation of {r} with {predictors} predictors cannot be.")
    if n - predictors - 1 <= 0:
        raise ValueError(f"{n} cases are too few for {predictors} predictors.")
    return 1 - (1 - r**2) * (n - 1) / (n - predictors - 1)


def reading_time(without: np.ndarray, with_help: np.ndarray) -> ReadingTime:
    """Reading times [cases] of the same cases, in any unit. Raises as `bland_altman`."""
    without, with_help = _pair(without, with_help, 1)
    if (without <= 0).any() or (with_help <= 0).any():
        raise ValueError("Reading times must be above 0.")
    medians = float(np.median(without)), float(np.median(with_help))
    p = None
    if (without != with_help).any():
        p = float(wilcoxon(without, with_help).pvalue)
    return ReadingTime(1 - medians[1] / medians[0], *medians, p)


def psnr(image: np.ndarray, reference: np.ndarray, data_range: float) -> float:
    """Peak signal-to-noise ratio in dB, 10 log10(range² / mean square error); inf where equal.

    Raises:
        ValueError: shapes that differ, values that are not finite, or a range of 0 or less.
    """
    image, reference = _images(image, reference, data_range)
    error = np.mean((image - reference) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(data_range**2 / error))


def ssim(image: np.ndarray, reference: np.ndarray, data_range: float) -> float:
    """Structural similarity with the 11-wide Gaussian window of its authors (sigma 1.5).

    The mean is taken where the whole window lies inside the image.

    Args:
        image: 2-D or 3-D, at least 11 wide along each axis.
        reference: of the same shape.
        data_range: largest minus smallest value that a pixel can have.

    Raises:
        ValueError: as `psnr`, or an image that is too small.

    Source: Z. Wang et al., IEEE Trans Image Process 2004;13:600.
    """
    image, reference = _images(image, reference, data_range)
    if min(image.shape) < 11:
        raise ValueError(f"The window is 11 wide; an image of {image.shape} is too small.")

    def smooth(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, 1.5, radius=5)

    a, b = smooth(image), smooth(reference)
    var_a, var_b = smooth(image**2) - a**2, smooth(reference**2) - b**2
    shared = smooth(image * reference) - a * b
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    values = (2 * a * b + c1) * (2 * shared + c2)
    values /= (a**2 + b**2 + c1) * (var_a + var_b + c2)
    return float(values[(slice(5, -5),) * image.ndim].mean())


def target_error(found_mm: np.ndarray, true_mm: np.ndarray) -> TargetError:
    """Registration error at points: of targets (TRE) that had no part in it, or of fiducials (FRE).

    Args:
        found_mm: points where the registration puts them [points, axes].
        true_mm: where they are [points, axes].

    Raises:
        ValueError: shapes that differ, no point, or values that are not finite.
    """
    found_mm, true_mm = np.asarray(found_mm, float), np.asarray(true_mm, float)
    if found_mm.ndim != 2 or found_mm.shape != true_mm.shape or not len(found_mm):
        raise ValueError(f"Points {found_mm.shape} and {true_mm.shape} must be equal tables.")
    if not (np.isfinite(found_mm) & np.isfinite(true_mm)).all():
        raise ValueError("Points must be finite.")
    apart = np.linalg.norm(found_mm - true_mm, axis=1)
    return TargetError(
        mean_mm=float(apart.mean()),
        rms_mm=float(np.sqrt(np.mean(apart**2))),
        sd_mm=float(apart.std(ddof=1)) if len(apart) > 1 else None,
        p95_mm=float(np.percentile(apart, 95)),
        max_mm=float(apart.max()),
        n=len(apart),
    )


def rotation_error_deg(found: np.ndarray, true: np.ndarray) -> float:
    """Angle of the rotation between two rotation matrices [3, 3], degrees.

    acos((trace(found^T true) - 1) / 2).

    Raises:
        ValueError: matrices that are no rotations.
    """
    found, true = np.asarray(found, float), np.asarray(true, float)
    for matrix in (found, true):
        fits = matrix.shape == (3, 3) and np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-6)
        if not fits or np.linalg.det(matrix) < 0:
            raise ValueError("A rotation is a 3 x 3 matrix with R R^T = 1 and determinant 1.")
    cosine = (np.trace(found.T @ true) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _pair(a: np.ndarray, b: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.ndim != 1 or a.shape != b.shape or len(a) < least:
        raise ValueError(
            f"Measurements {a.shape} and {b.shape} must be equal vectors of {least} or more."
        )
    if not (np.isfinite(a) & np.isfinite(b)).all():
        raise ValueError("Measurements must be finite; leave out missing pairs and say so.")
    return a, b


def _images(
    image: np.ndarray, reference: np.ndarray, data_range: float
) -> tuple[np.ndarray, np.ndarray]:
    image, reference = np.asarray(image, float), np.asarray(reference, float)
    if image.shape != reference.shape or not image.size:
        raise ValueError(f"Images {image.shape} and {reference.shape} must have one shape.")
    if not (np.isfinite(image) & np.isfinite(reference)).all() or not data_range > 0:
        raise ValueError("Images must be finite, and their range above 0.")
    return image, reference
