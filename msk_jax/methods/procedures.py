"""Methods that do not learn: pure functions of what stages above them say."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msk_jax.errors import UserError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Counts:
    """Counts boxes of each class, and what share one of the classes has."""

    share_of: tuple[str, ...]
    """Classes whose part of all boxes is the share."""
    score: float = 0.5
    """Least score of a box that counts."""

    def check(self) -> None:
        """Raises UserError where no class is named, or the score is no probability."""
        if not self.share_of or not 0 <= self.score <= 1:
            raise UserError(
                "Counts needs the classes whose share is asked (share_of), and a score from 0 to 1."
            )

    def counts(
        self, labels: Sequence[str], scores: "np.ndarray", classes: Sequence[str]
    ) -> "np.ndarray":
        """Boxes of each class.

        Args:
            labels: class of each box.
            scores: of each box.
            classes: all there are.

        Returns:
            int64 [classes].
        """
        import numpy as np

        kept = np.asarray(labels, dtype=object)[np.asarray(scores, float) >= self.score]
        return np.array([int((kept == name).sum()) for name in classes], np.int64)

    def share(self, counts: "np.ndarray", classes: Sequence[str]) -> "np.ndarray":
        """Percent of the boxes [...], NaN where there is none, from counts [..., classes]."""
        import numpy as np

        asked = np.isin(np.asarray(classes), self.share_of)
        total = counts.sum(axis=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(total > 0, 100 * counts[..., asked].sum(axis=-1) / total, np.nan)
