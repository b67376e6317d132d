"""Where a training stands, beside its arrays."""

import dataclasses


@dataclasses.dataclass
class Course:
    """Where a run stands, beside its arrays; saved with every checkpoint."""

    epoch_losses: list[float] = dataclasses.field(default_factory=list)
    best: float | None = None
    best_step: int = 0
    stale_epochs: int = 0
    unvalidated: bool = False
    """Whether the epoch is trained whose validation was left to the next call."""


COURSE = {
    "course": {
        "epoch_losses": [float],
        "best": (float, None),
        "best_step": int,
        "stale_epochs": int,
        "unvalidated": bool,
    }
}
"""What a checkpoint says of its `Course`, see `files.fault`."""
