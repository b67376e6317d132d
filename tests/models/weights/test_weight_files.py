"""Weight files: what they hold, and what is refused."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from msk_jax.errors import UserError
from msk_jax.models.weights.weight_files import read_state_dict, write_state_dict


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


@pytest.mark.parametrize("kind", ["safetensors", "pth"])
def test_nan_and_infinity_are_refused_by_name(tmp_path, kind):
    path = tmp_path / f"w.{kind}"
    if kind == "pth":
        pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")
    bad = {
        "conv1.weight": np.array([1.0, np.nan, np.nan], np.float32),
        "fc.bias": np.array([np.inf, 0.0]),
        "fc.weight": np.ones(3, np.float32),
        "relative_position_index": np.array([-np.inf]),  # a table, not a weight
        "num_batches_tracked": np.array(3),
    }
    write_state_dict(path, bad)
    with pytest.raises(UserError) as error:
        read_state_dict(path)
    assert str(path) in str(error.value) and "NaN or infinity" in str(error.value)
    assert str(error.value).splitlines()[1:] == ["  conv1.weight: 2 of 3", "  fc.bias: 1 of 2"]
    write_state_dict(path, {"fc.bias": np.array([1e38], np.float32)})
    assert read_state_dict(path)["fc.bias"] == np.float32(1e38)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("w.pth", b"", "is empty"),
        ("w.safetensors", b"version https://git-lfs.github.com/spec/v1\noid", "Run `git lfs pull`"),
        ("w.pth", b"\n<!DOCTYPE html><html>Not found", "is a web page"),
        ("w.pth", b"PK\x03\x04" + bytes(200), "is damaged or ends too early .*Download it again"),
        ("w.bin", b"no weights at all", "neither .safetensors nor .pth"),
        ("w-00002-of-00003.safetensors", b"", "one of 3 files .*, w.safetensors.index.json, with"),
    ],
)
def test_what_came_in_place_of_weights_is_named(tmp_path, name, content, words):
    if content.startswith(b"PK"):
        pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_state_dict(tmp_path / name)


def test_a_file_is_what_its_first_bytes_say(tmp_path, torch):
    torch.save({"a": torch.ones(2)}, tmp_path / "w.pth")
    write_state_dict(tmp_path / "w.safetensors", {"a": np.ones(2)})
    for written in ("w.pth", "w.safetensors"):
        content = (tmp_path / written).read_bytes()
        for name in ("W.PTH", "model.ckpt", "pytorch_model.bin", "w.pth.tar", "w"):
            (tmp_path / name).write_bytes(content)
            np.testing.assert_array_equal(read_state_dict(tmp_path / name)["a"], [1, 1])


def test_a_model_in_several_files(tmp_path):
    names = {"a": "m-00001-of-00002.safetensors", "b": "m-00002-of-00002.safetensors"}
    for number, (tensor, name) in enumerate(names.items()):
        write_state_dict(tmp_path / name, {tensor: np.array([number])})
    index = tmp_path / "m.safetensors.index.json"

    def give(**weight_map: str) -> dict:
        index.write_text(json.dumps({"weight_map": weight_map}))
        return read_state_dict(index)

    state = give(**names)
    assert state.keys() == {"a", "b"} and state["b"] == [1]
    with pytest.raises(UserError, match=r"m-3\.safetensors, which does not lie beside it"):
        give(**names, c="m-3.safetensors")
    with pytest.raises(UserError, match="does not lie beside it"):
        give(a="../w.safetensors")
    with pytest.raises(UserError, match=r"in none of its files: \['c'\]"):
        give(**names, c=names["a"])
    index.write_text("{}")
    with pytest.raises(UserError, match="damaged: it lacks weight_map"):
        read_state_dict(index)


def test_the_state_dict_within_a_checkpoint_can_be_taken_out(tmp_path, torch, monkeypatch):
    checkpoint = {"epoch": 3, "model": {"a": torch.ones(2)}, "optimizer": {"lr": 0.1}}
    torch.save(checkpoint, tmp_path / "last.ckpt")
    with pytest.raises(UserError, match="The tensors are in its entry 'model'") as error:
        read_state_dict(tmp_path / "last.ckpt")
    command = str(error.value).partition("python -c '")[2].removesuffix("'.")
    monkeypatch.chdir(tmp_path)
    exec(command)
    np.testing.assert_array_equal(read_state_dict(tmp_path / "weights.pth")["a"], [1, 1])


def test_programs_and_tensors_of_another_kind(tmp_path, torch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, and its files are about
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "w.pt")
    with pytest.raises(UserError, match="is a TorchScript program"):
        read_state_dict(tmp_path / "w.pt")
    torch.save({"a": torch.eye(3).to_sparse()}, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"holds a in a form .*sparse"):
        read_state_dict(tmp_path / "w.pt")
