"""Every way in which a JSON file can be valid and yet not what its writer wrote."""

import copy
from collections.abc import Iterator
from typing import Any

WRONG = (["list"], {"an": "object"}, "a text", -1.5, True, None)
"""A value of every kind."""
MISSING = object()
"""Instead of a value: the key is left out."""


def spoilt(tree: Any) -> Iterator[tuple[tuple, Any, Any, Any]]:
    """Each key left out, each value of each other kind.

    Yields:
        The keys and indices that lead to the place, what was there, what is there now, the tree.
    """
    for path, was in _places(tree):
        is_key = bool(path) and isinstance(path[-1], str)
        for now in (*WRONG, MISSING) if is_key else WRONG:
            yield path, was, now, changed(tree, path, now)


def changed(tree: Any, path: tuple, value: Any) -> Any:
    """A copy of a tree with another value at one place."""
    if not path:
        return value
    result = copy.deepcopy(tree)
    parent = result
    for key in path[:-1]:
        parent = parent[key]
    if value is MISSING:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return result


def _places(tree: Any, path: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    """Every place in a tree and what is there; of a list the first only."""
    yield path, tree
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _places(value, (*path, key))
    elif isinstance(tree, list) and tree:
        yield from _places(tree[0], (*path, 0))
