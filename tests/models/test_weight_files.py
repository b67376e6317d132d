"""Weight files: what they hold, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from msk_jax.errors import UserError
from msk_jax.models.weight_files import read_state_dict


def test_weight_files(tmp_path):
    from safetensors.numpy import save_file

    state = {"conv1.weight": np.ones((2, 3), np.float32)}
    save_file(state, tmp_path / "w.safetensors")
    np.testing.assert_array_equal(
        read_state_dict(tmp_path / "w.safetensors")["conv1.weight"], state["conv1.weight"]
    )
    (tmp_path / "broken.safetensors").write_bytes(b"not a weight file")
    for name, words in (
        ("absent.pth", "no weight file"),
        ("broken.safetensors", "cannot be read as safetensors"),
        ("tests.txt", "neither .safetensors nor .pth"),
    ):
        if name.endswith("txt"):
            (tmp_path / name).touch()
        with pytest.raises(UserError, match=words):
            read_state_dict(tmp_path / name)


class _Hostile:
    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")


def test_code_in_a_pickle_is_not_executed(tmp_path, torch):
    trace = tmp_path / "executed"
    torch.save({"conv1.weight": _Hostile(trace)}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="nothing in it was executed"):
        read_state_dict(tmp_path / "evil.pth")
    assert not trace.exists()
    # The file is what it says: who trusts it, runs it.
    torch.load(tmp_path / "evil.pth", weights_only=False)
    assert trace.exists()


def test_a_pickle_that_is_no_state_dict_is_refused(tmp_path, torch):
    torch.save({"a": torch.ones(2)}, tmp_path / "w.pth")
    np.testing.assert_array_equal(read_state_dict(tmp_path / "w.pth")["a"], [1, 1])
    for content, words in (
        ({0: torch.ones(2)}, "of int -> Tensor"),
        ({"epoch": 3, "state_dict": {"a": torch.ones(2)}}, "str -> dict, str -> int"),
        ([torch.ones(2)], "but a list"),
    ):
        torch.save(content, tmp_path / "w.pth")
        with pytest.raises(UserError, match=f"not a plain PyTorch state dict.*{words}"):
            read_state_dict(tmp_path / "w.pth")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_half_precision_is_read_as_single(tmp_path, torch, suffix):
    values = torch.tensor([1.5, -3.0, 1e-3])
    for kind in (torch.bfloat16, torch.float16):
        state, path = {"a": values.to(kind), "n": torch.tensor([2])}, tmp_path / f"w{suffix}"
        if suffix == ".pth":
            torch.save(state, path)
        else:
            from safetensors.torch import save_file

            save_file(state, path)
        read = read_state_dict(path)
        assert read["a"].dtype == np.float32 and read["n"].dtype == np.int64
        np.testing.assert_array_equal(read["a"], values.to(kind).float().numpy())
