"""Typed settings to JSON and back, so that a checkpoint can carry its whole experiment.

Only dataclasses of this package are ever made from JSON: a checkpoint from elsewhere can name a
type, but not run code.
"""

import dataclasses
import importlib
import math
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


def from_json(tree: Any, kind: type, where: str | Path) -> Any:
    """The inverse of `to_json`.

    Args:
        tree: what `to_json` made, by way of a file.
        kind: the dataclass that it must be.
        where: what to call the file in an error.

    Raises:
        UserError: a type is not one of this package's, or fields are missing, unknown or of
            another type, as in settings that another version wrote.
    """
    value = _decode(tree, where)
    if not isinstance(value, kind):
        raise _unfit(where, f"there is no {kind.__name__}")
    return value


def _decode(tree: Any, where: str | Path) -> Any:
    if isinstance(tree, list):
        return tuple(_decode(v, where) for v in tree)
    if not isinstance(tree, dict):
        return tree
    if "type" not in tree:
        return {k: _decode(v, where) for k, v in tree.items()}
    cls = _dataclass(tree["type"], where)
    hints = typing.get_type_hints(cls)
    given = {k: v for k, v in tree.items() if k != "type"}
    # A field that is missing is no default: nobody knows what the writer had.
    names = {field.name for field in dataclasses.fields(cls)}
    for what, fields in (("lacks", names - set(given)), ("has no", set(given) - names)):
        if fields:
            raise _unfit(where, f"{cls.__name__} {what} {', '.join(sorted(fields))}")
    values = {k: _cast(hints[k], _decode(v, where)) for k, v in given.items()}
    for name, value in values.items():
        if not fits(hints[name], value):
            raise _unfit(where, f"{cls.__name__}.{name} is {str(value)[:40]!r}")
    try:
        return cls(**values)
    except UserError as error:
        raise _unfit(where, str(error).rstrip(".")) from None


def _cast(hint: Any, value: Any) -> Any:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return Path(value) if Path in options and isinstance(value, str) else value


def fits(hint: Any, value: Any) -> bool:
    """Whether a value decoded from JSON is what an annotation says."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return any(fits(one, value) for one in inner)
    if origin is typing.Literal:
        return value in inner
    if origin is tuple:
        each = (
            inner[:1] * len(value) if inner[-1] is Ellipsis and isinstance(value, tuple) else inner
        )
        return isinstance(value, tuple) and len(each) == len(value) and all(map(fits, each, value))
    if origin is not None:  # Mapping[str, X]
        return isinstance(value, origin) and all(fits(inner[-1], v) for v in value.values())
    if hint in (int, float):
        number = int if hint is int else int | float
        return isinstance(value, number) and not isinstance(value, bool)
    return hint is Any or isinstance(value, hint)


def _unfit(where: str | Path, fault: str) -> UserError:
    return UserError(
        f"The settings in {where} do not fit this version of msk_jax ({fault}). Use the version "
        "that wrote them, or make them anew."
    )


def _dataclass(name: Any, where: str | Path) -> type:
    module, _, cls = str(name).rpartition(".")
    found = None
    if module.split(".")[0] == "msk_jax":
        try:
            found = getattr(importlib.import_module(module), cls, None)
        except ImportError:
            found = None
    # Settings are frozen; what is not may do something when it is made.
    params = getattr(found, "__dataclass_params__", None) if isinstance(found, type) else None
    if params is None or not params.frozen:
        raise _unfit(where, f"{str(name)[:80]!r} is no type that this version has")
    return found
