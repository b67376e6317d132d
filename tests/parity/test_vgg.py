"""Small VGGs against torchvision's and timm's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msk_jax.models.blocks.pooling import adaptive_avg_pool
from msk_jax.models.network import variable_shapes
from msk_jax.models.registry import architecture
from msk_jax.models.weights.torch_weights import dump_torch, load_torch, recognise

torch = pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")
compare = pytest.importorskip("msk_jax.parity.compare")

SMALL = {"widths": (3, 4, 5, 6, 8), "num_classes": 5}
LAYERS = [3, 3, "M", 4, 4, "M", 5, 5, 5, "M", 6, 6, 6, "M", 8, 8, 8, "M"]


def _pair(need, batch_norm):
    """torchvision's network, its dense layers cut down: they cannot be asked for."""
    need("torchvision")
    from msk_jax.parity.references import locate, randomise, state_of, without_chance

    vgg = locate("torchvision.models.vgg.VGG")
    layers = locate("torchvision.models.vgg.make_layers")(LAYERS, batch_norm)
    with torch.device("meta"):
        reference = vgg(torch.nn.Identity())
    reference.features = layers
    for place, (inputs, outputs) in {0: (8 * 49, 16), 3: (16, 16), 6: (16, 5)}.items():
        reference.classifier[place] = torch.nn.Linear(inputs, outputs)
    randomise(reference)
    without_chance(reference.eval())
    entry = architecture("vgg16_bn" if batch_norm else "vgg16")
    model = entry.network(**{**entry.settings, **SMALL}, hidden=16, dropout=0.0)
    variables = load_torch(_empty(model, (32, 32)), state_of(reference))
    return compare.Pair(entry, model, variables, reference)


def _empty(model, size):
    return variable_shapes(model, jnp.zeros((1, *size, 3)))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_forward_and_training_pass(need, batch_norm):
    pair, size = _pair(need, batch_norm), (75, 61)
    errors = compare.forward_errors(pair, size)
    assert len(errors) == 7
    assert max(errors.values()) < 1e-5, errors
    errors = compare.training_errors(pair, size)
    assert errors["loss"] < 1e-12
    assert errors["gradients"] < 1e-8
    assert errors["statistics"] < 1e-12


@pytest.mark.parametrize("name", ["vgg16", "vgg16_bn"])
def test_timm_has_convolutions_where_we_have_dense_layers(need, name):
    need("torchvision", "timm")
    from msk_jax.parity.references import locate, randomise, state_of

    norm = torch.nn.BatchNorm2d if name == "vgg16_bn" else None
    model = locate("timm.models.vgg.VGG")(LAYERS, num_classes=5, norm_layer=norm).eval()
    randomise(model)
    state = state_of(model)
    assert state["pre_logits.fc1.weight"].shape == (4096, 8, 7, 7)
    entry = architecture(name)
    ours = entry.network(**{**entry.settings, **SMALL})
    naming = entry.namings["timm"]
    empty = _empty(ours, (64, 96))
    assert recognise(entry, state, empty) == "timm"
    variables = load_torch(empty, state, naming)
    x = np.random.default_rng(0).normal(size=(2, 64, 96, 3)).astype(np.float32)
    with torch.no_grad():
        expected = model(torch.tensor(x.transpose(0, 3, 1, 2))).numpy()
    logits, _ = jax.jit(ours.apply)(jax.tree.map(jnp.asarray, variables), x)
    assert compare.relative_error(logits, expected) < 1e-5
    back = dump_torch(variables, naming)
    assert back.keys() == state.keys()
    for key, tensor in state.items():
        np.testing.assert_array_equal(back[key], tensor, err_msg=key)


@pytest.mark.parametrize("size", [(7, 7), (3, 10), (14, 1)])
@pytest.mark.parametrize("out", [(7, 7), (3, 2), (1, 5)])
def test_adaptive_pooling(size, out):
    x = np.random.default_rng(0).normal(size=(2, *size, 3))
    expected = torch.nn.functional.adaptive_avg_pool2d(torch.tensor(x.transpose(0, 3, 1, 2)), out)
    with jax.enable_x64(True):
        ours = np.asarray(adaptive_avg_pool(jnp.asarray(x), out))
    np.testing.assert_allclose(ours.transpose(0, 3, 1, 2), expected.numpy(), atol=1e-14)
