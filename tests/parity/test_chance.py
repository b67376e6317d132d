"""Dropout and stochastic depth act where the references have them, at the same rates."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msk_jax.models.blocks.layers import Dropout
from msk_jax.models.registry import architecture

torch = pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")
references = pytest.importorskip("msk_jax.parity.references")

# network -> settings of ours, and of the reference
CASES = {
    "deeplabv3_resnet50": ({}, {}),
    "efficientnet_b1": ({}, {}),
    "swin_t": ({}, {}),
    "vit_small_patch32": (
        {"dropout": 0.1, "drop_path": 0.3},
        {"pos_drop_rate": 0.1, "proj_drop_rate": 0.1, "drop_path_rate": 0.3},
    ),
}


def _ours(entry, settings):
    """(rate, whole example?) of every dropout, in the order of the calls."""
    seen = []

    def spy(call, args, kwargs, context):
        if isinstance(context.module, Dropout):
            seen.append((context.module.rate, context.module.whole))
        return call(*args, **kwargs)

    def run(key, x):
        variables = model.init(key, x)
        seen.clear()
        return model.apply(variables, x, train=True, mutable=True, rngs={"dropout": key})

    model = entry.network(**{**entry.settings, **settings})
    with nn.intercept_methods(spy):
        jax.eval_shape(run, jax.random.key(0), jnp.zeros((2, *entry.small, 3)))
    return seen


def _theirs(entry, settings):
    """The same of the reference, on torch's device without data."""
    seen = []
    with torch.device("meta"):
        model = references.build_reference(entry, **settings).train()
        for module in model.modules():
            kind = type(module).__name__
            if kind in ("Dropout", "DropPath", "StochasticDepth"):
                rate = module.drop_prob if kind == "DropPath" else module.p
                fact = (rate, kind != "Dropout")
                module.register_forward_hook(lambda *_, fact=fact: seen.append(fact))
        model(torch.zeros((2, 3, *entry.small)))
    return seen


@pytest.mark.parametrize("name", CASES)
def test_rates_in_the_order_of_the_calls(need, name):
    need("torchvision", "timm")
    entry = architecture(name)
    ours, theirs = CASES[name]
    if entry.size_setting:
        theirs = {**theirs, entry.size_setting: entry.small}
    ours = [fact for fact in _ours(entry, ours) if fact[0] > 0]
    theirs = [fact for fact in _theirs(entry, theirs) if fact[0] > 0]
    assert [whole for _, whole in ours] == [whole for _, whole in theirs]
    np.testing.assert_allclose([p for p, _ in ours], [p for p, _ in theirs], rtol=1e-6)
