"""`models`, `convert` and `parity` as a user calls them."""

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from msk_jax.cli import main
from msk_jax.models import MODELS, create
from msk_jax.models.weights.torch_weights import dump_torch
from tests.conftest import REPOSITORY
from tests.filled import filled


def _fails(capsys, *args) -> str:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in args])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("msk-jax:") == 1 and "Traceback" not in error
    return error


@pytest.fixture(scope="module")
def state():
    """A ResNet-18 state dict with three classes, made without torch."""
    made = dump_torch(filled(create("resnet18", num_classes=3), 1, 64, 64, 3))
    made["bn1.num_batches_tracked"] = np.array(417)
    return made


def test_models_lists_every_network(capsys):
    main(["models"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(MODELS) + 1
    assert any(
        line.split() == ["resnet50", "25,557,032", "224x224", "torchvision.models.resnet50"]
        for line in lines
    )


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_there_and_back_is_bit_equal(tmp_path, state, suffix, need):
    save_file(state, tmp_path / "in.safetensors")
    source = tmp_path / "in.safetensors"
    if suffix == ".pth":
        need("torch")
        import torch

        source = tmp_path / "in.pth"
        torch.save({name: torch.tensor(value) for name, value in state.items()}, source)
    out = tmp_path / f"back{suffix}"
    main(
        [
            "convert",
            "torch-to-flax",
            str(source),
            "--model",
            "resnet18",
            "--out",
            str(tmp_path / "flax"),
        ]
    )
    main(["convert", "flax-to-torch", str(tmp_path / "flax"), "--out", str(out)])
    if suffix == ".pth":
        back = {k: v.numpy() for k, v in torch.load(out, weights_only=True).items()}
    else:
        back = load_file(out)
    assert set(back) == set(state)
    for name, tensor in state.items():
        assert back[name].dtype == tensor.dtype, name
        np.testing.assert_array_equal(back[name], tensor, err_msg=name)


def test_another_head_and_another_stem(tmp_path, state, capsys):
    from msk_jax.verbs.convert import load

    save_file(state, tmp_path / "in.safetensors")
    main(
        [
            "convert",
            "torch-to-flax",
            str(tmp_path / "in.safetensors"),
            "--model",
            "resnet18",
            "--out",
            str(tmp_path / "flax"),
            "--num-classes",
            "7",
            "--in-channels",
            "5",
            "--inflation",
            "centre",
            "--naming",
            "timm",
        ]
    )
    said = capsys.readouterr().out
    assert "with 7 classes" in said and "no head for so many classes: it starts afresh" in said
    found = load(tmp_path / "flax")
    assert (found.model, found.settings) == ("resnet18", {"num_classes": 7, "in_channels": 5})
    assert found.variables["params"]["fc"]["kernel"].shape == (512, 7)
    stem = found.variables["params"]["conv1"]["kernel"]
    share = np.exp([-2, -0.5, 0, -0.5, -2])
    grey = state["conv1.weight"].sum(1).transpose(1, 2, 0)
    for k in range(5):
        np.testing.assert_allclose(
            stem[:, :, k], grey * share[k] / share.sum(), rtol=2e-5, atol=1e-6
        )


def test_what_does_not_fit_is_refused(tmp_path, state, capsys):
    broken = dict(state)
    del broken["bn1.bias"]
    broken["extra.weight"] = np.zeros(2, np.float32)
    save_file(broken, tmp_path / "in.safetensors")
    words = ("convert", "torch-to-flax", tmp_path / "in.safetensors")
    error = _fails(capsys, *words, "--model", "resnet18", "--out", tmp_path / "o")
    assert "missing: bn1.bias" in error and "not of this network: extra.weight" in error
    assert "Did you mean resnet18" in _fails(
        capsys, *words, "--model", "resnet_18", "--out", tmp_path / "o"
    )
    assert "--model resnet50" in _fails(capsys, *words, "--out", tmp_path / "o")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine.txt").touch()
    error = _fails(capsys, *words, "--model", "resnet18", "--out", tmp_path / "used")
    assert "not a new or empty folder" in error
    error = _fails(capsys, "convert", "flax-to-torch", tmp_path / "used", "--out", "x.pth")
    assert "is not a folder that `msk-jax convert torch-to-flax` wrote" in error
    error = _fails(capsys, *words, "--model", "resnet18", "--naming", "keras", "--out", "x")
    assert "No names of 'keras' are known" in error
    for flag, count in (("--num-classes", -1), ("--in-channels", 0)):
        error = _fails(capsys, *words, "--model", "resnet18", "--out", tmp_path / "o", flag, count)
        assert f"{flag[2:].replace('-', '_')} of at least 1; {count} was given" in error
    assert not (tmp_path / "o").exists()


def test_the_measured_table_has_every_network():
    page = (REPOSITORY / "docs" / "measured" / "parity.md").read_text()
    table = page.partition("<!-- parity: made by")[2].partition("<!-- parity: end")[0]
    rows = [[c.strip() for c in r.split("|")[1:-1]] for r in table.splitlines() if r[:1] == "|"]
    assert [row[0] for row in rows[2:]] == list(MODELS)
    assert all(float(row[3]) <= MODELS[row[0]].tolerance * 1.05 for row in rows[2:]), "rounded"


def test_parity_prints_and_keeps_a_table(tmp_path, capsys, need, monkeypatch):
    need("torch", "monai")
    out = tmp_path / "parity.csv"
    main(["parity", "autoencoder", "--small", "--out", str(out)])
    printed = capsys.readouterr().out
    assert "| autoencoder | monai.networks.nets.AutoEncoder | 32x64 |" in printed
    table = pd.read_csv(out)
    row = table.iloc[0]
    assert row["forward"] < 1e-5 and row["gradients"] < 1e-8 and row["sgd"] < 1e-3
    assert "All 1 are equal" in printed
    # A network that the table holds is not compared again.
    for fault in ({"forward": 0.25}, {"gradients": 2e-4}, {"adamw": np.nan}):
        table.assign(**fault).to_csv(out, index=False)
        error = _fails(capsys, "parity", "autoencoder", "--small", "--out", out)
        assert "Not equal to the reference within the limits: autoencoder." in error
    assert "Name the networks" in _fails(capsys, "parity")
    # One of another size or of other packages is; a table of something else is left alone.
    monkeypatch.setattr("msk_jax.verbs.parity.compare_one", lambda *_: {**row, "sgd": 1e-7})
    for other in ({"size": "256x256"}, {"packages": "jax-0.4.0"}):
        table.assign(**other).to_csv(out, index=False)
        main(["parity", "autoencoder", "--small", "--out", str(out)])
        assert pd.read_csv(out)["sgd"].tolist() == [1e-7]
    out.write_text("model\nautoencoder\n")
    assert "lacks adamw, endpoint" in _fails(capsys, "parity", "autoencoder", "--out", out)
    assert out.read_text() == "model\nautoencoder\n"
