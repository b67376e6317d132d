"""Small DenseNets against torchvision's, timm's and MONAI's, in all their names."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msk_jax.models.network import variable_shapes
from msk_jax.models.registry import architecture
from msk_jax.models.weights.torch_weights import dump_torch, load_torch, recognise

torch = pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")
compare = pytest.importorskip("msk_jax.parity.compare")

SIZES = (2, 1, 1, 2)
FLAT = dataclasses.replace(
    architecture("densenet121"),
    settings={"block_sizes": SIZES, "growth": 4, "width": 8, "num_classes": 5},
    reference="torchvision.models.densenet.DenseNet",
    reference_settings={
        "block_config": SIZES,
        "growth_rate": 4,
        "num_init_features": 8,
        "num_classes": 5,
    },
)
VOLUMETRIC = dataclasses.replace(
    architecture("densenet121_3d"),
    settings={**FLAT.settings, "width": 4, "in_channels": 2},
    reference="monai.networks.nets.DenseNet",
    reference_settings={
        "block_config": SIZES,
        "growth_rate": 4,
        "init_features": 4,
        "out_channels": 5,
        "spatial_dims": 3,
        "in_channels": 2,
    },
)


@pytest.mark.parametrize("entry", [FLAT, VOLUMETRIC], ids=["2d", "3d"])
def test_forward_and_training_pass(need, entry):
    need("torchvision", entry.reference.split(".")[0])
    # odd on purpose: the stem rounds up, the transitions round down
    size = (75, 61) if entry is FLAT else (30, 61, 37)
    pair = compare.make_pair(entry, size)
    errors = compare.forward_errors(pair, size)
    assert set(errors) == {"logits", "features", "stage1", "stage2", "stage3", "stage4"}
    assert max(errors.values()) < 1e-5, errors
    errors = compare.training_errors(pair, size)
    assert errors["loss"] < 1e-12
    assert errors["gradients"] < 1e-8
    assert errors["statistics"] < 1e-12


def _old_names(state):
    """As in the files that torchvision hands out."""
    return {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name): tensor
        for name, tensor in state.items()
    }


MONAI = {
    "block_config": SIZES,
    "growth_rate": 4,
    "out_channels": 5,
    "init_features": 8,
    "spatial_dims": 2,
    "in_channels": 3,
}
TIMM = {"block_config": SIZES, "growth_rate": 4, "num_classes": 5}


@pytest.mark.parametrize(
    ("naming", "reference", "settings"),
    [
        ("timm", "timm.models.densenet.DenseNet", TIMM),
        ("monai", "monai.networks.nets.DenseNet", MONAI),
        ("torchvision-files", FLAT.reference, FLAT.reference_settings),
    ],
)
def test_other_names(need, naming, reference, settings):
    need("torchvision", reference.split(".")[0])
    from msk_jax.parity.references import build_reference, randomise, state_of

    entry = dataclasses.replace(FLAT, reference=reference, reference_settings=settings)
    model = build_reference(entry).eval()
    randomise(model)
    state = state_of(model)
    if naming == "torchvision-files":
        state = _old_names(state)
        assert "features.denseblock1.denselayer2.norm.1.running_var" in state
    x = np.random.default_rng(0).normal(size=(2, 40, 48, 3)).astype(np.float32)
    ours = entry.network(**entry.settings)
    empty = variable_shapes(ours, x)
    assert entry.known_namings[recognise(entry, state, empty)] == entry.namings[naming]
    variables = load_torch(empty, state, entry.namings[naming])
    with torch.no_grad():
        expected = model(torch.tensor(x.transpose(0, 3, 1, 2))).numpy()
    logits, _ = jax.jit(ours.apply)(jax.tree.map(jnp.asarray, variables), x)
    assert compare.relative_error(logits, expected) < 1e-5
    back = dump_torch(variables, entry.namings[naming])
    assert back.keys() == state.keys()
    for name, tensor in state.items():
        np.testing.assert_array_equal(back[name], tensor, err_msg=name)
