"""Times to an event with censoring: concordance, time-dependent AUC, Brier score, Kaplan-Meier."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from msk_jax.errors import UserError
from msk_jax.evaluation.core.checks import upper_tail
from msk_jax.evaluation.core.figure import Figure, TestResult, bootstrap_figure, missing
from msk_jax.evaluation.core.resampling import cluster_bootstrap


@dataclass(frozen=True)
class KaplanMeier:
    """Survival over time with Greenwood's log-log bounds, and how many are at risk."""

    times: np.ndarray
    """Where the curve steps, 0 first [points]."""
    survival: np.ndarray
    """Share without event [points]."""
    low: np.ndarray
    """Pointwise lower bound [points]."""
    high: np.ndarray
    """Pointwise upper bound [points]."""
    risk_times: np.ndarray
    """Of the risk table [columns]."""
    at_risk: np.ndarray
    """Still observed and without event just before `risk_times` [columns]."""


def kaplan_meier(
    times: np.ndarray,
    events: np.ndarray,
    *,
    risk_times: np.ndarray | None = None,
    confidence: float = 0.95,
) -> KaplanMeier:
    """The survival curve (lifelines) with a risk table.

    Args:
        times: to event or censoring [cases].
        events: whether the event was seen [cases].
        risk_times: of the table; by default six from 0 to the last time.

    Raises:
        ValueError: unequal lengths, no case, or times that are not finite and at least 0.
        UserError: lifelines is not installed.

    Source: E. L. Kaplan and P. Meier, J Am Stat Assoc 1958;53:457.
    """
    times, events = _checked(times, events)
    alpha = 2 * (1 - upper_tail(confidence))
    fitter = _lifelines().KaplanMeierFitter(alpha=alpha).fit(times, events)
    bounds = fitter.confidence_interval_survival_function_
    shown = np.linspace(0, times.max(), 6) if risk_times is None else np.asarray(risk_times, float)
    return KaplanMeier(
        times=fitter.survival_function_.index.to_numpy(float),
        survival=fitter.survival_function_.iloc[:, 0].to_numpy(),
        low=bounds.iloc[:, 0].to_numpy(),
        high=bounds.iloc[:, 1].to_numpy(),
        risk_times=shown,
        at_risk=(times[None] >= shown[:, None]).sum(axis=1),
    )


def log_rank(
    times_a: np.ndarray, events_a: np.ndarray, times_b: np.ndarray, events_b: np.ndarray
) -> TestResult:
    """The log-rank test of two groups' survival (lifelines); `statistic` is chi-square, df 1.

    Raises:
        ValueError: as `kaplan_meier`.
        UserError: lifelines is not installed.

    Source: N. Mantel, Cancer Chemother Rep 1966;50:163.
    """
    first, second = _checked(times_a, events_a), _checked(times_b, events_b)
    method = "log-rank"
    if not (first[1].any() or second[1].any()):
        return TestResult(None, None, None, None, None, None, method, "There is no event.")
    _lifelines()
    from lifelines.statistics import logrank_test

    found = logrank_test(first[0], second[0], first[1], second[1])
    statistic = float(found.test_statistic)
    if not np.isfinite(statistic):
        why = "No event falls where both groups are observed."
        return TestResult(None, None, None, None, None, None, method, why)
    return TestResult(None, None, None, None, statistic, float(found.p_value), method)


def harrell_c(
    times: np.ndarray,
    events: np.ndarray,
    risks: np.ndarray,
    *,
    samples: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
) -> Figure:
    """Harrell's concordance (lifelines) of a risk, higher for earlier events, with a bootstrap.

    Raises:
        ValueError: as `kaplan_meier`, or risks that are not finite.

    Source: F. E. Harrell et al., Stat Med 1996;15:361.
    """
    times, events, risks = (*_checked(times, events), _scores(risks, times))
    index = _lifelines().utils.concordance_index

    def statistic(row: np.ndarray) -> float:
        kept = np.repeat(np.arange(len(times)), row.astype(int))
        try:
            return index(times[kept], -risks[kept], events[kept])
        except ZeroDivisionError:
            return np.nan

    return _resampled(statistic, len(times), samples, seed, confidence)


def uno_c(
    times: np.ndarray,
    events: np.ndarray,
    risks: np.ndarray,
    horizon: float,
    *,
    samples: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
) -> Figure:
    """Uno's concordance up to a horizon, weighed by the chance of not being censored.

    The chance is estimated on the same cases; the bootstrap estimates it anew in each sample.

    Args:
        horizon: events later than this do not count.

    Raises:
        ValueError: as `harrell_c`, or a horizon beyond which nobody is observed.

    Source: H. Uno et al., Stat Med 2011;30:1105.
    """
    times, events, risks = (*_checked(times, events), _scores(risks, times))
    _check_horizon(horizon, times)
    # Pairs (i, j) in which i had the event first; a tie in time counts where j was censored.
    first = times[:, None] < times[None]
    first |= (times[:, None] == times[None]) & ~events[None]
    counted = events & (times < horizon)
    first &= counted[:, None]
    apart = risks[:, None] - risks[None]
    score = (apart > 1e-8) + 0.5 * (np.abs(apart) <= 1e-8)

    def statistic(row: np.ndarray) -> float:
        chance = censoring_survival(times, events, times, row)
        # An event that does not count, or was not drawn, may lie where the chance is 0.
        inverse = np.where(counted & (row > 0), row / chance**2, 0.0)
        pairs = inverse[:, None] * row[None] * first
        return (pairs * score).sum() / pairs.sum()

    return _resampled(statistic, len(times), samples, seed, confidence)


def time_auc(
    times: np.ndarray,
    events: np.ndarray,
    risks: np.ndarray,
    horizon: float,
    *,
    samples: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
) -> Figure:
    """Cumulative-dynamic AUC at a horizon: events up to it against those observed beyond it.

    There is no answer where there is no event before or nobody after the horizon.

    Raises:
        ValueError: as `uno_c`.

    Source: H. Hung and C.-T. Chiang, Can J Stat 2010;38:8.
    """
    times, events, risks = (*_checked(times, events), _scores(risks, times))
    _check_horizon(horizon, times)
    case, control = events & (times <= horizon), times > horizon
    above = risks[case][:, None] > risks[control][None]
    order = above + 0.5 * (risks[case][:, None] == risks[control][None])

    def statistic(row: np.ndarray) -> float:
        chance = censoring_survival(times, events, times[case], row)
        first = np.where(row[case] > 0, row[case] / chance, 0.0)
        return first @ order @ row[control] / (first.sum() * row[control].sum())

    why = "There is no event before the horizon, or nobody is observed after it."
    return _resampled(statistic, len(times), samples, seed, confidence, why)


def brier_at(
    times: np.ndarray,
    events: np.ndarray,
    survival: np.ndarray,
    horizon: float,
    *,
    samples: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
) -> Figure:
    """Brier score of a predicted survival beyond a horizon [cases], weighed for censoring.

    Raises:
        ValueError: as `uno_c`, or probabilities outside 0..1.

    Source: E. Graf et al., Stat Med 1999;18:2529.
    """
    statistic = _brier(*_checked(times, events), survival, horizon)
    return _resampled(statistic, len(times), samples, seed, confidence)


def integrated_brier(
    times: np.ndarray,
    events: np.ndarray,
    survival: np.ndarray,
    horizons: np.ndarray,
    *,
    samples: int = 500,
    seed: int = 0,
    confidence: float = 0.95,
) -> Figure:
    """Mean of `brier_at` over horizons by the trapezoid rule; survival is [cases, horizons].

    Raises:
        ValueError: as `brier_at`, or fewer than two rising horizons.
    """
    horizons = np.asarray(horizons, float)
    if len(horizons) < 2 or (np.diff(horizons) <= 0).any():
        raise ValueError("An integral needs two horizons or more, rising.")
    pairs = list(zip(np.asarray(survival).T, horizons, strict=True))
    checked = _checked(times, events)
    at_each = [_brier(*checked, column, horizon) for column, horizon in pairs]

    def statistic(row: np.ndarray) -> float:
        values = [at(row) for at in at_each]
        return np.trapezoid(values, horizons) / (horizons[-1] - horizons[0])

    return _resampled(statistic, len(times), samples, seed, confidence)


def _brier(times: np.ndarray, events: np.ndarray, survival: np.ndarray, horizon: float) -> Callable:
    """How often each case counts [cases] -> the Brier score."""
    survival = _scores(survival, times)
    if not ((survival >= 0) & (survival <= 1)).all():
        raise ValueError("Survival must be a probability from 0 to 1.")
    _check_horizon(horizon, times)
    before, after = events & (times <= horizon), times > horizon
    loss = np.where(before, survival**2, np.where(after, (1 - survival) ** 2, 0.0))
    when = np.minimum(times, horizon)

    def statistic(row: np.ndarray) -> float:
        chance = censoring_survival(times, events, when, row)
        # Who was censored before has no loss, and who was not drawn no weight.
        return np.where((before | after) & (row > 0), row * loss / chance, 0.0).sum() / row.sum()

    return statistic


def censoring_survival(
    times: np.ndarray, events: np.ndarray, at: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Kaplan-Meier estimate of not being censored up to and including each of `at`.

    At a tie in time events come before censorings.
    """
    weights = np.ones(len(times)) if weights is None else weights
    steps, member = np.unique(times, return_inverse=True)
    lost = np.bincount(member, weights * ~events)
    died = np.bincount(member, weights * events)
    leaving = lost + died
    risk = weights.sum() - np.r_[0.0, np.cumsum(leaving)[:-1]] - died
    with np.errstate(divide="ignore", invalid="ignore"):
        kept = np.cumprod(np.where(lost > 0, 1 - lost / risk, 1.0))
    return np.r_[1.0, kept][np.searchsorted(steps, at, side="right")]


def _resampled(
    statistic: Callable[[np.ndarray], float],
    cases: int,
    samples: int,
    seed: int,
    confidence: float,
    why: str = "No two cases can be put in order.",
) -> Figure:
    """The statistic of all cases with its bootstrap; it is asked how often each case counts."""

    def of_samples(weights: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.array([statistic(row) for row in weights])

    value = of_samples(np.ones((1, cases)))[0]
    method = "bootstrap"
    if not np.isfinite(value):
        return missing(method, why)
    options = {"samples": samples, "seed": seed, "confidence": confidence}
    bounds = cluster_bootstrap(np.arange(cases), of_samples, **options)
    return bootstrap_figure(value, bounds.low[0], bounds.high[0], method)


def _checked(times: np.ndarray, events: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    times, events = np.asarray(times, float), np.asarray(events)
    if times.ndim != 1 or times.shape != events.shape or not len(times):
        raise ValueError(f"Times {times.shape} and events {events.shape} must be equal vectors.")
    if not (np.isfinite(times) & (times >= 0)).all():
        raise ValueError("Times must be finite and at least 0.")
    if not np.isin(events, (0, 1)).all():
        raise ValueError("Events must be 0 (censored) or 1.")
    return times, events.astype(bool)


def _scores(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    values = np.asarray(values, float)
    if values.shape != np.shape(times) or not np.isfinite(values).all():
        raise ValueError(f"Predictions {values.shape} must be finite, one for each of the times.")
    return values


def _check_horizon(horizon: float, times: np.ndarray) -> None:
    if not 0 < horizon < times.max():
        raise ValueError(f"Nobody is observed beyond {horizon}; the last time is {times.max()}.")


def _lifelines():
    try:
        import lifelines
    except ImportError:
        raise UserError(
            'Survival figures need lifelines: pip install "msk_jax[survival]".'
        ) from None
    return lifelines
