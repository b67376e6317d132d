"""Words that the product itself writes: field names of settings, words of pages and tables.

They are read from the source of the packages, so that no list of words has to be kept: what a run
writes without any patient is a literal or a name in it. Comments and docstrings do not count: the
fewer words, the fewer patients whose name is one.
"""

import ast
import functools
import importlib.metadata
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PIECE = 5
_PACKAGES = ("msk_jax", "experiments")
_WRITERS = ("orbax.checkpoint",)
"""Packages that write their own names into what a run leaves; those that they export."""

_MARKUP = re.compile(r"<[^>]*>|{[{%#].*?[}%#]}", re.DOTALL)


@dataclass(frozen=True)
class Vocabulary:
    """What stands in the source of the product."""

    values: frozenset[str]
    """Whole texts and names, as they are."""

    text: str
    """All of them, in lower case, a line each."""

    @functools.cached_property
    def _pieces(self) -> frozenset[str]:
        """All runs of `_PIECE` letters of the text: most of what is asked for begins with none."""
        return frozenset(self.text[k : k + _PIECE] for k in range(len(self.text)))

    def has_value(self, value: str) -> bool:
        """Whether the product may write exactly this as a value."""
        return value in self.values

    def has_word(self, word: str) -> bool:
        """Whether the product writes this as a word, in whatever case."""
        edges = r"(?<![^\W\d_]){}(?![^\W\d_])"
        return self.has(word) and bool(re.search(edges.format(re.escape(word.lower())), self.text))

    def has(self, text: str) -> bool:
        """Whether this occurs in what the product writes, also within a word, in whatever case."""
        text = text.lower()
        return (len(text) < _PIECE or text[:_PIECE] in self._pieces) and text in self.text


@functools.cache
def product_vocabulary() -> Vocabulary:
    """The vocabulary of this package, its experiments, and the names of what they are built on."""
    values = set(_dependencies())
    for package in _PACKAGES:
        found = importlib.util.find_spec(package)
        for root in (found and found.submodule_search_locations) or ():
            for file in sorted(Path(root).rglob("*.py")):
                values.update((file.stem, *_literals(ast.parse(file.read_bytes()))))
            for template in sorted(Path(root).rglob("*.j2")):
                pieces = _MARKUP.split(template.read_text(encoding="utf-8"))
                values.update(piece.strip() for piece in pieces)
    for package in _WRITERS:
        found = importlib.util.find_spec(package)
        if found and found.origin:
            values.update(_literals(ast.parse(Path(found.origin).read_bytes())))
    return Vocabulary(frozenset(values), "\n".join(sorted(values)).lower())


def _dependencies() -> Iterator[str]:
    try:
        required = importlib.metadata.requires("msk_jax") or ()
    except importlib.metadata.PackageNotFoundError:
        required = ()
    for line in required:
        yield re.split(r"[^A-Za-z0-9_.-]", line, maxsplit=1)[0]


def _literals(module: ast.Module) -> Iterator[str]:
    """Texts and names of a module, without its docstrings and those of attributes."""
    documentation = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Expr):
            documentation.add(id(node.value))
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str) and id(node) not in documentation:
                yield node.value
        else:
            for field in ("id", "attr", "arg", "name", "module"):
                name = getattr(node, field, None)
                if isinstance(name, str):
                    yield name
