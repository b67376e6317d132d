"""Layers against PyTorch and against their own definition."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msk_jax.errors import UserError
from msk_jax.models.blocks.aspp import ASPP, check_rates
from msk_jax.models.blocks.convolution import convolve, depthwise
from msk_jax.models.blocks.layers import BatchNorm, Conv, Dropout, upsample_nearest


def _random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("kernel, stride, dilation", [(1, 2, 1), (3, 2, 1), (3, 1, 4), (7, 2, 1)])
def test_convolution_pads_as_torch(kernel, stride, dilation):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")
    x, w = _random(2, 13, 10, 3), _random(kernel, kernel, 3, 5, seed=1)
    ours = Conv(5, (kernel,) * 2, (stride,) * 2, (dilation,) * 2).apply(
        {"params": {"kernel": w}}, x
    )
    theirs = torch.nn.functional.conv2d(
        torch.tensor(x.transpose(0, 3, 1, 2)),
        torch.tensor(w.transpose(3, 2, 0, 1)),
        stride=stride,
        padding=dilation * (kernel - 1) // 2,
        dilation=dilation,
    )
    np.testing.assert_allclose(ours, theirs.permute(0, 2, 3, 1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "space, kernel, stride, dilation",
    [((9, 12), (3, 5), 2, 1), ((9, 12), (3, 5), 2, 3), ((7, 8, 10), (3, 1, 3), 1, 2)],
)
def test_depthwise_convolution_is_the_grouped_one(space, kernel, stride, dilation):
    """Shifted maps and XLA's own convolution: outputs and gradients."""
    rank = len(space)
    strides, dilations = (stride,) * rank, (dilation,) * rank
    padding = [(dilation * (k - 1) // 2,) * 2 for k in kernel]
    _assert_same(
        lambda x, w: depthwise(x, w, strides, [p for p, _ in padding], dilations),
        lambda x, w: convolve(x, w, padding, strides, dilations, groups=4),
        _random(2, *space, 4),
        _random(*kernel, 1, 4, seed=1),
    )


@pytest.mark.parametrize("channels", [2, 9])
@pytest.mark.parametrize(
    "strides, dilation, padding",
    [((1, 1, 1), (1, 1, 1), [(1, 1)] * 3), ((2, 1, 2), (1, 2, 3), [(0, 2), (2, 1), (0, 0)])],
)
def test_convolution_in_3d_is_xlas(channels, strides, dilation, padding):
    """2-D convolutions over the slices, all at once or one by one: outputs and gradients."""
    axes = ("NDHWC", "DHWIO", "NDHWC")
    _assert_same(
        lambda x, w: convolve(x, w, padding, strides, dilation),
        lambda x, w: jax.lax.conv_general_dilated(
            x, w, strides, padding, rhs_dilation=dilation, dimension_numbers=axes
        ),
        _random(2, 6, 9, 8, channels),
        _random(3, 3, 2, channels, 4, seed=1),
    )


@pytest.mark.parametrize(
    "space, kernel, dilation, padding, by_taps",
    [
        ((8, 9), (3, 3), (4, 4), [(4, 4), (4, 4)], True),
        ((5, 16), (3, 2), (6, 3), [(6, 7), (0, 2)], True),
        ((2, 1), (3, 3), (3, 3), [(3, 3), (3, 3)], True),
        ((4, 4), (3, 3), (1, 1), [(9, 0), (2, 3)], True),
        ((9, 8), (3, 3), (1, 1), [(1, 1), (1, 1)], False),
        ((2, 8), (3, 3), (1, 1), [(0, 0), (3, 3)], False),
    ],
)
def test_convolution_that_sees_little_is_xlas(space, kernel, dilation, padding, by_taps):
    """Tap by tap where many lie beside the image, some wholly: outputs and gradients.

    The last image is too small for any output.
    """

    def ours(x, w):
        return convolve(x, w, padding, dilation=dilation)

    def xlas(x, w):
        # Padded by hand: of more zeros than its kernel is wide, XLA's gradient on CPU was wrong.
        return jax.lax.conv_general_dilated(
            jnp.pad(x, [(0, 0), *padding, (0, 0)]),
            w,
            (1, 1),
            "VALID",
            rhs_dilation=dilation,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    x, w = _random(2, *space, 3), _random(*kernel, 3, 4, seed=1)
    compiled = jax.jit(ours).trace(x, w).lower(lowering_platforms=("cpu",)).as_text()
    assert ("stablehlo.convolution" not in compiled) == by_taps
    _assert_same(ours, xlas, x, w)


def _assert_same(ours, theirs, x, w):
    weight = _random(*jax.eval_shape(theirs, x, w).shape, seed=2)

    @partial(jax.jit, static_argnums=0)
    def with_gradients(convolution, x, w):
        y, pull = jax.vjp(convolution, x, w)
        return y, pull(weight)

    found, expected = with_gradients(ours, x, w), with_gradients(theirs, x, w)
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-4)


def test_batch_norm_trains_as_torch():
    torch = pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")
    x = _random(3, 4, 5, 6) * 2 + 1
    layer = BatchNorm(train=True)
    variables = layer.init(jax.random.key(0), x)
    ours, updated = layer.apply(variables, x, mutable=["batch_stats"])
    reference = torch.nn.BatchNorm2d(6).train()
    theirs = reference(torch.tensor(x.transpose(0, 3, 1, 2))).permute(0, 2, 3, 1)
    np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-5, atol=1e-5)
    stats = updated["batch_stats"]
    np.testing.assert_allclose(stats["mean"], reference.running_mean, rtol=1e-5, atol=1e-6)
    # The running variance is the unbiased one: 60 values, so 60 / 59 of the biased.
    np.testing.assert_allclose(stats["var"], reference.running_var, rtol=1e-6)


def test_batch_norm_of_a_single_value_is_refused_as_in_torch():
    norm, x = BatchNorm(train=True), jnp.ones((1, 1, 1, 3))
    variables = norm.init(jax.random.key(0), x)
    with pytest.raises(UserError, match=r"single value in training .* shape \(1, 1, 1, 3\)"):
        norm.apply(variables, x, mutable=["batch_stats"])
    norm.apply(variables, jnp.ones((2, 1, 1, 3)), mutable=["batch_stats"])


def test_batch_norm_running_variance_is_unbiased_over_all_devices():
    x = _random(8, 3, seed=2)

    def run(shard):
        layer = BatchNorm(train=True, axis_name="device")
        variables = {
            "params": {"scale": jnp.ones(3), "bias": jnp.zeros(3)},
            "batch_stats": {"mean": jnp.zeros(3), "var": jnp.ones(3)},
        }
        return layer.apply(variables, shard, mutable=["batch_stats"])

    y, stats = jax.pmap(run, axis_name="device")(x.reshape(4, 2, 3))
    expected = 0.9 + 0.1 * x.var(0, ddof=1)
    np.testing.assert_allclose(stats["batch_stats"]["var"][0], expected, rtol=1e-5)
    np.testing.assert_allclose(
        np.asarray(y).reshape(8, 3),
        (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5),
        rtol=1e-4,
        atol=1e-5,
    )


def test_dropout_mask_belongs_to_the_example_not_to_the_device():
    x = np.ones((8, 50), np.float32)
    key = jax.random.key(3)

    def drop(shard, axis_name):
        layer = Dropout(0.4, train=True, axis_name=axis_name)
        return layer.apply({}, shard, rngs={"dropout": key})

    one = drop(x, None)
    many = jax.pmap(lambda s: drop(s, "device"), axis_name="device")(x.reshape(4, 2, 50))
    np.testing.assert_array_equal(one, np.asarray(many).reshape(8, 50))
    assert len({row.tobytes() for row in np.asarray(one)}) == 8
    np.testing.assert_allclose(np.unique(one), [0, 1 / 0.6], rtol=1e-6)
    np.testing.assert_allclose(np.mean(np.asarray(one) > 0), 0.6, atol=0.08)


@pytest.mark.parametrize("size", [(10, 14), (9, 11), (5, 7)])
def test_upsampling_as_torch(size):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")
    x = _random(2, 5, 7, 3)
    theirs = torch.nn.functional.interpolate(torch.tensor(x.transpose(0, 3, 1, 2)), size=size)
    np.testing.assert_array_equal(upsample_nearest(x, size), theirs.permute(0, 2, 3, 1))


def test_aspp_refuses_rates_that_the_map_cannot_show():
    check_rates((1, 7), side=15)  # 2 * 7 + 1 = 15 taps just fit
    with pytest.raises(UserError, match=r"\[8\] are too large for a 15x15"):
        check_rates((1, 8), side=15)
    x = jnp.ones((1, 16, 16, 4))
    with pytest.raises(UserError, match="Rates up to 7 fit"):
        ASPP(features=4, rates=(12,)).init(jax.random.key(0), x)
    module = ASPP(features=4, rates=(12,), allow_degenerate=True)
    variables = module.init(jax.random.key(0), x)
    chex.assert_shape(module.apply(variables, x), (1, 16, 16, 4))


def test_degenerate_aspp_branch_is_a_pointwise_one():
    """Why they are refused: at a rate beyond the map only the kernel's centre reads pixels."""
    x = jnp.asarray(_random(1, 6, 6, 2))
    kernel = _random(3, 3, 2, 3, seed=4)
    wide = Conv(3, (3, 3), dilation=(6, 6)).apply({"params": {"kernel": kernel}}, x)
    centre = Conv(3, (1, 1)).apply({"params": {"kernel": kernel[1:2, 1:2]}}, x)
    np.testing.assert_allclose(wide, centre, rtol=1e-5, atol=1e-6)
