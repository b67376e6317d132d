"""Reader studies drawn from Roe and Metz's model, to see what an analysis does."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr


@dataclass(frozen=True)
class RoeMetz:
    """Variances of a rating, each for negative and positive cases alike.

    The four variances over cases add up to 1, the scale of the ratings.
    """

    separation: float = 1.5
    """Mean of positives minus mean of negatives, averaged over modalities."""
    effect: float = 0.0
    """Separation of the first modality minus that of the second."""
    reader: float = 0.0055
    """Of readers."""
    modality_reader: float = 0.0055
    """Of readers within a modality."""
    case: float = 0.3
    """Of cases."""
    modality_case: float = 0.3
    """Of cases within a modality."""
    reader_case: float = 0.2
    """Of cases within a reader."""
    rest: float = 0.2
    """Of what is left."""

    def expected_auc(self, modality: int) -> float:
        """The true mean AUC of modality 0 or 1 over readers and cases.

        Φ(separation / sqrt(2 (1 + reader + modality_reader))): both classes draw each effect
        anew.
        """
        spread = self.reader + self.modality_reader + self.case + self.modality_case
        spread += self.reader_case + self.rest
        shift = self.effect / 2 * (1 if modality == 0 else -1)
        return float(ndtr((self.separation + shift) / np.sqrt(2 * spread)))

    def draw(
        self, readers: int, positives: int, negatives: int, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """One study of two modalities.

        Returns:
            truth [cases] and ratings [2, readers, cases], negatives first.

        Source: C. A. Roe and C. E. Metz, Acad Radiol 1997;4:298.
        """
        rng = np.random.default_rng(seed)

        def normal(variance: float, *shape: int) -> np.ndarray:
            return np.sqrt(variance) * rng.standard_normal(shape)

        classes = []
        for count in (negatives, positives):
            classes.append(
                normal(self.reader, 1, readers, 1)
                + normal(self.modality_reader, 2, readers, 1)
                + normal(self.case, 1, 1, count)
                + normal(self.modality_case, 2, 1, count)
                + normal(self.reader_case, 1, readers, count)
                + normal(self.rest, 2, readers, count)
            )
        shifts = self.separation + self.effect / 2 * np.array([1.0, -1.0])
        classes[1] = classes[1] + shifts[:, None, None]
        truth = np.repeat([0, 1], [negatives, positives])
        return truth, np.concatenate(classes, axis=2)
