"""Weights of every network of the registry from PyTorch's names to ours and back.

By default of a small network of each kind; `python -m pytest -m slow tests/models` takes all as
they are, and builds every reference for its names and shapes.
"""

import dataclasses

import jax
import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from msk_jax import models
from msk_jax.errors import UserError
from msk_jax.models import MODELS, ZooNetConfig, create, names
from msk_jax.models.listing import LISTED
from msk_jax.models.registry import family
from msk_jax.models.weights.torch_weights import COUNTER, dump_torch, rename
from msk_jax.models.zoo.vit import TORCHVISION, resample_position_embedding
from msk_jax.verbs import convert as verb
from msk_jax.verbs.convert import convert, state_dict
from tests.models.test_registry import nothing_is_drawn  # noqa: F401

# One of every kind, with what makes it small.
_SMALL = {
    "attention_unet": {"features": (4, 8), "strides": (2,)},
    "autoencoder": {},
    "autoencoder_3d": {},
    "deeplabv3_resnet50": {"backbone": "resnet10", "features": 16, "output_stride": 32},
    "densenet121": {"block_sizes": (2, 1)},
    "densenet121_3d": {"block_sizes": (2, 1)},
    "dynunet_3d": {"widest": 32},
    "efficientnet_b0": {"width_factor": 0.25, "depth_factor": 0.5},
    "fasterrcnn_resnet50_fpn": {"backbone": "resnet10", "box_features": 16},
    "pix2pix_discriminator": {"width": 8},
    "pix2pix_generator": {"width": 8},
    "resnet10_3d": {"width": 8},
    "resnet18": {"width": 8},
    "swin_t": {"width": 24, "depths": (2, 2, 2, 2)},
    "unet": {"features": (4, 4, 8, 8, 16, 4)},
    "unetr": {"width": 4, "hidden": 48, "mlp_features": 64},
    "vgg16": {"hidden": 32, "block_sizes": (1, 1, 1, 1, 1)},
    "vit_small_patch16": {"width": 48, "depth": 4},
}
pytestmark = pytest.mark.usefixtures("nothing_is_drawn")


@pytest.fixture
def small(monkeypatch):
    """`small(name)`: the registry has a small network under this name."""

    def shrink(name: str) -> None:
        entry = MODELS[name]
        settings = {**entry.settings, **_SMALL[name]}
        entries = family(LISTED[name].module)
        monkeypatch.setitem(entries, name, dataclasses.replace(entry, settings=settings))

    return shrink


def _drawn(name: str, size: tuple[int, ...] = (), **settings) -> dict:
    """Variables of a network, no two tensors and no two axes alike, without drawing them all."""
    numbers = np.random.default_rng(5).normal(size=300_000).astype(np.float32)
    leaves, tree = jax.tree.flatten(
        verb._shapes(create(name, **settings), size or MODELS[name].size)
    )
    return jax.tree.unflatten(
        tree,
        [
            as_strided(numbers[i:], leaf.shape, [4 * step for step in (7, 5, 3, 2, 1)[: leaf.ndim]])
            for i, leaf in enumerate(leaves)
        ],
    )


def _state(name: str, naming: str) -> dict:
    """A state dict as others write it, with counters that have counted."""
    entry = MODELS[name]
    state = dump_torch(_drawn(name), entry.known_namings[naming], entry.aliases)
    counters = [key for key in state if key.endswith(COUNTER)]
    return state | {key: np.array(7 + i) for i, key in enumerate(counters)}


def _assert_equal(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].dtype == value.dtype, key
        assert np.array_equal(found[key], value), key


@pytest.mark.parametrize("name", _SMALL)
def test_there_and_back_under_every_naming(name, small):
    small(name)
    _there_and_back(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_there_and_back_of_the_whole_registry(name):
    _there_and_back(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_the_reference_takes_what_was_converted(name, need):
    """Names, shapes and kinds of numbers are those of its state dict."""
    entry = MODELS[name]
    need("torch", entry.reference.partition(".")[0])
    import torch

    from msk_jax.parity.references import build_reference

    naming = list(entry.known_namings)[-1]
    state = state_dict(convert(name, _state(name, naming), naming=naming))
    with torch.device("meta"):
        sizes = {entry.size_setting: entry.size} if entry.size_setting else {}
        theirs = build_reference(entry, **sizes).state_dict()
    assert state.keys() == theirs.keys()
    for key, tensor in theirs.items():
        assert state[key].shape == tuple(tensor.shape), key
        assert str(tensor.dtype).removeprefix("torch.") == state[key].dtype.name, key


def _there_and_back(name: str) -> None:
    entry, network = MODELS[name], create(name)
    for naming, pairs in entry.known_namings.items():
        state = _state(name, naming)
        found = convert(name, state)
        assert entry.known_namings[found.naming] == pairs
        assert found.settings == {key: getattr(network, key) for key in found.settings}
        _assert_equal(state_dict(found, naming), state)
        if pairs:
            own = _state(name, next(iter(entry.known_namings)))
            own |= entry.index_tables(own) if entry.index_tables else {}
            back = state_dict(found)
            counters = [key for key in own if key.endswith(COUNTER)]
            assert sorted(back[key] for key in counters) == sorted(own[key] for key in counters)
            _assert_equal(back | {key: own[key] for key in counters}, own)


def test_a_head_that_is_a_transposed_convolution(small):
    """Its classes are on PyTorch's second axis."""
    small("autoencoder")
    state = dump_torch(_drawn("autoencoder", num_classes=3, in_channels=2))
    head = "decode.decode_3.conv.conv"
    assert state[f"{head}.weight"].shape == (16, 3, 3, 3)
    found = convert("autoencoder", state)
    assert found.settings == {"num_classes": 3, "in_channels": 2}
    _assert_equal(state_dict(found), state)
    other = convert("autoencoder", state, num_classes=4).variables["params"][head]["up_kernel"]
    assert isinstance(other, jax.ShapeDtypeStruct) and other.shape == (3, 3, 16, 4)


def test_a_detector_for_other_classes(small):
    """Both layers of its head start afresh."""
    name = "fasterrcnn_resnet50_fpn"
    small(name)
    state = _state(name, "torchvision")
    assert not any(key.endswith(COUNTER) for key in state)
    found = convert(name, state, num_classes=5)
    assert found.settings == {"num_classes": 5, "in_channels": 3, "frozen_norm": True}
    heads = {
        module: found.variables["params"]["roi_heads"][f"box_predictor.{module}"]
        for module in ("cls_score", "bbox_pred")
    }
    assert {k: v["kernel"].shape for k, v in heads.items()} == {
        "cls_score": (16, 5),
        "bbox_pred": (16, 20),
    }
    fresh = [leaf for leaf in jax.tree.leaves(found.variables) if not isinstance(leaf, np.ndarray)]
    assert len(fresh) == 4 == len(jax.tree.leaves(heads))


def test_norms_of_a_detector_that_learned(small):
    """Their batches were counted; frozen ones, of which no optimiser knows, have no counter."""
    name = "fasterrcnn_resnet50_fpn"
    small(name)
    learned = _drawn(name, frozen_norm=False)
    state = dump_torch(learned)
    assert state["backbone.body.bn1.num_batches_tracked"] == 0
    found = convert(name, state)
    assert not found.settings["frozen_norm"]
    _assert_equal(state_dict(found), state)
    frozen = _drawn(name)
    assert "bn1" not in frozen["params"]["backbone.body"]
    assert frozen["batch_stats"]["backbone.body"]["bn1"].keys() == {"mean", "var", "scale", "bias"}
    assert dump_torch(frozen).keys() == {key for key in state if not key.endswith(COUNTER)}


def test_without_an_auxiliary_head(small):
    name = "deeplabv3_resnet50"
    small(name)
    whole = dump_torch(_drawn(name, num_classes=5))
    state = {k: v for k, v in whole.items() if not k.startswith("aux_classifier.")}
    found = convert(name, state)
    assert found.settings == {"num_classes": 5, "in_channels": 3, "auxiliary": False}
    assert len(state) < len(whole)
    _assert_equal(state_dict(found), state)
    # An experiment says itself whether its network has one.
    config = ZooNetConfig(name)
    _assert_equal(dump_torch(config.load(found.variables, whole), own_buffers=found.extras), state)
    with pytest.raises(UserError, match=r"missing: aux_classifier\.0\.weight"):
        config.load(_drawn(name, num_classes=5), state)


def test_weights_of_another_size(small):
    """They stay where the size is said, else are resampled."""
    name = "vit_small_patch16"
    small(name)
    state = dump_torch(_drawn(name, (64, 64)))
    found = convert(name, state, size=(64, 64))
    assert (found.size, found.settings) == ((64, 64), {"num_classes": 1000, "in_channels": 3})
    _assert_equal(state_dict(found), state)
    expected = {**state, "pos_embed": resample_position_embedding(state["pos_embed"], (14, 14))}
    assert expected["pos_embed"].shape == (1, 197, 48)
    _assert_equal(state_dict(convert(name, state)), expected)
    others = {f"module.{rename(k, TORCHVISION, backwards=True)}": v for k, v in state.items()}
    loaded = ZooNetConfig(name).load(_drawn(name, (32, 96)), others, size=(32, 96))
    expected["pos_embed"] = resample_position_embedding(state["pos_embed"], (2, 6))
    _assert_equal(dump_torch(loaded), expected)


def test_every_class_is_exported():
    exported = [getattr(models, name) for name in models.__all__]
    assert all(entry.network in exported for entry in MODELS.values())


def test_names_that_a_network_has():
    for name, naming in (
        ("resnet50", "timm"),
        ("resnet50", "torchvision"),
        ("vit_base_patch16", "timm"),
        ("inception_v3", "timm"),
        ("pix2pix_generator", "pix2pix"),
    ):
        assert MODELS[name].known_namings[naming] == ()
    with pytest.raises(UserError, match=r"'keras' are known.*known: torchvision, timm\."):
        convert("resnet18", {}, naming="keras")


def test_counts_below_one_are_refused():
    for wish in ({"num_classes": -1}, {"num_classes": 0}, {"in_channels": 0}):
        with pytest.raises(UserError, match=f"{next(iter(wish))} of at least 1"):
            convert("autoencoder", {}, **wish)
