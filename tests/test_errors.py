"""What errors say, of all of them at once."""

import ast
import re

from tests.conftest import REPOSITORY

KEYWORD = re.compile(r"\b[a-z_]+=(?:'[a-z]|True\b|False\b|None\b)")
_COMMAND = re.compile(r"python -c '.*?'")
"""What can be typed as it stands."""


def _sentences(source: str) -> list[str]:
    """Strings of a module that are no docstrings, with `{}` where something is filled in."""
    tree = ast.parse(source)
    doc = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inside = {id(part) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for part in n.values}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [getattr(part, "value", "{}") for part in node.values]
            found.append("".join(part if isinstance(part, str) else "{}" for part in parts))
        elif isinstance(getattr(node, "value", None), str) and id(node) not in doc | inside:
            found.append(node.value)
    return found


def test_advice_names_flags_and_no_keywords():
    """Errors of the library reach the command line, where nobody can write `random='cases'`."""
    assert KEYWORD.search("take random='cases'") and KEYWORD.search("with auxiliary=False.")
    advice = [
        (path.name, sentence)
        for path in (REPOSITORY / "msk_jax").rglob("*.py")
        for sentence in _sentences(path.read_text(encoding="utf-8"))
        if KEYWORD.search(_COMMAND.sub("", sentence))
    ]
    assert not advice
