"""How soon the command line answers, beside the interpreter's own start.

    python -m benchmarks.startup
    python -m benchmarks.startup --repeats 15 --every

Printed are seconds of processor time (user and system, of all threads) and by the clock, each as
the median with the least and the most of the repeats. The commands take turns, so that what else
the machine does falls on all; the first turn, which compiles modules, does not count.
"""

import dataclasses
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

import tyro

from msk_jax import experiment as catalogue
from msk_jax.flags import study


@dataclasses.dataclass(frozen=True)
class Startup:
    """Time commands that only answer a question."""

    repeats: int = 7
    """Turns of each command."""
    every: bool = False
    """The help of every verb and experiment, instead of one of each verb."""


def main(settings: Startup) -> None:
    """Print a row for each command."""
    commands = {"python -c pass": ["-c", "pass"]}
    for words in _words(settings.every):
        commands[" ".join(["msk-jax", *words])] = ["-m", "msk_jax", *words]
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for turn in range(settings.repeats + 1):
        for name, words in commands.items():
            taken = timed([sys.executable, *words])
            if turn:
                times[name].append(taken)
    width = max(map(len, commands))
    print(f"{'':<{width}}  {'processor, s':<22}by the clock, s")
    for name, taken in times.items():
        processor, clock = (in_words(column) for column in zip(*taken, strict=True))
        print(f"{name:<{width}}  {processor:<22}{clock}")


def _words(every: bool) -> list[list[str]]:
    """What is asked, without the name of the program."""
    names = catalogue.names() if every else catalogue.names()[:1]
    helps = [[verb, name, "--help"] for verb in study.VERBS for name in names]
    return [["--help"], ["experiments"], ["models"], *helps]


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds of processor time and by the clock that a command takes.

    Raises:
        RuntimeError: it ended with another status than 0.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}.")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - start


def in_words(seconds: Sequence[float]) -> str:
    """The median with the least and the most."""
    return f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"


if __name__ == "__main__":
    main(tyro.cli(Startup))
