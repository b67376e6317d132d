"""The generator's gradients on a small one, and the discriminator under its authors' names."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msk_jax.errors import UserError
from msk_jax.models.network import variable_shapes
from msk_jax.models.registry import architecture, create
from msk_jax.models.weights.torch_weights import dump_torch, load_torch

torch = pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")
compare = pytest.importorskip("msk_jax.parity.compare")
references = pytest.importorskip("msk_jax.parity.references")


def test_a_small_generator_in_training():
    small = {"width": 4, "depth": 6}
    entry = dataclasses.replace(
        architecture("pix2pix_generator"), settings=small, reference_settings=small
    )
    errors = compare.training_errors(compare.make_pair(entry, (64, 64)), (64, 64))
    assert errors["loss"] < 1e-12
    assert errors["gradients"] < 1e-8
    assert errors["statistics"] < 1e-12


def test_the_generator_takes_multiples_only_and_drops_in_training_only():
    model = create("pix2pix_generator", in_channels=1, num_classes=2, width=2, depth=4)
    x = jnp.ones((1, 32, 48, 1))
    variables = jax.jit(model.init)(jax.random.key(0), x)
    picture, endpoints = jax.jit(model.apply)(variables, x)
    assert picture.shape == (1, 32, 48, 2) and float(jnp.abs(picture).max()) <= 1
    assert endpoints["encoder4"].shape == (1, 2, 3, 16)
    with pytest.raises(UserError, match=r"multiples of 16; .* 32 x 40"):
        jax.eval_shape(model.apply, variables, x[:, :, :40])

    @jax.jit
    def noisy(key):
        (picture, _), _ = model.apply(
            variables, x, train=True, mutable=["batch_stats"], rngs={"dropout": key}
        )
        return picture

    assert bool((noisy(jax.random.key(1)) != noisy(jax.random.key(2))).any())


def _authors_discriminator(channels, width):
    """The published 70 x 70 layout, C64-C128-C256-C512, with the authors' module names."""
    nn, layers = torch.nn, []
    for i, (features, stride) in enumerate([(1, 2), (2, 2), (4, 2), (8, 1)]):
        features *= width
        layers.append(nn.Conv2d(channels, features, 4, stride, 1, bias=i == 0))
        layers += [nn.BatchNorm2d(features)] if i else []
        layers.append(nn.LeakyReLU(0.2))
        channels = features
    layers.append(nn.Conv2d(channels, 1, 4, 1, 1))
    return nn.ModuleDict({"model": nn.Sequential(*layers)}).eval()


def test_the_authors_discriminator():
    theirs = _authors_discriminator(6, 8)
    references.randomise(theirs)
    model = create("pix2pix_discriminator", width=8)
    x = np.random.default_rng(0).normal(size=(2, 70, 70, 6)).astype(np.float32)
    naming = architecture("pix2pix_discriminator").namings["pix2pix"]
    state = references.state_of(theirs)
    variables = load_torch(variable_shapes(model, x), state, naming)
    logits, _ = jax.jit(model.apply)(variables, x)
    with torch.no_grad():
        expected = theirs["model"](torch.tensor(x.transpose(0, 3, 1, 2).copy()))
    assert compare.relative_error(logits, references.channels_last(expected)) < 1e-5
    back = dump_torch(variables, naming)
    assert set(back) == set(state)
    for name, tensor in state.items():
        np.testing.assert_array_equal(back[name], tensor)


def test_a_logit_of_the_discriminator_sees_seventy_pixels():
    model = create("pix2pix_discriminator", in_channels=1, width=2)
    x = jnp.zeros((1, 144, 144, 1))
    variables = jax.jit(model.init)(jax.random.key(0), x)

    def middle(x):  # evaluation mode: no norm spreads a pixel over the picture
        return model.apply(variables, x)[0][0, 8, 8, 0]

    noise = jax.random.normal(jax.random.key(1), x.shape)
    rows = np.flatnonzero(np.asarray(jax.jit(jax.grad(middle))(noise))[0].any((1, 2)))
    assert rows[-1] - rows[0] + 1 == 70
