"""The Swin transformer: gradients of a small one, odd sizes, and timm's names."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msk_jax.models.registry import architecture
from msk_jax.models.weights.torch_weights import dump_torch, load_torch
from msk_jax.models.zoo.swin import TIMM_NAMES, Swin, index_tables

torch = pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")
compare = pytest.importorskip("msk_jax.parity.compare")
references = pytest.importorskip("msk_jax.parity.references")

SETTINGS = {"width": 12, "depths": (2, 2), "num_heads": (2, 3), "num_classes": 5}


@pytest.fixture(scope="module")
def small(need):
    """The registry's entry of a network of two stages."""
    need("torchvision")
    return dataclasses.replace(
        architecture("swin_t"),
        settings=SETTINGS,
        reference="torchvision.models.swin_transformer.SwinTransformer",
        reference_settings={
            "patch_size": [4, 4],
            "embed_dim": 12,
            "depths": [2, 2],
            "num_heads": [2, 3],
            "window_size": [7, 7],
            "num_classes": 5,
        },
        endpoints={"stage1": "features.1", "stage2": "features.3"},
    )


def test_gradients_in_double_precision(small):
    errors = compare.training_errors(compare.make_pair(small, (64, 48)), (64, 48))
    assert errors["loss"] < 1e-12
    assert errors["gradients"] < 1e-8


@pytest.mark.parametrize("size", [(75, 37), (29, 116), (4, 9)])
def test_odd_sizes_are_padded_as_torchvision_does(small, size):
    errors = compare.forward_errors(compare.make_pair(small, size), size)
    assert max(errors.values()) < 1e-5


def test_index_tables_are_torchvisions(small):
    state = references.state_of(references.build_reference(small))
    found = index_tables(state)
    tables = {name: tensor for name, tensor in state.items() if name.endswith("position_index")}
    assert found.keys() == tables.keys() and len(found) == 4
    for name, table in tables.items():
        assert found[name].dtype == table.dtype
        np.testing.assert_array_equal(found[name], table)


def test_timms_weights_give_its_logits_and_go_back(small, need):
    need("timm")
    entry = dataclasses.replace(
        small,
        reference="timm.models.swin_transformer.SwinTransformer",
        reference_settings={
            "img_size": 56,
            "embed_dim": 12,
            "depths": (2, 2),
            "num_heads": (2, 3),
            "num_classes": 5,
        },
    )
    torch.manual_seed(0)
    model = references.build_reference(entry).eval()
    references.randomise(model)
    state = references.state_of(model)
    ours = Swin(**SETTINGS)
    x = np.random.default_rng(1).normal(size=(2, 56, 56, 3)).astype(np.float32)
    empty = jax.jit(ours.init)(jax.random.key(0), jnp.zeros((1, 56, 56, 3)))
    variables = load_torch({"params": empty["params"]}, state, TIMM_NAMES)
    with torch.no_grad():
        expected = model(torch.tensor(x.transpose(0, 3, 1, 2).copy())).numpy()
    logits, _ = jax.jit(ours.apply)(variables, x)
    assert compare.relative_error(logits, expected) < 1e-5
    back = dump_torch(variables, TIMM_NAMES)
    assert set(back) == {name for name in state if not name.endswith("relative_position_index")}
    for name in back:
        np.testing.assert_array_equal(back[name], state[name])
