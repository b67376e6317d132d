"""Transposed convolutions against PyTorch's, computed in every way."""

import jax
import numpy as np
import pytest

from msk_jax.models.blocks import transposed

CASES = [
    # spatial, kernel, strides, padding, output_padding
    ((5, 4), (2, 2), (2, 2), (0, 0), (0, 0)),
    ((5, 4), (3, 3), (2, 2), (1, 1), (1, 1)),
    ((4, 5), (4, 4), (2, 2), (1, 1), (0, 0)),
    ((5, 4), (2, 5), (3, 1), (0, 2), (2, 0)),
    ((5, 4), (1, 2), (1, 2), (0, 0), (0, 1)),
    ((3, 4, 2), (2, 2, 1), (2, 2, 1), (0, 0, 0), (0, 0, 0)),
    ((3, 4, 2), (3, 3, 3), (2, 1, 2), (1, 1, 1), (1, 0, 1)),
]


@pytest.mark.parametrize("way", ["_by_phases", "_by_product", "other"])
@pytest.mark.parametrize(("spatial", "kernel", "strides", "padding", "extra"), CASES)
def test_transposed_convolution_and_its_gradients(
    monkeypatch, way, spatial, kernel, strides, padding, extra
):
    torch = pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")
    if way == "other":
        monkeypatch.setattr(
            transposed.lax, "platform_dependent", lambda *args, cpu, default: default(*args)
        )
    else:
        for name in ("_by_phases", "_by_product"):
            monkeypatch.setattr(transposed, name, getattr(transposed, way))
    rng, rank = np.random.default_rng(0), len(spatial)
    x, w = rng.normal(size=(2, *spatial, 3)), rng.normal(size=(*kernel, 3, 2))
    to_torch = (rank, rank + 1, *range(rank))
    torch_x = torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)
    torch_w = torch.tensor(w.transpose(to_torch).copy(), requires_grad=True)
    function = getattr(torch.nn.functional, f"conv_transpose{rank}d")
    y = function(torch_x, torch_w, stride=strides, padding=padding, output_padding=extra)
    target = rng.normal(size=y.shape)
    y.backward(torch.tensor(target))

    with jax.enable_x64(True):
        ours, vjp = jax.jit(
            lambda x, w: jax.vjp(
                lambda x, w: transposed.conv_transpose(x, w, strides, padding, extra), x, w
            )
        )(x, w)
        dx, dw = vjp(np.moveaxis(target, 1, -1).astype(np.float64))
    np.testing.assert_allclose(ours, np.moveaxis(y.detach().numpy(), 1, -1), atol=1e-12)
    np.testing.assert_allclose(dx, np.moveaxis(torch_x.grad.numpy(), 1, -1), atol=1e-12)
    np.testing.assert_allclose(
        np.transpose(dw, (rank, rank + 1, *range(rank))), torch_w.grad.numpy(), atol=1e-12
    )
