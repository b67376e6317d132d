"""EfficientNet under timm's names, its norms size by size, and squeeze and excitation."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msk_jax.models.blocks.channel_attention import SqueezeExcitation
from msk_jax.models.network import variable_shapes
from msk_jax.models.registry import architecture, create, names
from msk_jax.models.weights.torch_weights import dump_torch, load_torch
from msk_jax.models.zoo.efficientnet import ORIGINAL_NORM, TIMM_NAMES, EfficientNet

torch = pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")
compare = pytest.importorskip("msk_jax.parity.compare")
references = pytest.importorskip("msk_jax.parity.references")


@pytest.mark.parametrize("name", [name for name in names() if name.startswith("efficientnet")])
def test_norms_and_dropout_are_set_as_torchvision_sets_them(need, name):
    need("torchvision")
    with torch.device("meta"):
        theirs = references.build_reference(architecture(name))
    ours = create(name)
    norms = [m for m in theirs.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {m.eps for m in norms} == {ours.epsilon}
    assert {round(1 - m.momentum, 9) for m in norms} == {ours.momentum}
    assert theirs.classifier[0].p == ours.dropout


def test_gradients_and_statistics_of_a_narrow_one_in_double_precision(need):
    need("torchvision")
    entry = architecture("efficientnet_b0")
    references.build_reference(entry)  # makes torchvision importable
    from torchvision.models import efficientnet as theirs

    stages, _ = theirs._efficientnet_conf("efficientnet_b0", width_mult=0.25, depth_mult=0.34)
    torch.manual_seed(0)
    norm = functools.partial(torch.nn.BatchNorm2d, eps=1e-3, momentum=0.01)
    reference = theirs.EfficientNet(stages, 0.0, 0.0, num_classes=5, norm_layer=norm)
    references.randomise(reference)
    ours = EfficientNet(
        width_factor=0.25,
        depth_factor=0.34,
        num_classes=5,
        dropout=0.0,
        drop_path=0.0,
        **ORIGINAL_NORM,
    )
    empty = variable_shapes(ours, jnp.zeros((1, 32, 32, 3)))
    variables = load_torch(empty, references.state_of(reference))
    pair = compare.Pair(entry, ours, variables, reference)
    errors = compare.training_errors(pair, (32, 32))
    assert errors["loss"] < 1e-11
    assert errors["gradients"] < 1e-8
    assert errors["statistics"] < 1e-11


def test_timms_weights_give_its_logits_and_go_back(need):
    need("torchvision", "timm")
    entry = architecture("efficientnet_b0")
    other = dataclasses.replace(entry, reference="timm.models.efficientnet.efficientnet_b0")
    torch.manual_seed(0)
    model = references.build_reference(other).eval()
    references.randomise(model)
    state = references.state_of(model)
    ours = create("efficientnet_b0")
    x = np.random.default_rng(1).normal(size=(1, 64, 64, 3)).astype(np.float32)
    variables = load_torch(variable_shapes(ours, x), state, TIMM_NAMES)
    with torch.no_grad():
        expected = model(torch.tensor(x.transpose(0, 3, 1, 2).copy())).numpy()
    logits, _ = jax.jit(ours.apply)(variables, x)
    assert compare.relative_error(logits, expected) < 1e-5
    back = dump_torch(variables, TIMM_NAMES)
    assert set(back) == set(state)
    for name in state:
        np.testing.assert_array_equal(back[name], state[name])


@pytest.mark.parametrize(("activation", "gate"), [("relu", "sigmoid"), ("silu", "hardsigmoid")])
def test_squeeze_and_excitation(need, activation, gate):
    need("torchvision")
    references.build_reference(architecture("resnet18"))  # makes torchvision importable
    from torchvision.ops import SqueezeExcitation as Theirs

    kinds = {
        "relu": torch.nn.ReLU,
        "silu": torch.nn.SiLU,
        "sigmoid": torch.nn.Sigmoid,
        "hardsigmoid": torch.nn.Hardsigmoid,
    }
    theirs = Theirs(12, 5, kinds[activation], kinds[gate])
    references.randomise(theirs)
    ours = SqueezeExcitation(
        5,
        getattr(jax.nn, activation),
        jax.nn.hard_sigmoid if gate == "hardsigmoid" else jax.nn.sigmoid,
    )
    x = np.random.default_rng(0).normal(size=(2, 7, 5, 12)).astype(np.float32)
    empty = ours.init(jax.random.key(0), jnp.asarray(x))
    variables = load_torch(empty, references.state_of(theirs))
    with torch.no_grad():
        expected = theirs(torch.tensor(x.transpose(0, 3, 1, 2).copy())).numpy()
    found = ours.apply(variables, x)
    assert compare.relative_error(found, np.moveaxis(expected, 1, -1)) < 1e-6
    in_3d = jax.tree.map(lambda a: a[None] if a.ndim > 1 else a, variables)
    np.testing.assert_allclose(ours.apply(in_3d, x[:, None])[:, 0], found, rtol=1e-6)
