"""A logistic regression beside the network: its settings; `tabular` fits it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LogisticModel:
    """A logistic regression on columns of the table of predictions."""

    name: str
    columns: tuple[str, ...]
    """Of `age`, `sex` (F is 1, M is 0) and the cohort's clinical variables that are numbers. What
    is missing is taken as the training patients' median."""
    image: bool = False
    """Whether the log-odds of the network's probability, of a network that never saw the patient,
    are a column too (stacking)."""
    words: tuple[str, ...] = ()
    """Clinical variables that are words: each word of the training patients is a column of 0 and 1
    (one-hot), an empty cell is a word too, and one that they do not have is 0 in all."""
    strength: float = 1.0
    """Inverse of the ridge penalty on standardised columns and words; that on the log-odds is 1,
    which is next to none. Little strength leaves a model with image close to the network."""
