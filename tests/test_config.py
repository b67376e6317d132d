"""Settings survive JSON; a hostile file makes nothing but our own dataclasses."""

import json

import pytest

from msk_jax.config import from_json, to_json
from msk_jax.errors import UserError


def test_whole_experiment_round_trip(tiny):
    for value in (tiny, tiny.stage, tiny.evaluation):
        assert from_json(json.loads(json.dumps(to_json(value)))) == value


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "subprocess.Popen",
        "msk_jax.cli.main",
        "msk_jax.nowhere.X",
        "dataclasses.Field",
        7,
    ],
)
def test_other_types_are_refused(name):
    with pytest.raises(UserError, match="which this version"):
        from_json({"type": name, "args": "x"})


def test_unknown_field_says_so(tiny):
    tree = to_json(tiny.stage.recipe)
    tree["no_such_field"] = 1
    with pytest.raises(UserError, match="do not fit this version"):
        from_json(tree)
