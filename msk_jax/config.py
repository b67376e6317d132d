"""Typed settings to JSON and back, so that a checkpoint can carry its whole experiment.

Only dataclasses of this package are ever made from JSON: a checkpoint from elsewhere can name a
type, but not run code.
"""

import dataclasses
import importlib
import json
import math
import os
import types
import typing
from pathlib import Path
from typing import Any

from msk_jax.errors import UserError


def check_limits(settings: Any, **limits: tuple[float, float]) -> None:
    """Refuse settings outside their limits (both included); None is let through.

    Raises:
        UserError: names every field, what it is and what it may be.
    """
    faults = []
    for name, (low, high) in limits.items():
        value = getattr(settings, name)
        if value is not None and not low <= value <= high:
            top = "upwards" if high == math.inf else f"to {high:g}"
            faults.append(f"--{name.replace('_', '-')} is {value:g}; it may be from {low:g} {top}.")
    if faults:
        raise UserError(" ".join(faults))


def to_json(value: Any) -> Any:
    """A JSON-able tree; each dataclass carries its type's name under `"type"`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        cls = type(value)
        fields = {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": f"{cls.__module__}.{cls.__qualname__}", **fields}
    if isinstance(value, dict):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def from_json(tree: Any) -> Any:
    """The inverse of `to_json`.

    Raises:
        UserError: a type is not one of this package's, or its fields do not fit this version.
    """
    if isinstance(tree, list):
        return tuple(from_json(v) for v in tree)
    if not isinstance(tree, dict):
        return tree
    if "type" not in tree:
        return {k: from_json(v) for k, v in tree.items()}
    cls = _dataclass(tree["type"])
    hints = typing.get_type_hints(cls)
    values = {k: _cast(hints.get(k), from_json(v)) for k, v in tree.items() if k != "type"}
    try:
        return cls(**values)
    except TypeError as error:
        raise UserError(
            f"The saved settings do not fit this version of msk_jax ({tree['type']}: {error}). "
            "Use the version that wrote them."
        ) from error


def _cast(hint: Any, value: Any) -> Any:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return Path(value) if Path in options and value is not None else value


def _dataclass(name: Any) -> type:
    module, _, cls = str(name).rpartition(".")
    found = None
    if module.split(".")[0] == "msk_jax":
        try:
            found = getattr(importlib.import_module(module), cls, None)
        except ImportError:
            found = None
    if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
        raise UserError(
            f"The saved settings name {name!r}, which this version of msk_jax does not have."
        )
    return found


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader finds the old file or the new one, never half of one."""
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")
    os.replace(temporary, path)
