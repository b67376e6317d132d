"""What the verbs share: talking to the person at the terminal, and noting what was run."""

import contextlib
import datetime
import json
import os
import platform
import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
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

from msk_jax.data.names import is_litter
from msk_jax.errors import UserError
from msk_jax.files import in_bucket, write_json

console = Console(highlight=False, soft_wrap=True)
COMMANDS_NAME = "commands.json"


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


def this_command() -> str:
    """The command line as it was typed, but for what may name a patient: what a server was asked,
    the source of the images, and the folders that a path goes through.

    Commands are noted beside shards and shown in reports.
    """
    words, before = [], ""
    for word in sys.argv[1:]:
        flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        is_source = before == "--dicom" or (flag == "--dicom" and bool(equals))
        words.append(f"{flag}{equals}{_harmless(value, is_source)}")
        before = word
    return shlex.join(["msk-jax", *words])


def _harmless(word: str, is_source: bool) -> str:
    if re.match(r"https?:/", word):
        return re.sub(r"\?.*", "?...", word)
    if is_source:
        return "..."
    # A pattern of parameters has the stroke of a path too.
    is_path = os.sep in word and (os.path.isabs(word) or os.path.exists(word))
    return Path(word).name if is_path else word


def read_commands(folder: Path) -> list[str]:
    """The commands noted in `folder`; none where there are none."""
    try:
        commands = json.loads((folder / COMMANDS_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [str(c) for c in commands] if isinstance(commands, list) else []


def note_command(folder: Path, before: list[str] = ()) -> None:
    """Add this command to those noted in `folder`, behind `before`, each once."""
    commands = [*before, *read_commands(folder), this_command()]
    unique = list(dict.fromkeys(commands))
    write_json(folder / COMMANDS_NAME, unique)


def versions() -> dict[str, str]:
    """What the numbers may depend on."""
    packages = ("msk_jax", "jax", "flax", "optax", "orbax-checkpoint", "tensorflow-datasets")
    packages += ("pydicom", "SimpleITK", "numpy", "scikit-learn")
    return {"python": platform.python_version(), **{p: version(p) for p in packages}}


def today() -> str:
    """Date and time, UTC, to the minute."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def hardware() -> str:
    """The devices in words."""
    import jax

    devices = jax.devices()
    return f"{len(devices)} x {devices[0].device_kind} ({os.cpu_count()} CPU cores)"


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
