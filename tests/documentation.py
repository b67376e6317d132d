"""The commands and Python examples of a Markdown page, in the order in which they stand there."""

import ast
import dataclasses
import re
import shlex
from pathlib import Path
from typing import Literal

_COMMAND = re.compile(
    r"(\w+=\S+ )*(\S*/)?(msk-jax|make|python3?|pip|export|cd|cp|mv|mkdir|ls|cat|curl|docker|gcloud|"
    r"srun|sbatch|tensorboard)( |$)"
)
_SHELLS = ("bash", "sh", "shell", "console")


@dataclasses.dataclass(frozen=True)
class Example:
    """One command or one Python example."""

    kind: Literal["command", "python"]
    text: str
    """A command without its comment, on one line; or a program."""
    line: int
    """Where it begins."""
    is_inline: bool = False
    """Whether it stands within a sentence."""

    @property
    def is_template(self) -> bool:
        """Whether words are left for the reader to fill in, as `msk-jax VERB ...`."""
        return self.kind == "command" and bool(
            re.search(r"(?<!\S)(\.\.\.|[A-Z]{2,}\b|\[)", self.text)
        )


def examples(page: Path) -> list[Example]:
    """All of a page, by line.

    Blocks are fenced by ``` or indented by four spaces; of those without a language a block of
    commands begins with a program that is known here, and Python is what can be parsed and
    imports or assigns something. Commands within sentences are those that begin with `msk-jax`.

    Raises:
        ValueError: a block of a shell's language begins with none of the known programs.
    """
    lines = page.read_text(encoding="utf-8").splitlines()
    collected, prose = [], list(lines)
    for first, last, language in _blocks(lines):
        block = [
            line[4:] if not language and line[:4] == "    " else line for line in lines[first:last]
        ]
        prose[first:last] = [""] * (last - first)
        collected += _of_block(block, first + 1, language, page)
    text = "\n".join(prose)
    for match in re.finditer(r"`(msk-jax\s[^`]+)`", text):
        line = text.count("\n", 0, match.start()) + 1
        collected.append(Example("command", " ".join(match[1].split()), line, is_inline=True))
    return sorted(collected, key=lambda example: example.line)


def _blocks(lines: list[str]) -> list[tuple[int, int, str]]:
    """First line, line behind the last, and language; "" where it is indented."""
    blocks, number = [], 0
    while number < len(lines):
        fence = re.match(r"```(\w*)", lines[number])
        if fence:
            end = next(k for k in range(number + 1, len(lines)) if lines[k].startswith("```"))
            blocks.append((number + 1, end, fence[1] or "text"))
            number = end + 1
        elif lines[number].startswith("    ") and (number == 0 or not lines[number - 1].strip()):
            end = number
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            while not lines[end - 1].strip():
                end -= 1
            blocks.append((number, end, ""))
            number = end
        else:
            number += 1
    return blocks


def _of_block(block: list[str], line: int, language: str, page: Path) -> list[Example]:
    text = "\n".join(block)
    is_shell = language in _SHELLS
    words = [re.sub(r"^\$ ", "", one).strip() for one in block]
    if is_shell or (language in ("", "text") and any(map(_COMMAND.match, words))):
        return _commands(words, line, page)
    if language in ("python", "py") or (language == "" and _is_program(text)):
        return [Example("python", text + "\n", line)]
    return []


def _commands(words: list[str], line: int, page: Path) -> list[Example]:
    commands, number = [], 0
    while number < len(words):
        first, command = number, words[number]
        while command.endswith("\\"):
            number += 1
            command = f"{command[:-1].strip()} {words[number]}"
        number += 1
        command = _without_comment(command)
        if command and not _COMMAND.match(command):
            raise ValueError(f"{page.name}, line {line + first}: no known program in {command!r}")
        if command:
            commands.append(Example("command", command, line + first))
    return commands


def _without_comment(command: str) -> str:
    lexer = shlex.shlex(command, posix=False, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = "#"
    return " ".join(lexer)


def _is_program(text: str) -> bool:
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return False
    kinds = (ast.Import, ast.ImportFrom, ast.Assign)
    return any(isinstance(statement, kinds) for statement in tree.body)
