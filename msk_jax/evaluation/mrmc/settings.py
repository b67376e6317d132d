"""How a reader study is analysed, and how simulated readers read: settings alone."""

import math
from dataclasses import dataclass
from typing import Literal

from msk_jax.config import check_limits
from msk_jax.errors import UserError

Measure = Literal["auc", "sensitivity", "specificity", "accuracy"]
Method = Literal["delong", "jackknife", "unbiased"]


@dataclass(frozen=True)
class MrmcSettings:
    """How a reader study is analysed."""

    measure: Measure = "auc"
    """What is compared. Sensitivity, specificity and accuracy need --threshold."""
    threshold: float | None = None
    """A rating of at least this is a call of positive."""
    covariance: Method = "jackknife"
    """How the accuracies' covariance over cases is estimated; delong and unbiased for auc only."""
    random: Literal["readers and cases", "readers", "cases"] = "readers and cases"
    """What the study speaks of: other readers and other cases, other readers with these cases, or
    these readers with other cases."""
    confidence: float = 0.95
    """Of every interval."""
    next_difference: float = 0.05
    """The difference that a next study is to find; its size is given for a power of 0.8."""

    def check(self) -> None:
        """Raises UserError where a field cannot be what it is."""
        check_limits(self, confidence=(0.5, 0.9999), next_difference=(0.0001, 1))
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise UserError(f"--threshold is {self.threshold}; give the rating that is a call.")
        if self.measure != "auc" and self.threshold is None:
            raise UserError(f"For {self.measure} give the rating that is a call: --threshold 3.")
        if self.measure != "auc" and self.covariance != "jackknife":
            raise UserError(
                f"The {self.covariance} covariance is of the AUC; for {self.measure} take "
                "--covariance jackknife."
            )


@dataclass(frozen=True)
class ReaderGroup:
    """Readers of one seniority."""

    name: str
    readers: int
    separation: float
    """Means of the two classes apart, in standard deviations of the cases' difficulty."""
    own_weight: float
    """Of the own impression, when the model's score is shown (1: the model is ignored)."""
    seconds: float
    """Median time for a case of which the reader is sure, unaided."""
    time_saved: float
    """Share of that time that help saves."""


@dataclass(frozen=True)
class ReaderModel:
    """Sixteen readers as in the knee tumour study.

    The separations make the majority of each group as accurate as published (72, 89 and 87 %
    unaided; 91 % of the juniors with a model of 93 %); the times are a choice.
    """

    groups: tuple[ReaderGroup, ...] = (
        ReaderGroup("junior", 6, 1.2, 0.6, 40.0, 0.25),
        ReaderGroup("middle", 5, 2.3, 0.85, 30.0, 0.15),
        ReaderGroup("senior", 5, 2.2, 0.9, 22.0, 0.1),
    )
    leaning: float = 0.3
    """Standard deviation of readers' leaning towards one answer."""
    difficulty: float = 1.0
    """Standard deviation of cases, shared by all readers."""
    view: float = 0.5
    """Standard deviation of what one reader sees in one case, the same with and without help."""
    pace: float = 0.2
    """Standard deviation of the logarithm of readers' pace."""
    time_spread: float = 0.35
    """Standard deviation of the logarithm of the time from case to case."""
    doubt: float = 0.8
    """How much longer, as a share, a case takes whose impression is right between the classes."""
