"""How predictions are judged: settings alone."""

from dataclasses import dataclass
from typing import Any, Literal

from msk_jax.config import check_limits

Pooling = Literal["mean", "max", "median"]
"""How probabilities of parts become the probability of the whole."""


@dataclass(frozen=True)
class EvaluationSettings:
    """How predictions are judged."""

    criterion: Literal["youden", "sensitivity"] = "youden"
    """What the operating point is chosen by: the largest sensitivity + specificity - 1, or the
    highest threshold that still reaches `target_sensitivity`."""
    target_sensitivity: float = 0.95
    """The sensitivity to reach on the validation folds, with criterion `sensitivity`."""
    unit_pool: Pooling = "mean"
    """How the probabilities of images become that of the unit (joint, vertebra) that they show."""
    patient_pool: Pooling = "max"
    """How the probabilities of units become that of their patient."""
    confidence: float = 0.95
    """Of every interval."""
    bootstrap_samples: int = 2000
    """Samples of every bootstrap over patients."""
    seed: int = 0
    """Of every bootstrap."""

    @property
    def bootstrap(self) -> dict[str, Any]:
        """What every bootstrap is told."""
        return {
            "samples": self.bootstrap_samples,
            "seed": self.seed,
            "confidence": self.confidence,
        }

    def check(self) -> None:
        """Raises UserError where a field cannot be what it is."""
        check_limits(
            self,
            target_sensitivity=(0.01, 1),
            confidence=(0.5, 0.9999),
            bootstrap_samples=(2, 1_000_000),
            seed=(0, 2**31 - 1),
        )


@dataclass(frozen=True)
class ModelSettings:
    """How a table of predictions is judged."""

    threshold: float = 0.5
    """A probability of at least this is a call of positive, unless --validation chooses it."""
    criterion: Literal["youden", "sensitivity", "specificity"] = "youden"
    """What the operating point is chosen by on the cases of --validation."""
    target: float = 0.95
    """The sensitivity or specificity to reach there."""
    gate: Literal["none", "early", "staging"] = "none"
    """Judge by the limits of this task: early diagnosis, or staging and prognosis."""
    gate_rule: Literal["interval", "point"] = "interval"
    """What must lie inside them: the whole interval, or the figure itself."""
    proportions: Literal["wilson", "exact"] = "wilson"
    """Interval of shares of independent cases; exact (Clopper and Pearson) is wider, and advised
    below 30 cases."""
    ordinal: bool = False
    """Three or more classes have an order, that of their columns: add how far calls are off."""
    confidence: float = 0.95
    """Of every interval."""
    bootstrap_samples: int = 2000
    """Samples of every bootstrap over patients."""
    seed: int = 0
    """Of every bootstrap."""

    def check(self) -> None:
        """Raises UserError where a field cannot be what it is."""
        check_limits(
            self,
            threshold=(0, 1),
            target=(0.01, 1),
            confidence=(0.5, 0.9999),
            bootstrap_samples=(2, 1_000_000),
            seed=(0, 2**31 - 1),
        )
