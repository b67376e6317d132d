"""Settings beside the registry's, on narrow networks, forward and backward."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msk_jax.errors import UserError
from msk_jax.models.registry import architecture, create
from msk_jax.models.weights.torch_weights import dump_torch, load_torch, rename
from msk_jax.models.zoo import attention_unet, dynunet
from msk_jax.models.zoo.resnet import ResidualBlock

torch = pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")
pytest.importorskip("monai", reason="MONAI is the reference and is not installed")
compare = pytest.importorskip("msk_jax.parity.compare")


def _pair(name, size, ours, theirs):
    entry, extra = architecture(name), {}
    if name.startswith("dynunet"):
        modules = dynunet.module_names(len(ours["strides"]), ours["deep_supervision"])
        heads = [key for key in modules if key.startswith("logits")]
        extra = {
            "endpoints": modules,
            "supervised": heads,
            "aliases": dynunet.second_names(modules),
        }
    if name.startswith("attention_unet"):
        extra = {"endpoints": attention_unet.module_names(len(ours["features"]))}
    entry = dataclasses.replace(
        entry,
        settings={**entry.settings, **ours},
        **extra,
        reference_settings={**entry.reference_settings, **theirs},
    )
    return compare.make_pair(entry, size)


NARROW = {"width": 8}, {"widen_factor": 0.125}
CASES = {
    "resnet with a projection, its bias and an uneven stem": (
        "resnet10_3d",
        (9, 17, 21),
        NARROW[0]
        | {
            "shortcut_type": "B",
            "bias_downsample": True,
            "conv1_t_size": (3, 7, 5),
            "conv1_t_stride": (1, 2, 2),
        },
        NARROW[1]
        | {
            "shortcut_type": "B",
            "bias_downsample": True,
            "conv1_t_size": (3, 7, 5),
            "conv1_t_stride": (1, 2, 2),
        },
    ),
    "resnet without the pool": (
        "resnet50_3d",
        (17, 11, 9),
        NARROW[0] | {"no_max_pool": True, "shortcut_type": "A"},
        NARROW[1] | {"no_max_pool": True, "shortcut_type": "A"},
    ),
    "unet of odd size with batch norm": (
        "unet",
        (35, 50),
        {"features": (4, 6, 8, 10, 12, 5), "norm": "batch", "negative_slope": 0.0},
        {"features": (4, 6, 8, 10, 12, 5), "norm": "batch", "act": "relu"},
    ),
    "unet_3d of odd size": (
        "unet_3d",
        (33, 19, 18),
        {"features": (4, 6, 8, 10, 12, 5)},
        {"features": (4, 6, 8, 10, 12, 5)},
    ),
    "attention_unet with uneven strides": (
        "attention_unet",
        (24, 36),
        {"features": (4, 6, 8), "strides": ((1, 2), (2, 3))},
        {"channels": (4, 6, 8), "strides": ((1, 2), (2, 3))},
    ),
    "attention_unet_3d": (
        "attention_unet_3d",
        (16, 12, 24),
        {"features": (4, 6, 8), "strides": (2, 2)},
        {"channels": (4, 6, 8), "strides": (2, 2)},
    ),
    "dynunet with residual blocks and uneven levels": (
        "dynunet",
        (24, 48),
        {
            "features": (4, 6, 8, 8),
            "kernel_size": (3, (3, 5), (1, 3), 3),
            "residual": True,
            "strides": (1, (2, 1), (1, 2), 2),
            "deep_supervision": 1,
        },
        {
            "filters": (4, 6, 8, 8),
            "kernel_size": (3, (3, 5), (1, 3), 3),
            "res_block": True,
            "strides": (1, (2, 1), (1, 2), 2),
            "upsample_kernel_size": ((2, 1), (1, 2), 2),
            "deep_supr_num": 1,
        },
    ),
    "dynunet_3d with batch norm and every head": (
        "dynunet_3d",
        (16, 24, 12),
        {
            "features": (4, 6, 8, 8),
            "kernel_size": (3,) * 4,
            "strides": (1, 2, 2, (1, 2, 1)),
            "deep_supervision": 2,
            "norm": "batch",
        },
        {
            "filters": (4, 6, 8, 8),
            "kernel_size": (3,) * 4,
            "strides": (1, 2, 2, (1, 2, 1)),
            "upsample_kernel_size": (2, 2, (1, 2, 1)),
            "norm_name": "batch",
        },
    ),
    "unetr": (
        "unetr",
        (32, 48, 16),
        {"width": 4, "hidden": 24, "mlp_features": 40, "num_heads": 4},
        {"feature_size": 4, "hidden_size": 24, "mlp_dim": 40, "num_heads": 4},
    ),
}


TEN_STEPS = ("unet of odd size with batch norm",)


@pytest.mark.parametrize("case", CASES)
def test_forward_and_backward(case):
    name, size, ours, theirs = CASES[case]
    pair = _pair(name, size, ours, theirs)
    errors = compare.forward_errors(pair, size)
    assert max(errors.values()) < architecture(name).tolerance, errors
    # One picture is enough, and faster, for networks that norm each of them by itself.
    alone = name in ("unet_3d", "unetr")
    errors = compare.training_errors(pair, size, batch=1 if alone else 2)
    assert errors["loss"] < 1e-11
    assert errors["gradients"] < 1e-8
    assert errors["statistics"] < 1e-11
    if case in TEN_STEPS:
        errors = compare.trajectory_errors(pair, size)
        assert errors.keys() == {"sgd", "adamw"} and max(errors.values()) < 1e-3, errors


def test_tensors_listed_twice_are_read_once_and_written_twice():
    entry = architecture("dynunet")
    pair = compare.make_pair(entry, entry.small)
    state = pair.reference.state_dict()
    back = dump_torch(pair.variables, aliases=entry.aliases)
    assert back.keys() == state.keys()
    for name, tensor in state.items():
        np.testing.assert_array_equal(back[name], tensor.numpy())
    firsts = {rename(name, entry.aliases) for name in back if name.startswith("skip_layers")}
    without_firsts = {name: tensor for name, tensor in back.items() if name not in firsts}
    assert len(without_firsts) < len(back)
    again = load_torch(pair.variables, without_firsts, aliases=entry.aliases)
    jax.tree.map(np.testing.assert_array_equal, again, pair.variables)


def test_padded_shortcut_passes_a_gradient_only_when_asked():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 5, 6, 3)), jnp.float32)
    for wanted in (False, True):
        block = ResidualBlock("basic", 8, (2, 2), shortcut="A", shortcut_gradient=wanted)
        variables = block.init(jax.random.key(0), x)
        # with its last norm silent the block shows its shortcut alone
        silent = jax.tree.map(jnp.zeros_like, variables["params"]["bn2"])
        variables = {**variables, "params": {**variables["params"], "bn2": silent}}
        y, vjp = jax.vjp(lambda x, b=block, v=variables: b.apply(v, x), x)
        np.testing.assert_array_equal(y[..., :3], jnp.maximum(x[:, ::2, ::2], 0))
        np.testing.assert_array_equal(y[..., 3:], 0)
        slope = vjp(jnp.ones_like(y))[0]
        np.testing.assert_array_equal(slope[:, ::2, ::2], (x[:, ::2, ::2] > 0) * float(wanted))


def _refused(name, size, **settings):
    model = create(name, **settings)
    x = jax.ShapeDtypeStruct((1, *size, model.in_channels), jnp.float32)
    jax.eval_shape(model.init, jax.random.key(0), x)


def test_wrong_settings_and_sizes_are_refused_in_a_sentence():
    with pytest.raises(UserError, match="shortcut_type is 'C'; it must be 'A' or 'B'"):
        _refused("resnet18_3d", (24, 24, 24), shortcut_type="C")
    with pytest.raises(UserError, match=r"six numbers; got 3: \(4, 8, 16\)"):
        _refused("unet", (32, 32), features=(4, 8, 16))
    with pytest.raises(UserError, match=r"norm is 'group'; it must be 'instance', .* or 'batch'"):
        _refused("unet", (32, 32), norm="group")
    with pytest.raises(UserError, match=r"single pixel .* \(1, 1, 1, 1024\)"):
        _refused("unet", (16, 16))
    with pytest.raises(UserError, match=r"5 levels .* have 4 strides between them.* got 2"):
        _refused("attention_unet", (32, 32), strides=(2, 2))
    with pytest.raises(UserError, match="multiples of 16 x 16; the input has 40 x 64"):
        _refused("attention_unet", (40, 64))
    with pytest.raises(UserError, match=r"5 strides and 7 in kernel_size"):
        _refused("dynunet", (64, 64), strides=(1, 2, 2, 2, 2))
    with pytest.raises(UserError, match="at most 3, got 4"):
        _refused("dynunet_3d", (64, 64, 64), deep_supervision=4)
    with pytest.raises(UserError, match=r"Kernel \(1, 1\) with stride \(3, 3\) cannot be"):
        _refused("dynunet", (64, 64), kernel_size=(3, 1, 3), strides=(1, 3, 2), deep_supervision=0)
