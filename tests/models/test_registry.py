"""The whole registry: by shapes alone, which costs nothing, and with real gradients.

Gradients of all networks take a quarter of an hour (`python -m pytest -m slow tests/models`); what
runs by default is the smallest networks. That they equal PyTorch's is shown in `tests/parity`.
"""

import dataclasses
import math
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msk_jax import models
from msk_jax.errors import UserError
from msk_jax.models import MODELS, create, names
from msk_jax.models.listing import LISTED
from msk_jax.models.registry import family
from tests.filled import filled


def _input(entry, size, batch=1, channels=3, dtype=jnp.float32):
    return jax.ShapeDtypeStruct((batch, *size, channels), dtype)


def _shapes(model, x):
    outputs, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), x)
    return {k: variables[k] for k in ("params", "batch_stats") if k in variables}, outputs


# Of every kind of network, and of every choice of its settings, the one with the fewest parameters.
_SMALLEST = sorted(
    {
        (entry.network, *entry.settings): name
        for name, entry in sorted(MODELS.items(), key=lambda item: -item[1].parameters)
    }.values()
)


# Endpoints that are no module's of the reference: an output of its own, the mean of another.
_NO_MODULES = {
    "deeplabv3_resnet50": {"aux_logits"},
    "inception_v3": {"aux_logits"},
    "autoencoder": {"features"},
    "autoencoder_3d": {"features"},
    # Of all levels together, and the last map, which is a part of the one before.
    "fasterrcnn_resnet50_fpn": {
        "pyramid4",
        "objectness",
        "deltas",
        "proposals",
        "proposals_there",
    },
}


def _logits(entry, output, endpoints):
    """`[batch, ..., classes]`; a detector's are those of its regions."""
    return output if entry.returns == "logits" else endpoints["class_logits"]


def _kinds(tree):
    """Types of all fractions."""
    kinds = {leaf.dtype for leaf in jax.tree.leaves(tree)}
    return {kind for kind in kinds if jnp.issubdtype(kind, jnp.floating)}


@pytest.fixture
def nothing_is_drawn(monkeypatch):
    """Where only shapes are asked for, most of the time would go into tracing the drawing of every
    kernel."""
    drawing = sys.modules[jax.nn.initializers.lecun_normal().__module__].random

    def nothing(key, *given, **named):
        return jnp.zeros(next(value for value in given if isinstance(value, tuple)))

    for kind in ("normal", "truncated_normal", "uniform"):
        monkeypatch.setattr(drawing, kind, nothing)


@pytest.mark.parametrize("name", names())
def test_parameters_outputs_odd_sizes_and_half_precision(name, nothing_is_drawn):
    """At an odd size where there is one, else at the native one; one picture."""
    entry = MODELS[name]
    model = create(name, dtype=jnp.bfloat16)
    x = _input(entry, entry.odd or entry.size, 1, model.in_channels)
    variables, (output, endpoints) = _shapes(model, x)
    logits = _logits(entry, output, endpoints)
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))
    assert count == entry.parameters
    assert logits.shape[0] == 1 and logits.shape[-1] == model.num_classes
    # Each is compared with the reference.
    assert {*entry.endpoints, *_NO_MODULES.get(name, ())} == set(endpoints)
    assert logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert any(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(endpoints))


_QUICK = ("autoencoder", "autoencoder_3d", "pix2pix_discriminator", "resnet18", "unet")


# Their norm of a pooled picture is of a single value where there is one picture.
_POOLS_TO_ONE = ("deeplabv3_resnet50", "inception_v3")


@pytest.mark.parametrize(
    "name", [n if n in _QUICK else pytest.param(n, marks=pytest.mark.slow) for n in names()]
)
def test_gradients_of_one_picture_are_finite_and_compiled_once(name):
    """Dropout included; a second picture needs no second program."""
    entry = MODELS[name]
    model = create(name, num_classes=3)
    shape = (2 if name in _POOLS_TO_ONE else 1, *entry.training_size, model.in_channels)
    variables = filled(model, *shape)
    stats = variables.get("batch_stats", {})
    objects = {"boxes": jnp.array([[[8.0, 12, 40, 50]]]), "labels": jnp.array([[2]])}
    given = {"targets": objects} if entry.returns == "detections" else {}

    @jax.jit
    def gradients(params, x, key):
        def loss(params):
            (output, _), _ = model.apply(
                {"params": params, "batch_stats": stats},
                x,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": key, "sample": key},
                **given,
            )
            if entry.returns == "detections":
                return sum(output.values())
            return jnp.mean(jnp.square(output))

        return jax.grad(loss)(params)

    for seed in range(2):
        x = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
        found = jax.tree.leaves(gradients(variables["params"], x, jax.random.key(seed)))
        assert all(np.isfinite(leaf).all() for leaf in found)
        assert any(np.asarray(leaf).any() for leaf in found)
    assert gradients._cache_size() == 1


@pytest.mark.parametrize("name", _SMALLEST)
def test_other_channels_and_classes(name, nothing_is_drawn):
    entry = MODELS[name]
    model = create(name, num_classes=3, in_channels=1)
    _, (output, endpoints) = _shapes(model, _input(entry, entry.small, 2, 1))
    logits = _logits(entry, output, endpoints)
    assert logits.shape[0] == 2 and logits.shape[-1] == 3
    assert _kinds((output, endpoints)) == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", names())
def test_bad_input_is_refused_in_a_sentence(name, nothing_is_drawn):
    entry = MODELS[name]
    model = create(name, in_channels=2)
    with pytest.raises(UserError, match=r"made for 2 input channels .* has 3"):
        _shapes(model, _input(entry, entry.small))
    with pytest.raises(UserError, match=r"takes \[batch, .*height, width, channels\]"):
        _shapes(model, _input(entry, entry.small[1:], 1, 2))
    if smallest := model.smallest - 1:
        with pytest.raises(UserError, match=r"at least .* pixels along every axis"):
            _shapes(model, _input(entry, (smallest,) * len(entry.small), 1, 2))


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        (
            "resnet18",
            {"backbone": "resnet51"},
            "backbone is 'resnet51'; it must be one of resnet10",
        ),
        ("resnet18", {"output_stride": 7}, "output_stride is 7; it must be 8, 16 or 32"),
        ("resnet18_3d", {"backbone": "r"}, "backbone is 'r'; it must be one of resnet10"),
        ("vgg16", {"num_classes": 0}, "vgg16 needs num_classes of at least 1; 0 was given"),
        ("swin_t", {"num_classes": "3"}, "needs num_classes of at least 1; '3' was given"),
        ("swin_t", {"depths": (2, 2)}, "per stage: depths has 2, num_heads has 4"),
        ("vgg16", {"widths": (8, 8)}, "per stage: block_sizes has 5, widths has 2"),
    ],
)
def test_settings_that_no_network_has(name, settings, sentence, nothing_is_drawn):
    entry = MODELS[name]
    with pytest.raises(UserError, match=re.escape(sentence)):
        model = create(name, **settings)
        _shapes(model, _input(entry, entry.small, 1, model.in_channels))


def test_a_class_refuses_them_too(nothing_is_drawn):
    model = MODELS["swin_t"].network(in_channels=0)
    with pytest.raises(UserError, match="Swin needs in_channels of at least 1; 0 was given"):
        _shapes(model, _input(MODELS["swin_t"], (64, 64)))


def test_an_empty_batch_is_refused(nothing_is_drawn):
    with pytest.raises(UserError, match="ResNet was given an empty batch"):
        _shapes(create("resnet18"), _input(MODELS["resnet18"], (64, 64), 0))


@pytest.mark.parametrize("name", names())
def test_as_many_parameters_as_the_reference(name, need):
    """Counted anew, without memory for them."""
    entry = MODELS[name]
    need("torch", "torchvision", entry.reference.split(".")[0])
    import torch

    from msk_jax.parity.references import build_reference

    with torch.device("meta"):
        made = build_reference(entry)
    assert sum(p.numel() for p in made.parameters() if p.requires_grad) == entry.parameters


def test_unknown_names_and_settings_name_the_nearest():
    with pytest.raises(UserError, match=r"no network called 'resnet5'.*resnet50"):
        create("resnet5")
    with pytest.raises(UserError, match=r"no setting 'num_clases'.*num_classes"):
        create("resnet18", num_clases=2)


def test_entries_are_complete():
    for name, entry in MODELS.items():
        fields = {f.name for f in dataclasses.fields(entry.network)}
        assert set(entry.settings) <= fields, name
        assert len(entry.small) == len(entry.size) == entry.network.spatial_rank, name
        assert entry.head and entry.stem and entry.reference, name


def test_what_is_listed_is_what_the_files_make():
    for module in {listed.module for listed in LISTED.values()}:
        listed = [name for name in LISTED if LISTED[name].module == module]
        assert list(family(module)) == listed
    modules = Path(models.__file__).parent.rglob("*.py")
    made = {file.stem for file in modules if re.search("^MODELS = {", file.read_text(), re.M)}
    assert made == {listed.module.rpartition(".")[2] for listed in LISTED.values()}
