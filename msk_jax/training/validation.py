"""Going through the validation patients, and whether what came of it is the best so far."""

import itertools
from collections.abc import Callable, Iterable, Iterator


class Interrupted(Exception):
    """A validation was left before its end."""


def until_asked(batches: Iterable, rounds: int, asked_to_stop: Callable[[int], bool]) -> Iterator:
    """The batches; raises `Interrupted` before the next one where a stop is asked for.

    Args:
        batches: of this host.
        rounds: batches of the host that has the most, so that all ask equally often.
        asked_to_stop: is given the number of the round.
    """
    remaining = iter(batches)
    for k in range(rounds):
        if asked_to_stop(k):
            raise Interrupted
        yield from itertools.islice(remaining, 1)


def is_better(monitor: str, figures: dict[str, float], best: float | None) -> bool:
    """Whether an epoch with these figures is to be kept, where `best` is that of the kept one."""
    if monitor == "none" or best is None:
        return True
    return figures[monitor] < best if monitor == "loss" else figures[monitor] > best
