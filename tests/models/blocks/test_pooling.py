"""Pooling and its gradients against PyTorch's, the way of every processor."""

from itertools import product

import jax
import numpy as np
import pytest

from msk_jax.models.blocks import pooling

torch = pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")

CASES = [
    # spatial, window, stride, padding
    ((7, 9), 3, 2, 1),
    ((7, 8), 2, 2, 0),
    ((5, 6), 3, 1, 1),
    ((6, 7), 3, 2, 0),
    ((9, 8), (5, 2), (3, 1), (2, 0)),
    ((7, 8), (7, 8), 1, 0),  # more places than are computed one by one
    ((4, 5, 6), 2, 2, 0),
    ((5, 4, 6), 3, 2, 1),
    ((3, 6, 7), (1, 3, 3), (1, 2, 2), (0, 1, 1)),
]


def channels_first(x):
    return torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)


def channels_last(x):
    return np.moveaxis(x.detach().numpy(), 1, -1)


@pytest.fixture(params=["cpu", "other"])
def processor(request, monkeypatch):
    if request.param == "other":
        monkeypatch.setattr(
            pooling.lax, "platform_dependent", lambda *args, cpu, default: default(*args)
        )


@pytest.mark.parametrize(("spatial", "window", "stride", "padding"), CASES)
def test_of_every_kind(processor, spatial, window, stride, padding):
    """Whole numbers of which most are 0, as after a rectifier: many windows have several maxima."""
    rng, rank = np.random.default_rng(0), len(spatial)
    x = np.maximum(rng.integers(-4, 4, size=(2, *spatial, 3)), 0).astype(np.float64)
    functions = torch.nn.functional
    kinds = {
        "max": (getattr(functions, f"max_pool{rank}d"), pooling.max_pool, ({},)),
        "mean": (
            getattr(functions, f"avg_pool{rank}d"),
            pooling.avg_pool,
            ({}, {"count_include_pad": False}) if np.any(padding) else ({},),
        ),
    }
    for theirs, ours, settings in kinds.values():
        for setting in settings:
            there = channels_first(x)
            y = theirs(there, window, stride, padding, **setting)
            target = rng.normal(size=y.shape)
            y.backward(torch.tensor(target))
            named = {"count_padding": False} if setting else {}
            with jax.enable_x64(True):
                value, vjp = jax.jit(
                    lambda x, ours=ours, named=named: jax.vjp(
                        lambda x: ours(x, window, stride, padding, **named), x
                    )
                )(x)
                (gradient,) = vjp(np.moveaxis(target, 1, -1).copy())
            np.testing.assert_allclose(value, channels_last(y), atol=1e-14)
            np.testing.assert_allclose(gradient, channels_last(there.grad), atol=1e-14)


@pytest.mark.parametrize("place", list(product((0, 1, 2), (0, 3, 4))))
def test_what_is_not_a_number_stays(place):
    """Or a loss that is not finite would pass unseen through the next pooling."""
    x = np.random.default_rng(0).normal(size=(1, 5, 5, 1)).astype(np.float32)
    x[(0, *place, 0)] = np.nan
    expected = torch.nn.functional.max_pool2d(channels_first(x), 3, 2, 1)
    for found in (
        pooling.max_pool(x, 3, 2, 1),
        jax.vjp(lambda x: pooling.max_pool(x, 3, 2, 1), x)[0],
    ):
        np.testing.assert_array_equal(np.isnan(found), np.isnan(channels_last(expected)))
