"""Parts of the Inceptions against torchvision's and timm's, and their whole in training."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msk_jax.models.blocks.inception_blocks import Mixed
from msk_jax.models.blocks.layers import Layers
from msk_jax.models.registry import architecture
from msk_jax.models.weights.torch_weights import dump_torch
from msk_jax.models.zoo import inception_resnet_v2 as v2
from msk_jax.models.zoo import inception_v3

torch = pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")
compare = pytest.importorskip("msk_jax.parity.compare")
blocks = pytest.importorskip("tests.parity.blocks")

TRAINING = Layers(train=True)


def _maps(features, size=(7, 9)):
    return np.random.default_rng(0).normal(size=(2, *size, features))


@pytest.mark.parametrize(
    ("block", "branches", "features", "settings"),
    [
        ("InceptionA", inception_v3.inception_a(16), 24, {"pool_features": 16}),
        ("InceptionB", inception_v3.inception_b(), 24, {}),
        ("InceptionC", inception_v3.inception_c(20), 24, {"channels_7x7": 20}),
        ("InceptionD", inception_v3.inception_d(), 24, {}),
        ("InceptionE", inception_v3.inception_e(), 24, {}),
    ],
)
def test_blocks_of_inception_v3(need, block, branches, features, settings):
    need("torchvision")
    from msk_jax.parity.references import locate

    reference = locate(f"torchvision.models.inception.{block}")(features, **settings)
    blocks.check(blocks.block_errors(Mixed(branches, TRAINING), reference, _maps(features)))


@pytest.mark.parametrize(
    ("block", "module", "features", "settings"),
    [
        ("Mixed_5b", Mixed(v2.MIXED_5B, TRAINING), 192, {}),
        ("Mixed_6a", Mixed(v2.MIXED_6A, TRAINING), 320, {}),
        ("Mixed_7a", Mixed(v2.MIXED_7A, TRAINING), 1088, {}),
        ("Block35", v2.ResidualMixed(v2.BLOCK_35, 0.17, layers=TRAINING), 320, {"scale": 0.17}),
        ("Block17", v2.ResidualMixed(v2.BLOCK_17, 0.1, layers=TRAINING), 1088, {"scale": 0.1}),
        ("Block8", v2.ResidualMixed(v2.BLOCK_8, 1.0, False, TRAINING), 2080, {"no_relu": True}),
    ],
)
def test_blocks_of_inception_resnet_v2(need, block, module, features, settings):
    need("torchvision", "timm")
    from msk_jax.parity.references import locate

    conv = functools.partial(
        locate("timm.layers.ConvNormAct"), padding=0, norm_kwargs={"eps": 1e-3}
    )
    reference = locate(f"timm.models.inception_resnet_v2.{block}")(conv_block=conv, **settings)
    blocks.check(blocks.block_errors(module, reference, _maps(features, (5, 6))))


def test_auxiliary_head(need):
    need("torchvision")
    from msk_jax.parity.references import locate

    reference = locate("torchvision.models.inception.InceptionAux")(24, 5)
    head = inception_v3.AuxiliaryHead(5, TRAINING)
    blocks.check(blocks.block_errors(head, reference, _maps(24, (17, 20))))


def test_inception_v3_in_training_with_its_auxiliary_head(need):
    """Both outputs and all statistics; the gradients are those of its blocks."""
    need("torchvision")
    from msk_jax.parity.references import channels_last, outputs_of, state_of

    entry = architecture("inception_v3")
    size = entry.training_size
    pair = compare.make_pair(entry, size)
    x = np.random.default_rng(1).normal(size=(2, *size, 3))
    with torch.no_grad():
        theirs = pair.reference.double().train()(torch.tensor(x.transpose(0, 3, 1, 2)))
    theirs = {name: channels_last(value) for name, value in outputs_of(theirs).items()}
    with jax.enable_x64(True):
        (logits, endpoints), updated = jax.jit(
            lambda v, x: pair.model.apply(v, x, train=True, mutable=["batch_stats"])
        )(pair.arrays(jnp.float64), x)
    assert theirs.keys() == {"logits", "aux_logits"}
    assert compare.relative_error(logits, theirs["logits"]) < 1e-10
    assert compare.relative_error(endpoints["aux_logits"], theirs["aux_logits"]) < 1e-10
    ours = dump_torch({"params": {}, **updated})
    for name, tensor in state_of(pair.reference).items():
        if "running" in name:
            assert compare.relative_error(ours[name], tensor) < 1e-12, name


def test_timm_calls_inception_v3_the_same(need):
    need("torchvision", "timm")
    entry = dataclasses.replace(
        architecture("inception_v3"),
        reference="timm.models.inception_v3.InceptionV3",
        reference_settings={"aux_logits": True},
    )
    assert entry.namings["timm"] == ()
    # timm's looks through its auxiliary head in evaluation too, and that needs the native size.
    pair = compare.make_pair(entry, entry.size)
    assert dump_torch(pair.variables).keys() == pair.reference.state_dict().keys()
    x = np.random.default_rng(1).normal(size=(1, *entry.size, 3)).astype(np.float32)
    with torch.no_grad():
        theirs, _ = pair.reference(torch.tensor(x.transpose(0, 3, 1, 2)))
    ours, _ = jax.jit(pair.model.apply)(pair.variables, x)
    assert compare.relative_error(ours, theirs.numpy()) < 1e-5
