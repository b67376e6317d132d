"""Who goes where: patients over cells of given shares, kept in every prefix of the cohort."""

from functools import lru_cache

import numpy as np

BLOCK = 512  # patients worked out at a time


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
