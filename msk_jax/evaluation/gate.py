"""The gate of figures that a system for a task must reach, judged by the interval."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import norm

Task = Literal["early", "staging", "segmentation"]

LIMITS: dict[Task, dict[str, tuple[float, float]]] = {
    "early": {"sensitivity": (0.95, np.inf), "specificity": (0.80, np.inf)},
    "staging": {"specificity": (0.85, np.inf), "slope": (0.8, 1.2)},
    "segmentation": {"hd95_mm": (-np.inf, 2.0), "volume_error": (-0.10, 0.10)},
}
"""Lowest and highest value of each figure; a volume error may be signed or not. J. Fu et al., Med J
Chin PLA 2025;50:1235: early diagnosis (ARCO I-II), staging and prognosis (ARCO III-IV),
segmentation of the lesion."""

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
    verdict: Literal["pass", "fail", "open"]
    """pass or fail where the whole interval lies inside or outside the limits; else open."""
    point_passes: bool | None
    """Whether the figure itself lies inside."""
    n: int
    """Cases behind the figure."""
    n_to_settle: int | None
    """About how many cases would settle an open verdict, if the figure stays as it is; None where
    it is settled, or the figure lies on the limit itself."""


def judge(
    name: str,
    value: float | None,
    low: float | None,
    high: float | None,
    n: int,
    limits: tuple[float, float],
    *,
    proportion: bool = False,
    confidence: float = 0.95,
) -> Verdict:
    """Holds one figure with its interval against the limits.

    Args:
      name: of the figure.
      value: None where there is no figure; the verdict is then open.
      low: bound of the interval, or None.
      high: bound.
      n: cases behind the figure.
      limits: lowest and highest value that pass, ±inf where there is none.
      proportion: whether the figure is a share of n cases, whose Wilson interval is known for any
        n; else the interval is taken to shrink with the square root of n.
      confidence: of the interval.
    """
    bottom, top = limits
    shown = tuple(None if np.isinf(limit) else float(limit) for limit in limits)
    if value is None:
        return Verdict(name, None, None, None, shown, "open", None, n, None)
    inside = bool(bottom <= value <= top)
    verdict: Literal["pass", "fail", "open"] = "open"
    if low is not None and high is not None:
        if bottom <= low and high <= top:
            verdict = "pass"
        elif high < bottom or low > top:
            verdict = "fail"
    need = None
    if verdict == "open" and low is not None and high is not None and n > 0:
        need = _needed(value, low, high, n, limits, proportion, confidence)
    return Verdict(name, value, low, high, shown, verdict, inside, n, need)


def _needed(
    value: float,
    low: float,
    high: float,
    n: int,
    limits: tuple[float, float],
    proportion: bool,
    confidence: float,
) -> int | None:
    """Cases at which the interval around the same value leaves the limits on one side."""
    bottom, top = limits
    half = norm.ppf(0.5 + confidence / 2)

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
        inside = bottom <= ends[0] + 1e-12 and ends[1] - 1e-12 <= top
        return inside or ends[1] < bottom or ends[0] > top

    if not settled(_MOST):
        return None
    below, enough = n, _MOST
    while enough - below > 1:
        middle = (below + enough) // 2
        below, enough = (below, middle) if settled(middle) else (middle, enough)
    return enough
