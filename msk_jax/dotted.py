"""Settings changed by dotted paths: one language for small systems and for ablations."""

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from msk_jax.config import fits
from msk_jax.errors import UserError


def changed(settings: Any, changes: Mapping[str, Any]) -> Any:
    """The settings with the values at these paths in place of their own.

    A part of a path is the name of a field, or the name of one of several things that have names
    (stages, fields of a cohort), else its number. What a class lists as `by_name` a path leaves
    out: `classify.recipe.epochs` is the recipe of the method of the stage `classify`.

    >>> from msk_jax.data.feed.augment import Augmentation
    >>> from msk_jax.training.recipe import Recipe
    >>> shorter = changed(Recipe(), {"epochs": 22, "augmentation.flip": 0.5})
    >>> shorter.epochs, shorter.augmentation.flip
    (22, 0.5)

    Args:
        settings: a frozen dataclass, which stays as it is.
        changes: path -> value; what lies at a path changes before what lies below it.

    Raises:
        UserError: a path that is none (the nearest is shown), or a value of another type than what
            is there.
    """
    for path in sorted(changes, key=lambda path: path.count(".")):
        settings = _with(settings, path.split("."), changes[path], path, settings)
    return settings


def paths(settings: Any, before: str = "") -> Iterator[str]:
    """Every path that can be changed, those of groups too."""
    through = _through(settings)
    for name, value in _parts(settings).items():
        if name not in through:
            yield f"{before}{name}"
            yield from paths(value, f"{before}{name}.")
    for name in through:
        yield from paths(getattr(settings, name), before)


def _through(node: Any) -> tuple[str, ...]:
    """The fields of a node that are looked into for a name that is none of its own."""
    return getattr(type(node), "by_name", ())


def _parts(node: Any) -> dict[str, Any]:
    """What a node is made of, by the parts of paths."""
    if dataclasses.is_dataclass(node):
        names = (field.name for field in dataclasses.fields(node))
        return {name: getattr(node, name) for name in names}
    if isinstance(node, tuple) and any(map(dataclasses.is_dataclass, node)):
        return {str(getattr(entry, "name", k)): entry for k, entry in enumerate(node)}
    return {}


def _with(node: Any, parts: list[str], value: Any, path: str, whole: Any) -> Any:
    name, *below = parts
    inside = _parts(node)
    if name not in inside:
        return _with_below(node, parts, value, path, whole)
    if below:
        value = _with(inside[name], below, value, path, whole)
    if isinstance(node, tuple):
        place = list(inside).index(name)
        return tuple(value if k == place else entry for k, entry in enumerate(node))
    hint = typing.get_type_hints(type(node))[name]
    if not fits(hint, value):
        raise UserError(
            f"The setting {path!r} cannot be {value!r}: it is {_in_words(hint)}, as "
            f"{inside[name]!r}."
        )
    return dataclasses.replace(node, **{name: value})


def _with_below(node: Any, parts: list[str], value: Any, path: str, whole: Any) -> Any:
    """With the value at a path that begins in a field which the path leaves out."""
    for through in _through(node):
        child = getattr(node, through)
        known = {way.partition(".")[0] for way in paths(child)}
        if parts[0] in known:
            made = _with(child, parts, value, path, whole)
            return dataclasses.replace(node, **{through: made})
    raise UserError(f"There is no setting {path!r}.{_meant(path, whole)}")


def _meant(path: str, whole: Any) -> str:
    """The paths that may have been meant: those that end alike, else the nearest."""
    known = list(paths(whole))
    last = path.rpartition(".")[2]
    alike = [other for other in known if other.rpartition(".")[2] == last]
    near = alike[:3] or get_close_matches(path, known, n=1)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def _in_words(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
