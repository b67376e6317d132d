"""The vision transformer under torchvision's names, and at other sizes than it was trained for."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msk_jax.models.registry import architecture
from msk_jax.models.weights.torch_weights import dump_torch, load_torch
from msk_jax.models.zoo.vit import TORCHVISION, ViT, fit_to_size, resample_position_embedding

torch = pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")
compare = pytest.importorskip("msk_jax.parity.compare")
references = pytest.importorskip("msk_jax.parity.references")

OURS = ViT(num_classes=5, patch=16, width=32, depth=3, num_heads=2)
SHARED = {"patch_size": 16, "num_heads": 2, "num_classes": 5}


@pytest.fixture(scope="module")
def theirs(need):
    """`theirs(class, **settings)`: another library's network of the size of ours."""
    need("torchvision", "timm")

    def make(reference, **settings):
        entry = architecture("vit_small_patch16")
        entry = dataclasses.replace(entry, reference=reference, reference_settings=SHARED)
        torch.manual_seed(0)
        model = references.build_reference(entry, **settings).eval()
        references.randomise(model)
        return model

    return make


def _empty(size):
    return jax.jit(OURS.init)(jax.random.key(0), jnp.zeros((1, *size, 3)))


def _images(size):
    return np.random.default_rng(1).normal(size=(2, *size, 3)).astype(np.float32)


def _logits(model, x):
    with torch.no_grad():
        return model(torch.tensor(x.transpose(0, 3, 1, 2).copy())).numpy()


def test_torchvisions_weights_give_its_logits_and_go_back(theirs):
    model = theirs(
        "torchvision.models.vision_transformer.VisionTransformer",
        image_size=48,
        num_layers=3,
        hidden_dim=32,
        mlp_dim=128,
    )
    torch.nn.init.normal_(model.heads.head.weight)  # torchvision's is all zeros
    state, x = references.state_of(model), _images((48, 48))
    variables = load_torch(_empty((48, 48)), state, TORCHVISION)
    logits, _ = jax.jit(OURS.apply)(variables, x)
    assert compare.relative_error(logits, _logits(model, x)) < 1e-5
    back = dump_torch(variables, TORCHVISION)
    assert set(back) == set(state)
    for name in state:
        np.testing.assert_array_equal(back[name], state[name])
    old = {
        name.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"): tensor
        for name, tensor in state.items()
    }
    published = load_torch(_empty((48, 48)), old, TORCHVISION)
    jax.tree.map(np.testing.assert_array_equal, published, variables)


@pytest.mark.parametrize("grid", [(3, 5), (12, 9), (14, 6), (7, 7)])
def test_position_embeddings_are_resampled_as_timm_does(theirs, grid):
    from timm.layers import resample_abs_pos_embed

    embedding = np.random.default_rng(0).normal(size=(1, 50, 6)).astype(np.float32)
    expected = resample_abs_pos_embed(torch.tensor(embedding), list(grid)).numpy()
    found = resample_position_embedding(embedding, grid)
    assert compare.relative_error(found, expected) < 1e-6


def test_weights_of_another_size_give_timms_logits(theirs):
    """timm resamples in every call; here it is done once, when the weights are loaded."""
    model = theirs(
        "timm.models.vision_transformer.VisionTransformer",
        img_size=96,
        embed_dim=32,
        depth=3,
        dynamic_img_size=True,
    )
    size = (48, 112)
    state, x = references.state_of(model), _images(size)
    variables = load_torch(_empty(size), fit_to_size(state, size))
    logits, _ = jax.jit(OURS.apply)(variables, x)
    assert compare.relative_error(logits, _logits(model, x)) < 1e-5


def test_gradients_in_double_precision(need):
    need("torchvision", "timm")
    small = {"width": 24, "depth": 2, "num_heads": 3, "num_classes": 5}
    entry = dataclasses.replace(
        architecture("vit_small_patch16"),
        settings={"patch": 16, **small},
        reference="timm.models.vision_transformer.VisionTransformer",
        reference_settings={"embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 5},
    )
    errors = compare.training_errors(compare.make_pair(entry, entry.small), entry.small)
    assert errors["loss"] < 1e-12
    assert errors["gradients"] < 1e-8
