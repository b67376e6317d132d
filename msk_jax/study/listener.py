"""Whom a study tells how it goes on."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

Update = Callable[[int, int, str], None]
"""Called as `update(done, total, note)`."""


@dataclass(frozen=True)
class Listener:
    """A person at a terminal, a log, or nobody."""

    say: Callable[[str], None]
    """Takes a sentence."""
    progress: Callable[[str], contextlib.AbstractContextManager[Update]]
    """Takes the title of some long work; its context gives an `Update`."""


def _unheard(*_) -> None:
    """Says nothing to anybody."""


SILENT = Listener(_unheard, lambda title: contextlib.nullcontext(_unheard))
