"""What a run notes of itself: commands, versions, day and devices."""

import datetime
import json
import os
import platform
import re
import shlex
import sys
from importlib.metadata import version
from pathlib import Path

from msk_jax.files import write_json

COMMANDS_NAME = "commands.json"


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
