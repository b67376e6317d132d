"""The two shapes that results have, a figure with its interval and a test; results for JSON."""

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from msk_jax.evaluation.core.checks import upper_tail


@dataclass(frozen=True)
class Figure:
    """A figure with its interval."""

    value: float | None
    """None where there is no answer, as where a denominator is 0."""
    low: float | None
    """Lower bound of the two-sided interval."""
    high: float | None
    """Upper bound of the two-sided interval."""
    method: str
    """How the interval was made."""
    why: str | None = None
    """Why something is missing."""


@dataclass(frozen=True)
class TestResult:
    """A statistical test, two-sided."""

    difference: float | None
    """What is tested to be 0; None where a test has no single difference."""
    standard_error: float | None
    """Of the difference."""
    low: float | None
    """Lower bound of the two-sided interval of the difference."""
    high: float | None
    """Upper bound."""
    statistic: float | None
    """Of the test; None where it has no answer."""
    p: float | None
    """Two-sided p-value."""
    method: str
    """Which test."""
    why: str | None = None
    """Why something is missing."""

    # pytest would take a class of this name for tests.
    __test__ = False


def missing(method: str, why: str, value: float | None = None) -> Figure:
    """A figure without an interval, or without an answer at all."""
    return Figure(value, None, None, method, why)


def wald(
    value: float,
    error: float,
    confidence: float,
    method: str,
    limits: tuple[float, float] = (-np.inf, np.inf),
) -> Figure:
    """value ± z error, cut to what the figure can be."""
    if not (np.isfinite(value) and np.isfinite(error)):
        return missing(method, "The estimate or its standard error is not finite.")
    z = norm.ppf(upper_tail(confidence))
    low, high = max(value - z * error, limits[0]), min(value + z * error, limits[1])
    return Figure(float(value), float(low), float(high), method)


def wald_test(difference: float, error: float, confidence: float, method: str) -> TestResult:
    """Tests a normal difference against 0.

    A standard error of 0 proves no certainty: then there is no interval, and p is 1 where the
    difference is 0 too and missing elsewhere.
    """
    difference, error, reach = float(difference), float(error), norm.ppf(upper_tail(confidence))
    if error > 1e-8:
        z = difference / error
        half = float(reach) * error
        p = float(2 * norm.sf(abs(z)))
        return TestResult(difference, error, difference - half, difference + half, z, p, method)
    if abs(difference) < 1e-12:
        why = "The difference has no variance, so there is no interval."
        return TestResult(0.0, 0.0, None, None, 0.0, 1.0, method, why)
    why = "The two figures differ but their difference has no variance."
    return TestResult(difference, 0.0, None, None, None, None, method, why)


def mean_figure(values: np.ndarray, confidence: float = 0.95) -> Figure:
    """The mean of independent numbers with Student's interval.

    Raises:
        ValueError: values that are not finite.
    """
    values = np.asarray(values, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("Values must be finite; leave out missing ones and say so.")
    method = "Student"
    if not len(values):
        return missing(method, "There is no number.")
    mean = float(values.mean())
    if len(values) < 2:
        return missing(method, "One number has no spread.", mean)
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    half = float(student.ppf(upper_tail(confidence), len(values) - 1)) * error
    return Figure(mean, mean - half, mean + half, method)


def bootstrap_figure(value: float, low: float, high: float, method: str) -> Figure:
    """A figure with resampled bounds, or with the reason why it has none."""
    if not np.isfinite(value):
        return missing(method, "A denominator is 0.")
    if not (np.isfinite(low) and np.isfinite(high)):
        return missing(method, "No resample has an answer.", float(value))
    # Resamples of a constant differ in the last bits.
    if high - low <= 1e-12 * max(1.0, abs(value)):
        why = "Every resample says the same, which proves no certainty; there is no interval."
        return missing(method, why, float(value))
    return Figure(float(value), float(low), float(high), method)


def to_plain(result: Any) -> Any:
    """Any result of this package as what JSON has.

    Dataclasses become dicts, arrays and tuples lists, NumPy's numbers Python's. A number that is
    not finite becomes None: a bound without an answer, infinite degrees of freedom (the normal
    distribution), the signal-to-noise ratio of equal images.
    """
    if is_dataclass(result) and not isinstance(result, type):
        return {field.name: to_plain(getattr(result, field.name)) for field in fields(result)}
    if isinstance(result, dict):
        return {str(key): to_plain(value) for key, value in result.items()}
    if isinstance(result, np.ndarray):
        return to_plain(result.tolist())
    if isinstance(result, list | tuple):
        return [to_plain(value) for value in result]
    if isinstance(result, np.generic):
        return to_plain(result.item())
    return None if isinstance(result, float) and not np.isfinite(result) else result
