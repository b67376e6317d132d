"""`docs/reference/` says what the code says."""

import dataclasses
import re

import pytest

from docs.generate import REFERENCE, fields, pages
from msk_jax.cli import main
from msk_jax.experiment import Experiment
from msk_jax.flags import plain, study
from msk_jax.training.recipe import Recipe


def test_reference_is_what_the_code_says():
    made = pages()
    assert {path.name for path in REFERENCE.glob("*.md")} == set(made)
    for name, text in made.items():
        stored = (REFERENCE / name).read_text(encoding="utf-8")
        assert stored == text, f"{name}: run `python -m docs.generate`"


def test_every_setting_is_explained():
    """Of an experiment and its recipe, as both are written by people."""
    for cls in (Experiment, Recipe):
        listed = {field.name: field for field in fields(cls)}
        assert list(listed) == [field.name for field in dataclasses.fields(cls)]
    recipe = {field.name: field for field in fields(Recipe)}
    assert (recipe["epochs"].type, recipe["epochs"].default) == ("int", "100")
    assert recipe["epochs"].meaning == "Passes over the training data."
    assert recipe["augmentation"].default == "Augmentation()"
    assert {field.name for field in fields(Experiment) if field.default is None} == {
        "name",
        "cohort",
        "stages",
    }


@pytest.mark.parametrize("verb", [*study.VERBS, *plain.VERBS])
def test_flags_are_those_of_the_command_line(verb, capsys):
    """What the page calls a flag `--help` knows, and the other way round."""
    page = pages()["verbs.md"]
    section = re.split(rf"^## msk-jax {verb}(?: EXPERIMENT)?$", page, flags=re.MULTILINE)[1]
    listed = set(re.findall(r"^\| `(--[a-z-]+)`", section.partition("\n## ")[0], re.MULTILINE))
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    printed = capsys.readouterr().out
    known = set(re.findall(r"^[^\w\n-]*(--[a-z][a-z-]+)", printed, re.MULTILINE))
    # Of no experiment whose help is shown: phases, which only some have.
    assert listed - known <= {"--before"}
    if "And as flags" not in section.partition("\n## ")[0]:
        assert known - listed <= {"--help"}
