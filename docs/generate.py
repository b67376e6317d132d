"""Writes `docs/reference/` from the code: `python -m docs.generate`.

Everything is read from the source as it stands there, so that a page depends on no terminal, no
version of a library and no machine.
"""

import ast
import contextlib
import dataclasses
import functools
import inspect
import io
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from types import UnionType

from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.feed.augment import Augmentation, Preprocess
from msk_jax.data.fields import AnyRegion, Classes, Image, MeasuredLabel, Number, Word
from msk_jax.data.quality.grading import QualityLimits
from msk_jax.evaluation.mrmc.settings import MrmcSettings, ReaderGroup, ReaderModel
from msk_jax.evaluation.settings import EvaluationSettings, ModelSettings
from msk_jax.experiment import Experiment, Judging, Paper, Published, Signs, Split, Stage
from msk_jax.flags import plain, study
from msk_jax.methods.network import Network
from msk_jax.models import NetworkConfig
from msk_jax.models.listing import LISTED
from msk_jax.phantoms import AnyPhantom
from msk_jax.tasks.settings import Classification
from msk_jax.training.recipe import Phase, Recipe

DOCS = Path(__file__).resolve().parent
REFERENCE = DOCS / "reference"
_NOTE = "<!-- written by `python -m docs.generate`, not by hand -->"

_SETTINGS = {
    "A study": (Experiment, Paper, Published, Stage, Split, Judging, Signs),
    "A cohort": (Cohort, Classes, Image, Number, Word, MeasuredLabel, QualityLimits),
    "Regions": typing.get_args(AnyRegion),
    "Tasks": (Classification,),
    "Methods": (Network,),
    "Networks": typing.get_args(NetworkConfig),
    "Training": (Preprocess, Recipe, Augmentation, Phase),
    "Evaluation": (EvaluationSettings, ReaderModel, ReaderGroup),
    "Statistics of tables": (ModelSettings, MrmcSettings),
    "Phantoms": typing.get_args(AnyPhantom),
}


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of a dataclass, as its source has it."""

    name: str
    type: str
    default: str | None
    """None where a value must be given."""
    meaning: str


def pages() -> dict[str, str]:
    """The text of each page, by the name of its file."""
    return {
        "verbs.md": _verbs(),
        "settings.md": _settings(),
        "experiments.md": _page("Experiments", _printed(plain.Experiments(markdown=True).run)),
        "networks.md": _networks(),
        "modules.md": _modules(),
    }


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", _NOTE, *(part.strip("\n") for part in parts)]) + "\n"


def _printed(run) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        run()
    return printed.getvalue()


def _row(*cells: str) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join([_row(*header), "|---" * len(header) + "|", *(_row(*row) for row in rows)])


def fields(cls: type) -> list[Field]:
    """The fields of a dataclass with what stands below each."""
    read: dict[str, Field] = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            read |= {field.name: field for field in _stated(base)}
    return [read[field.name] for field in dataclasses.fields(cls)]


@functools.cache
def _stated(cls: type) -> tuple[Field, ...]:
    """The fields that the body of a class states itself."""
    source = inspect.getsource(cls)
    body = ast.parse(source).body[0].body
    stated = []
    for statement, below in zip(body, [*body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        documented = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        meaning = inspect.cleandoc(below.value.value) if documented else ""
        kind = ast.get_source_segment(source, statement.annotation)
        if kind.startswith("ClassVar"):
            continue
        value = _default(source, statement.value)
        stated.append(Field(statement.target.id, kind, value, meaning))
    return tuple(stated)


def _default(source: str, value: ast.expr | None) -> str | None:
    if value is None:
        return None
    if isinstance(value, ast.Call):
        for keyword in value.keywords:
            if keyword.arg == "default_factory":
                return f"{ast.get_source_segment(source, keyword.value)}()"
            if keyword.arg == "default":
                return ast.get_source_segment(source, keyword.value)
    return ast.get_source_segment(source, value)


def _flag_types(cls: type) -> dict[str, tuple[type, ...]]:
    """Fields whose own fields are flags -> of which classes."""
    found = {}
    for name, hint in typing.get_type_hints(cls).items():
        classes = typing.get_args(hint) if isinstance(hint, UnionType) else (hint,)
        settings = tuple(kind for kind in classes if dataclasses.is_dataclass(kind))
        if settings:
            found[name] = settings
    return found


def _verbs() -> str:
    parts = [
        "`msk-jax VERB [EXPERIMENT] [flags]`. Where the fields of settings are flags, their "
        "defaults are the experiment's, which `msk-jax VERB EXPERIMENT --help` shows. A flag that "
        "is yes or no has a `--no-` form too; `None` is nothing unless given."
    ]
    for verb, cls in study.VERBS.items():
        parts += _verb(f"msk-jax {verb} EXPERIMENT", cls)
    for (verb, flag), cls in plain.BY_FLAG.items():
        parts += _verb(f"msk-jax {verb} {flag} FILE", cls)
    for verb, cls in plain.VERBS.items():
        parts += _verb(f"msk-jax {verb}", cls)
    return _page("Verbs and their flags", *parts)


def _verb(title: str, cls: type) -> list[str]:
    nested = _flag_types(cls)
    rows, more = [], []
    for field in fields(cls):
        if field.name in nested:
            links = [f"[{kind.__name__}]({_anchor(kind)})" for kind in nested[field.name]]
            more.append(f"the fields of {' or '.join(links)}")
            continue
        if "Positional" in field.type:
            name = field.name.upper()
        else:
            name = "--" + field.name.replace("_", "-")
        default = "required" if field.default is None else f"`{field.default}`"
        rows.append((f"`{name}`", field.meaning, default))
    parts = [f"## {title}", inspect.cleandoc(cls.__doc__)]
    if rows:
        parts.append(_table(("flag", "meaning", "default"), rows))
    if more:
        parts.append(f"And as flags {'; '.join(more)}.")
    return parts


def _anchor(cls: type) -> str:
    return f"settings.md#{cls.__name__.lower()}"


def _settings() -> str:
    parts = [
        "What a study file may state. A field without a default must be given. On the command "
        "line `num_slices` is `--num-slices`."
    ]
    for title, classes in _SETTINGS.items():
        parts.append(f"## {title}")
        for cls in classes:
            rows = [
                (
                    f"`{f.name}`",
                    f"`{f.type}`",
                    "" if f.default is None else f"`{f.default}`",
                    f.meaning,
                )
                for f in fields(cls)
            ]
            parts += [
                f"### {cls.__name__}",
                f"`{cls.__module__}.{cls.__name__}`: " + _first_line(cls.__doc__),
            ]
            parts.append(_table(("field", "type", "default", "meaning"), rows))
    return _page("Settings", *parts)


def _networks() -> str:
    rows = [
        (
            f"`{name}`",
            f"{listed.parameters:,}",
            " x ".join(map(str, listed.size)),
            f"`{listed.reference}`",
        )
        for name, listed in sorted(LISTED.items())
    ]
    table = _table(("name", "parameters", "input", "equal to"), rows)
    return _page("Networks", "`msk_jax.models.create(NAME)` makes one.", table)


def _modules() -> str:
    parts = ["Modules by package, each with the first sentence of its docstring."]
    by_package: dict[str, list[tuple[str, str]]] = {}
    for name, text in _public_modules():
        by_package.setdefault(name.rpartition(".")[0], []).append((f"`{name}`", text))
    for package, rows in by_package.items():
        parts += [f"## {package}", _table(("module", ""), rows)]
    return _page("Modules", *parts)


def _public_modules() -> Iterator[tuple[str, str]]:
    """Dotted name and first sentence, in order of packages."""
    root = DOCS.parent
    files = sorted((root / "msk_jax").rglob("*.py"), key=lambda path: (path.parent, path))
    for path in files:
        parts = path.relative_to(root).with_suffix("").parts
        if any(part.startswith("_") for part in parts):
            continue
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        yield ".".join(parts), _first_line(text)


def _first_line(docstring: str | None) -> str:
    """The first paragraph, on one line."""
    paragraph = re.split(r"\n\s*\n", inspect.cleandoc(docstring or ""))[0]
    return " ".join(paragraph.split())


def main() -> None:
    """Write all pages, and take away those that are no longer made."""
    REFERENCE.mkdir(exist_ok=True)
    made = pages()
    for path in REFERENCE.glob("*.md"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (REFERENCE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
