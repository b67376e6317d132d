"""Settings survive JSON; a hostile or damaged file makes nothing but whole dataclasses of ours."""

import json

import pytest

from msk_jax.config import from_json, to_json
from msk_jax.errors import UserError
from msk_jax.experiment import Experiment, Stage
from msk_jax.training.recipe import Recipe
from tests.spoil import spoilt


def test_whole_experiment_round_trip(tiny):
    for value in (tiny, tiny.stages[0], tiny.judging.evaluation):
        tree = json.loads(json.dumps(to_json(value)))
        assert from_json(tree, type(value), "here") == value


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "subprocess.Popen",
        "msk_jax.cli.main",
        "msk_jax.nowhere.X",
        "msk_jax.models.systems.ms25dnet.MS25DNet",
        "dataclasses.Field",
        7,
        ["msk_jax"],
    ],
)
def test_other_types_are_refused(name):
    with pytest.raises(UserError, match="that this version has"):
        from_json({"type": name, "args": "x"}, Stage, "here")


def test_importing_the_command_line_by_name_runs_nothing():
    with pytest.raises(UserError, match="that this version has"):
        from_json({"type": "msk_jax.__main__.Stage"}, Stage, "here")


def test_unknown_and_missing_fields_say_so(tiny):
    tree = to_json(tiny.stages[0].method.recipe)
    tree["no_such_field"] = 1
    with pytest.raises(UserError, match=r"in run/x\.json do not fit .*Recipe has no no_such_field"):
        from_json(tree, Recipe, "run/x.json")
    # The default is no answer: whoever wrote the file may have had another.
    del tree["no_such_field"], tree["seed"]
    with pytest.raises(UserError, match="Recipe lacks seed"):
        from_json(tree, Recipe, "here")


@pytest.mark.parametrize("tree", [[], {}, "Recipe", None, 3, to_json(Recipe())])
def test_something_else_than_what_is_due(tree):
    with pytest.raises(UserError, match=r"here do not fit .*there is no Stage"):
        from_json(tree, Stage, "here")


def _kind(value):
    return float if type(value) is int else type(value)


def test_no_spoilt_tree_becomes_what_the_annotations_do_not_allow(tiny):
    tree = json.loads(json.dumps(to_json(tiny)))
    refused = 0
    for path, was, now, damaged in spoilt(tree):
        try:
            from_json(damaged, Experiment, "here")
        except UserError as error:
            refused += 1
            assert str(error).startswith("The settings in here do not fit this version"), path
        else:
            # A field that may be none is as good with a value, and the other way round.
            same = _kind(was) is _kind(now) or None in (was, now)
            assert same or path[:1] == ("choices",), (path, now)
    assert refused > 1000
