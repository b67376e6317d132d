"""The gate of figures that a system for a task must reach, judged by the interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import norm

from msk_jax.evaluation.core.checks import check_choice, upper_tail
from msk_jax.evaluation.core.figure import Figure
from msk_jax.evaluation.masks.segmentation import segmentation_figures
from msk_jax.evaluation.masks.surface import Convention

Task = Literal["early", "staging", "segmentation"]

Rule = Literal["interval", "point"]
"""What must lie inside the limits: the whole interval, or the figure itself."""


@dataclass(frozen=True)
class Limits:
    """Between what a figure passes."""

    low: float = -np.inf
    """Lowest value."""
    high: float = np.inf
    """Highest value."""
    strict: bool = False
    """Whether a value on the limit itself fails."""

    def holds(self, value: float, slack: float = 0.0) -> bool:
        """Whether a value passes; within `slack` of a limit it counts as on it."""
        if self.strict:
            return self.low + slack < value < self.high - slack
        return self.low - slack <= value <= self.high + slack


LIMITS: dict[Task, dict[str, Limits]] = {
    "early": {"sensitivity": Limits(low=0.95), "specificity": Limits(low=0.80)},
    "staging": {"specificity": Limits(low=0.85, strict=True), "slope": Limits(0.8, 1.2)},
    "segmentation": {
        "dice": Limits(low=0.85),
        "hd95_mm": Limits(high=2.0, strict=True),
        "absolute_volume_error": Limits(high=0.10, strict=True),
    },
}
"""J. Fu et al., Med J Chin PLA 2025;50:1235: early diagnosis (ARCO I-II), staging and prognosis
(ARCO III-IV), segmentation of the lesion. It gives no limit of Dice; that one is this project's."""

_MOST = 1_000_000


@dataclass(frozen=True)
class Verdict:
    """One figure before the gate."""

    name: str
    """Of the figure."""
    value: float | None
    """The figure."""
    low: float | None
    """Lower bound of its interval."""
    high: float | None
    """Upper bound."""
    limits: tuple[float | None, float | None]
    """Lowest and highest value that pass; None where there is no such limit."""
    strict: bool
    """Whether a value on the limit itself fails."""
    verdict: Literal["pass", "fail", "open"]
    """pass or fail where the whole interval lies inside or outside the limits, else open; by the
    rule "point" pass or fail as the figure itself does, open without a figure."""
    rule: Rule
    """Which of the two."""
    point_passes: bool | None
    """Whether the figure itself lies inside."""
    n: int
    """How many are behind the figure."""
    counted: str
    """Of what `n` and `n_to_settle` are: cases, or the positives or negatives among them."""
    n_to_settle: int | None
    """About how many would settle an open verdict, if the figure stays as it is; None where it is
    settled, or the figure lies on the limit itself."""
    why: str | None = None
    """Why there is no figure."""


def judge(
    name: str,
    value: float | None,
    low: float | None,
    high: float | None,
    n: int,
    limits: Limits,
    *,
    counted: str = "cases",
    proportion: bool = False,
    rule: Rule = "interval",
    confidence: float = 0.95,
    why: str | None = None,
) -> Verdict:
    """Holds one figure with its interval against the limits.

    Args:
        name: of the figure.
        value: None where there is no figure; the verdict is then open.
        low: bound of the interval, or None.
        high: bound.
        n: cases behind the figure, or what else is `counted`.
        limits: between what it passes.
        proportion: whether the figure is a share of n cases, whose Wilson interval is known for any
            n; else the interval is taken to shrink with the square root of n.
        rule: what must lie inside.
        confidence: of the interval.
        why: of a missing figure.

    Raises:
        ValueError: a figure or a bound that is not finite (None is for a missing one), or another
            rule.
    """
    check_choice("rule", rule, ("interval", "point"))
    given = [number for number in (value, low, high) if number is not None]
    if not np.isfinite(given).all():
        raise ValueError(f"{name} is {value} ({low} to {high}); give None for what is missing.")
    shown = tuple(float(x) if np.isfinite(x) else None for x in (limits.low, limits.high))
    about = {"limits": shown, "strict": limits.strict, "rule": rule, "n": n, "counted": counted}
    if value is None:
        return Verdict(
            name,
            None,
            None,
            None,
            verdict="open",
            point_passes=None,
            n_to_settle=None,
            why=why,
            **about,
        )
    inside = limits.holds(value)
    verdict: Literal["pass", "fail", "open"] = "open"
    bounded = low is not None and high is not None
    if rule == "point":
        verdict = "pass" if inside else "fail"
    elif bounded and limits.holds(low) and limits.holds(high):
        verdict = "pass"
    elif bounded and _outside(low, high, limits):
        verdict = "fail"
    need = None
    if verdict == "open" and bounded and n > 0:
        need = _needed(value, low, high, n, limits, proportion, confidence)
    return Verdict(
        name, value, low, high, verdict=verdict, point_passes=inside, n_to_settle=need, **about
    )


def _outside(low: float, high: float, limits: Limits) -> bool:
    """Whether no value of the interval passes."""
    if limits.strict:
        return high <= limits.low or low >= limits.high
    return high < limits.low or low > limits.high


def together(verdicts: Sequence[Verdict]) -> Literal["pass", "fail", "open"]:
    """The verdict of a task: fail where one figure fails, pass where all pass, else open."""
    found = {verdict.verdict for verdict in verdicts}
    if "fail" in found:
        return "fail"
    return "pass" if found == {"pass"} else "open"


@dataclass(frozen=True)
class JudgedSegmentation:
    """Segmentations before the gate."""

    n: int
    """Cases."""
    figures: dict[str, Figure]
    """All of `segmentation_figures`."""
    verdicts: tuple[Verdict, ...]
    """Of the figures that have limits."""
    verdict: Literal["pass", "fail", "open"]
    """Of all together."""


def judge_segmentation(
    masks: Sequence[np.ndarray],
    references: Sequence[np.ndarray],
    spacings: Sequence[tuple[float, ...]],
    *,
    limits: Mapping[str, Limits] = LIMITS["segmentation"],
    rule: Rule = "interval",
    convention: Convention = "surfel",
    confidence: float = 0.95,
) -> JudgedSegmentation:
    """Holds the mean Dice, HD95 and absolute volume error of a study's cases against the limits.

    The absolute error, because signed ones of -50 and +50 % would average to a pass.

    Args:
        masks: of each case, bool, 2-D or 3-D.
        references: of each case, of the same shape.
        spacings: of each case, mm along each axis.
        limits: by name of a figure of `segmentation_figures`.
        rule: what must lie inside.

    Raises:
        ValueError: as `segmentation_figures` and `judge`.
    """
    figures = segmentation_figures(
        masks, references, spacings, convention=convention, confidence=confidence
    )
    verdicts = tuple(
        judge(
            name,
            figures[name].value,
            figures[name].low,
            figures[name].high,
            len(masks),
            limit,
            rule=rule,
            confidence=confidence,
            why=figures[name].why,
        )
        for name, limit in limits.items()
    )
    return JudgedSegmentation(len(masks), figures, verdicts, together(verdicts))


def _needed(
    value: float,
    low: float,
    high: float,
    n: int,
    limits: Limits,
    proportion: bool,
    confidence: float,
) -> int | None:
    """Cases at which the interval around the same value leaves the limits on one side."""
    half = norm.ppf(upper_tail(confidence))

    def settled(cases: int) -> bool:
        if proportion:
            z2 = half**2
            centre = (value + z2 / (2 * cases)) / (1 + z2 / cases)
            reach = half * np.sqrt(value * (1 - value) / cases + z2 / (4 * cases**2))
            reach /= 1 + z2 / cases
            ends = centre - reach, centre + reach
        else:
            shrink = np.sqrt(n / cases)
            ends = value - (value - low) * shrink, value + (high - value) * shrink
        inside = all(limits.holds(end, slack=1e-12) for end in ends)
        return inside or _outside(*ends, limits)

    if not settled(_MOST):
        return None
    below, enough = n, _MOST
    while enough - below > 1:
        middle = (below + enough) // 2
        below, enough = (below, middle) if settled(middle) else (middle, enough)
    return enough
