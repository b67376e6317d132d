"""Who goes where: patients over cells of given shares, kept in every prefix of the cohort."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol, TypeVar

import numpy as np

BLOCK = 512  # patients worked out at a time


class Place(Protocol):
    """A hospital with what of the cohort is there."""

    @property
    def splits(self) -> tuple[tuple[str, float], ...]:
        """(split, share of all patients)."""


AnyPlace = TypeVar("AnyPlace", bound=Place)


def allot_diagnosis(
    places: Sequence[AnyPlace], positive_fraction: float, seed: int, number: int
) -> tuple[AnyPlace, str, bool]:
    """Where patient `number` is seen, in which split, and whether ill, as everywhere equally."""
    cells = [
        (place, split, ill, part * (positive_fraction if ill else 1 - positive_fraction))
        for place in places
        for split, part in place.splits
        for ill in (False, True)
    ]
    place, split, ill, _ = cells[allot(tuple(cell[3] for cell in cells), seed, number)]
    return place, split, ill


def allot(shares: tuple[float, ...], seed: int, number: int) -> int:
    """The cell of patient `number`: its share of any first n patients is held to about one.

    Args:
        shares: of the cells, adding up to 1.
        seed: of the order within the shares.
        number: of the patient, from 0.
    """
    return _cells(shares, seed, (number // BLOCK + 1) * BLOCK)[number]


@lru_cache(maxsize=16)
def _cells(shares: tuple[float, ...], seed: int, count: int) -> tuple[int, ...]:
    rng = np.random.default_rng([seed, 41])
    due, cells = np.zeros(len(shares)), []
    for _ in range(count):
        due += shares
        cell = int(np.argmax(due + 0.6 * rng.random(len(shares))))
        due[cell] -= 1
        cells.append(cell)
    return tuple(cells)
