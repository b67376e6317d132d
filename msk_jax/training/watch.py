"""Watching a run from inside: its pace, a trace of some steps, and the wish that it stop."""

import collections
import contextlib
import dataclasses
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax

_TRACED = range(5, 10)
"""Steps of a call that a trace shows: compilation is over by then."""


class Pace:
    """How fast the steps of one epoch go, and what they wait for.

    Args:
        batch_size: examples of a step, over all hosts.
    """

    def __init__(self, batch_size: int):
        self._batch_size = batch_size
        self._begin = None
        self.restart()

    def restart(self) -> None:
        """Count afresh, from the next step on."""
        self._steps, self._waited, self._begin = 0, 0.0, None

    @contextlib.contextmanager
    def input(self) -> Iterator[None]:
        """Around what fetches a batch."""
        begin = time.perf_counter()
        yield
        self._waited += time.perf_counter() - begin

    def step(self) -> None:
        """After each step; the first since `restart` only starts the clock, for it may compile."""
        if self._begin is None:
            self._begin, self._waited = time.perf_counter(), 0.0
        else:
            self._steps += 1

    def figures(self) -> dict[str, float]:
        """Seconds a step, examples a second, share of the time spent waiting for input, GiB."""
        if not self._steps:
            return {}
        elapsed = time.perf_counter() - self._begin
        found = {
            "pace/step_seconds": elapsed / self._steps,
            "pace/examples_per_second": self._steps * self._batch_size / elapsed,
            "pace/input_share": self._waited / elapsed,
        }
        memory = jax.local_devices()[0].memory_stats() or {}
        if "peak_bytes_in_use" in memory:
            found["pace/device_gib"] = memory["peak_bytes_in_use"] / 2**30
        return found

    def words(self) -> str:
        """The figures for a progress bar."""
        found = self.figures()
        if not found:
            return ""
        words = (
            f"{1e3 * found['pace/step_seconds']:.0f} ms a step, "
            f"{found['pace/examples_per_second']:.0f} a second, "
            f"{found['pace/input_share']:.0%} waiting for input"
        )
        memory = found.get("pace/device_gib")
        return words if memory is None else f"{words}, {memory:.1f} GiB"


class Spent:
    """Where the seconds of one call of a training go, from now on.

    What is under none of the named heads is training: the steps themselves.
    """

    def __init__(self):
        self._begin, self._heads = time.perf_counter(), collections.Counter()

    @contextlib.contextmanager
    def on(self, head: str) -> Iterator[None]:
        """Around what is no step of training."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._heads[head] += time.perf_counter() - begin

    def seconds(self) -> dict[str, float]:
        """By head, `training` first; together all that has passed."""
        passed = time.perf_counter() - self._begin
        return {"training": passed - self._heads.total(), **self._heads}


def spent_in_words(seconds: dict[str, float]) -> str:
    """As "75 s: 90 % training, 8 % compiling, 2 % input"; under half a percent is left out."""
    whole = sum(seconds.values())
    parts = sorted(seconds.items(), key=lambda part: -part[1])
    shares = [f"{value / whole:.0%} {head}" for head, value in parts if value >= whole / 200]
    return f"{whole:.0f} s: {', '.join(shares)}".replace("%", " %")


class Trace:
    """Writes a trace of five early steps into `folder`, for TensorBoard or Perfetto.

    A context, at whose end a trace that still runs is written. Without a folder it does nothing.
    """

    def __init__(self, folder: Path | None):
        self._folder, self._step, self._running = folder, 0, False

    def step(self, wait_for: Callable[[], object]) -> None:
        """Before each step; `wait_for` blocks till the steps before are done."""
        if self._folder is not None and self._step in (_TRACED.start, _TRACED.stop):
            wait_for()
            self.__exit__()
        if self._folder is not None and self._step == _TRACED.start:
            options = jax.profiler.ProfileOptions()
            # Every call of a Python function would be written too: much, and slow to write.
            options.python_tracer_level = 0
            jax.profiler.start_trace(str(self._folder), profiler_options=options)
            self._running = True
        self._step += 1

    def __enter__(self) -> "Trace":
        return self

    def __exit__(self, *failure) -> None:
        if self._running:
            jax.profiler.stop_trace()
            self._running = False


@dataclasses.dataclass(frozen=True)
class Watching:
    """What a run writes beside its results; changes no number."""

    histograms: bool = False
    """Write the distribution of every parameter to TensorBoard after each epoch."""
    profile: Path | None = None
    """Folder for a trace of five early steps; TensorBoard and Perfetto show it."""


NOTHING_MORE = Watching()


@contextlib.contextmanager
def noting_sigterm() -> Iterator[Callable[[], bool]]:
    """Gives `asked()`: whether SIGTERM has come to this host.

    A preempted machine gets the signal some 30 seconds before it is gone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    noted = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda number, frame: noted.set())
    try:
        yield noted.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
