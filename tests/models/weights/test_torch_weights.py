"""PyTorch weights in and out: names, layouts, stems, and what is refused."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from msk_jax.errors import UserError
from msk_jax.models import MS25DNetConfig
from msk_jax.models.registry import architecture, create
from msk_jax.models.weights import torch_weights
from msk_jax.models.weights.encoder_weights import load_encoder
from msk_jax.models.weights.torch_weights import (
    dump_torch,
    inflate_stem,
    load_torch,
    rename,
    torch_name,
)
from msk_jax.models.zoo.resnet import ResNetEncoder
from tests.filled import filled


def _ours(encoder, channels, size=64):
    variables = filled(encoder, 1, size, size, channels)
    return {k: {"encoder": variables[k]} for k in ("params", "batch_stats")}


@pytest.fixture(scope="module")
def resnet18(need):
    """A torchvision ResNet-18 with random weights and statistics."""
    need("torch", "torchvision")
    from msk_jax.parity.references import build_reference, randomise

    model = build_reference(architecture("resnet18")).eval()
    randomise(model)
    return model


def _torch_stages(model, x):
    import torch

    with torch.no_grad():
        y = torch.tensor(x.transpose(0, 3, 1, 2))
        y = model.maxpool(model.relu(model.bn1(model.conv1(y))))
        stages = {}
        for i in range(1, 5):
            y = getattr(model, f"layer{i}")(y)
            stages[f"stage{i}"] = y.permute(0, 2, 3, 1).numpy()
    return stages


def test_inflated_stem_answers_equal_slices_as_a_grey_picture(resnet18):
    """A stack of equal slices through the inflated network = a grey picture through torchvision."""
    from msk_jax.parity.references import state_of

    config = MS25DNetConfig(backbone="resnet18", output_stride=32, aspp=False, pyramid_features=8)
    model = config.build()
    variables = filled(model, 1, 64, 64, 5)
    grey = np.random.default_rng(2).normal(size=(1, 64, 64, 1)).astype(np.float32)
    theirs = _torch_stages(resnet18, np.repeat(grey, 3, -1))
    answer = jax.jit(model.apply)
    for rule in ("mean", "centre"):
        loaded = load_encoder(variables, state_of(resnet18), rule)
        _, endpoints = answer(loaded, np.repeat(grey, 5, -1))
        for stage, expected in theirs.items():
            error = np.abs(endpoints[stage] - expected).max() / np.abs(expected).max()
            assert error < 1e-5, (rule, stage)


def test_inflation_rules_by_hand():
    kernel = np.array([1.0, 2.0, 4.0], np.float32).reshape(1, 1, 3, 1)  # colours sum to 7
    np.testing.assert_allclose(inflate_stem(kernel, 5).ravel(), [1.4] * 5, rtol=1e-6)
    weights = np.exp([-2, -0.5, 0, -0.5, -2])
    expected = 7 * weights / weights.sum()
    np.testing.assert_allclose(inflate_stem(kernel, 5, "centre").ravel(), expected, rtol=1e-6)
    np.testing.assert_allclose(inflate_stem(kernel, 1).ravel(), [7.0])


def test_three_slices_are_not_three_colours():
    variables = _ours(ResNetEncoder("resnet18"), 3)
    state = _state_dict(variables)
    stem = load_encoder(variables, state)["params"]["encoder"]["conv1"]["kernel"]
    mean = state["conv1.weight"].mean(1)  # [out, height, width]
    for k in range(3):
        np.testing.assert_allclose(stem[:, :, k], mean.transpose(1, 2, 0), rtol=1e-5, atol=1e-6)


def _state_dict(variables):
    """A torchvision-layout state dict for our encoder, made without torch."""
    rng = np.random.default_rng(5)
    state = {"fc.weight": np.zeros((1000, 512)), "bn1.num_batches_tracked": np.array(3)}
    for kind in ("params", "batch_stats"):
        for path, value in flatten_dict(variables[kind]["encoder"]).items():
            tensor = rng.normal(size=value.shape).astype(np.float32)
            state[torch_name(path)] = tensor.transpose(3, 2, 0, 1) if tensor.ndim == 4 else tensor
    return state


def test_missing_extra_and_misshapen_tensors_are_all_listed(tmp_path):
    variables = _ours(ResNetEncoder("resnet18", width=4), 5)
    state = _state_dict(variables)
    assert "layer2.0.downsample.0.weight" in state and "layer4.1.bn2.running_var" in state
    loaded = load_encoder(variables, {f"module.{name}": v for name, v in state.items()})
    np.testing.assert_array_equal(
        loaded["params"]["encoder"]["layer1.0"]["conv1"]["kernel"],
        state["layer1.0.conv1.weight"].transpose(2, 3, 1, 0),
    )
    del state["bn1.bias"]
    state["layer9.weight"] = np.zeros(3)
    state["layer1.0.conv1.weight"] = np.zeros((4, 4, 5, 5))
    with pytest.raises(UserError) as error:
        load_encoder(variables, state)
    message = str(error.value)
    assert "missing: bn1.bias" in message
    assert "not of this network: layer9.weight" in message
    assert (
        "layer1.0.conv1.weight has shape (4, 4, 5, 5), this network needs (4, 4, 3, 3)" in message
    )


@pytest.mark.parametrize("naming", [(), (("theirs", "ours"),)])
def test_as_many_numbers_in_another_shape_do_not_fit(naming):
    variables = filled(create("resnet18", width=4, num_classes=3), 1, 64, 64, 3)
    state = dump_torch(variables)
    load_torch(variables, state, naming, ("fc",), "conv1")
    other, vector = "layer2.0.downsample.0.weight", "layer1.0.bn1.weight"
    wrong = {
        other: state[other].reshape(4, 8, 1, 1),
        vector: state[vector].reshape(2, 2),
        "layer3.0.conv1.weight": np.zeros(16 * 8 * 9, np.float32),
        "bn1.bias": np.zeros(4, np.int64),
        "conv1.weight": np.zeros((4, 5, 3, 3), np.float32),
        "fc.weight": np.zeros((3, 77), np.float32),
        "counted.num_batches_tracked": np.array(3),
        "layer4.relative_position_index": np.zeros((49, 49), np.int64),
    }
    with pytest.raises(UserError) as error:
        load_torch(variables, state | wrong, naming, ("fc",), "conv1")
    assert str(error.value).splitlines()[1:] == [
        "  bn1.bias holds int64, this network needs fractions",
        "  conv1.weight has shape (4, 5, 3, 3), this network needs (4, 3, 7, 7)",
        "  fc.weight has shape (3, 77), this network needs (3, 32)",
        f"  {vector} has shape (2, 2), this network needs (4,)",
        f"  {other} has shape (4, 8, 1, 1), this network needs (8, 4, 1, 1)",
        "  layer3.0.conv1.weight has shape (1152,), this network needs (16, 8, 3, 3)",
        "  not of this network: counted.num_batches_tracked",
        "  not of this network: layer4.relative_position_index",
    ]
    convolution = {"fc.weight": state["fc.weight"][:, :, None, None]}
    with pytest.raises(UserError, match=r"fc.weight has shape \(3, 32, 1, 1\)"):
        load_torch(variables, state | convolution, naming, ("fc",), "conv1")
    with pytest.raises(UserError, match="fc has tensors for 3 and for 5 classes"):
        load_torch(variables, state | {"fc.bias": np.zeros(5)}, naming, ("fc",), "conv1")


def test_there_and_back_is_bit_equal(resnet18):
    from msk_jax.parity.references import state_of

    state = state_of(resnet18)
    model = create("resnet18")
    variables = filled(model, 1, 64, 64, 3)
    back = dump_torch(load_torch(variables, state))
    assert set(back) == set(state)
    for name, tensor in state.items():
        assert back[name].dtype == tensor.dtype and back[name].shape == tensor.shape
        np.testing.assert_array_equal(back[name], tensor, err_msg=name)


def test_another_head_and_another_number_of_channels(resnet18):
    from msk_jax.parity.references import state_of

    state = state_of(resnet18)
    entry = architecture("resnet18")
    for channels in (1, 5):
        model = create("resnet18", num_classes=3, in_channels=channels)
        fresh = filled(model, 1, 64, 64, channels)
        loaded = load_torch(fresh, state, head=entry.head, stem=entry.stem)
        np.testing.assert_array_equal(
            loaded["params"]["fc"]["kernel"], fresh["params"]["fc"]["kernel"]
        )
        stem = loaded["params"]["conv1"]["kernel"]
        assert stem.shape == (7, 7, channels, 64)
        np.testing.assert_allclose(
            stem.sum(2), state["conv1.weight"].sum(1).transpose(1, 2, 0), rtol=1e-4, atol=1e-6
        )
        with pytest.raises(UserError, match=r"fc\.weight has shape"):
            load_torch(fresh, state, stem=entry.stem)


def test_data_parallel_prefix_is_taken_off(resnet18):
    from msk_jax.parity.references import state_of

    state = {f"module.{name}": tensor for name, tensor in state_of(resnet18).items()}
    fresh = filled(create("resnet18"), 1, 64, 64, 3)
    loaded = load_torch(fresh, state)
    np.testing.assert_array_equal(loaded["params"]["fc"]["bias"], state["module.fc.bias"])


@pytest.fixture
def said(monkeypatch):
    """What the log was told."""
    sentences = []
    monkeypatch.setattr(torch_weights._log, "warning", lambda s, *a: sentences.append(s % a))
    return sentences


@pytest.fixture(scope="module")
def tiny_resnet():
    """Variables, and their state dict in torchvision's names."""
    variables = filled(create("resnet18", width=4, num_classes=3), 1, 64, 64, 3)
    return variables, dump_torch(variables)


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "_orig_mod.module.model."]
)
def test_what_wrappers_put_before_names_is_taken_off_and_said(prefix, tiny_resnet, said):
    variables, state = tiny_resnet
    wrapped = {f"{prefix}{name}": 2 * tensor for name, tensor in state.items()}
    if prefix == "module.":
        wrapped["n_averaged"] = np.array(7)
    loaded = load_torch(variables, wrapped)
    np.testing.assert_array_equal(loaded["params"]["fc"]["bias"], 2 * state["fc.bias"])
    assert said == [f"All names of these weights begin with `{prefix}`, which is taken off."]


def test_names_of_the_network_itself_stay(tiny_resnet, said):
    variables, state = tiny_resnet
    load_torch(variables, state)
    # Here they begin with `model.` in the reference too.
    network = create("attention_unet", features=(4, 8), strides=(2,))
    unet = filled(network, 1, 16, 16, 1)
    names = dump_torch(unet)
    assert all(name.startswith("model.") for name in names)
    loaded = load_torch(unet, names)
    assert jax.tree.all(jax.tree.map(np.array_equal, loaded, unet)) and not said
    assert load_torch(unet, {f"module.{k}": v for k, v in names.items()}) and said


def test_a_part_of_a_larger_model_says_what_to_take_off(tiny_resnet):
    variables, state = tiny_resnet
    with pytest.raises(UserError, match=r"begin with `model\.backbone\.`, .* Take it off"):
        load_torch(variables, {f"model.backbone.{name}": v for name, v in state.items()})
    with pytest.raises(UserError, match="do not fit the network"):
        load_torch(variables, {"weight": np.zeros(3)})


def test_weights_that_are_not_finite_are_refused(tiny_resnet):
    variables, state = tiny_resnet
    bad = state | {"fc.bias": np.array([0, np.nan, np.inf], np.float32)}
    with pytest.raises(UserError, match=r"hold NaN or infinity.*\n  fc\.bias: 2 of 3"):
        load_torch(variables, bad)


def test_names_of_others_read_forwards_and_backwards():
    naming = (
        ("blocks.{i}.norm1", "encoder.layer_{i}.ln_1"),
        ("blocks.{i}.{j}", "encoder.layer_{i}.mlp.{j}"),
        ("head", "heads.head"),
    )
    for theirs, ours in (
        ("blocks.11.norm1.weight", "encoder.layer_11.ln_1.weight"),
        ("blocks.2.7.bias", "encoder.layer_2.mlp.7.bias"),
        ("head.weight", "heads.head.weight"),
        ("header.weight", "header.weight"),
    ):
        assert rename(theirs, naming) == ours
        assert rename(ours, naming, backwards=True) == theirs
