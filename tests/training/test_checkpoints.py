"""Checkpoints come back whole, or say that they cannot."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msk_jax.errors import UserError
from msk_jax.training.checkpoints import Checkpoints

TREE = {"w": jnp.arange(6.0).reshape(2, 3), "key": jax.random.key(5), "step": jnp.int32(4)}


def _saved(folder, keep=2, steps=(1, 2, 3)):
    checkpoints = Checkpoints(folder, keep=keep)
    for step in steps:
        checkpoints.save(step, {**TREE, "step": jnp.int32(step)}, {"fold": 2, "at": step})
    checkpoints.close()
    return Checkpoints(folder, keep=keep)


def test_round_trip_and_keep(tmp_path):
    checkpoints = _saved(tmp_path / "c")
    assert checkpoints.latest() == 3
    assert sorted(p.name for p in (tmp_path / "c").iterdir() if p.name.isdigit()) == ["2", "3"]
    tree = checkpoints.restore(3, TREE)
    np.testing.assert_array_equal(tree["w"], TREE["w"])
    assert int(tree["step"]) == 3
    assert jax.random.key_data(tree["key"]).tolist() == jax.random.key_data(TREE["key"]).tolist()
    assert checkpoints.settings(3) == {"fold": 2, "at": 3}
    assert checkpoints.settings(2)["at"] == 2


def test_damaged_checkpoint_names_itself_and_the_way_out(tmp_path):
    checkpoints = _saved(tmp_path / "c")
    for file in (tmp_path / "c" / "3" / "state").rglob("*"):
        if file.is_file():
            file.write_bytes(b"half")
    with pytest.raises(UserError, match=r"c/3 cannot be read .*Delete that folder"):
        checkpoints.restore(3, TREE)
    np.testing.assert_array_equal(checkpoints.restore(2, TREE)["w"], TREE["w"])


def test_half_written_checkpoint_is_not_there(tmp_path):
    _saved(tmp_path / "c").close()
    # What a killed writer leaves behind: its temporary name.
    (tmp_path / "c" / "9.orbax-checkpoint-tmp").mkdir()
    assert Checkpoints(tmp_path / "c").latest() == 3


def test_another_network_is_refused(tmp_path):
    checkpoints = _saved(tmp_path / "c")
    with pytest.raises(UserError, match="other settings"):
        checkpoints.restore(3, {**TREE, "more": jnp.zeros(3)})


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="could not be written"):
        Checkpoints(tmp_path / "file" / "below").save(1, TREE, {})
