"""Talking to the person at the terminal."""

import contextlib
import re
import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from msk_jax.data.sources.names import is_litter
from msk_jax.errors import UserError
from msk_jax.files import in_bucket
from msk_jax.study.listener import Listener

console = Console(highlight=False, soft_wrap=True)


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar with count and time left; gives `update(done, total, note)`."""
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=None, note="")

        def update(done: int, total: int, note: str = "") -> None:
            bar.update(task, completed=done, total=total, note=note)

        yield update


def say(text: str) -> None:
    """A line for the reader."""
    console.print(text, markup=False)


def say_columns(rows: Sequence[tuple[str, ...]]) -> None:
    """A table, its first row the heading, in columns as wide as they need to be."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        say("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())


def say_next(*words: str | Path) -> None:
    """The command that comes next, ready to copy."""
    command = shlex.join(["msk-jax", *map(str, words)])
    console.print("Next:", Text(command, style="bold"))


def check_new_folder(path: Path, flag: str) -> None:
    """Raises UserError where there is anything but an empty folder."""
    if path.exists() and (not path.is_dir() or not all(map(is_litter, path.iterdir()))):
        raise UserError(
            f"{path} is not an empty folder and nothing is written over. Give another {flag}."
        )


def check_no_address(path: Path, flag: str) -> None:
    """Raises UserError where an address was taken for a path, as of flags that take none."""
    if re.match(r"[a-z0-9]+:/", str(path)) and not in_bucket(path):
        raise UserError(
            f"{path} is the address of a bucket, and this is written to a folder only. Give one "
            f"with {flag}; copy or mount what you need."
        )


def writable_folder(path: Path, flag: str) -> Path:
    """`path` as a folder that exists and takes files.

    Raises:
        UserError: it is a file, cannot be made, or cannot be written to.
    """
    check_no_address(path, flag)
    try:
        path.mkdir(parents=True, exist_ok=True)
        if in_bucket(path):
            trial = path / "trial"
            trial.write_bytes(b"")
            trial.unlink()
            return path
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UserError(
            f"{path} cannot be written to ({error.strerror}). Give another folder with {flag}."
        ) from error
    return path


TERMINAL = Listener(say, progress_bar)
"""The person at the terminal, for what runs a study."""
