"""A block of ours beside the same block in torch, in double precision."""

import jax
import jax.numpy as jnp
import numpy as np

from msk_jax.models.network import variable_shapes
from msk_jax.models.weights.torch_weights import dump_torch, load_torch
from msk_jax.parity.compare import relative_error, worst
from msk_jax.parity.references import channels_last, randomise, state_of


def block_errors(module, reference, *inputs, train=True, naming=()) -> dict[str, float]:
    """Relative errors of one pass: every output, every gradient, every running statistic.

    Args:
        module: ours, in the mode that `train` says.
        reference: the `torch.nn.Module`; its weights are randomised and become ours.
        *inputs: arrays or lists of arrays, channels last, handed to both.
        train: whether the reference is in training mode.
        naming: how the reference's names become ours.

    Returns:
        `output`, `inputs` (gradients), `gradients` (of the parameters), `statistics`.
    """

    randomise(reference)
    empty = variable_shapes(module, *inputs)
    state = state_of(reference)
    variables = load_torch(empty, state, naming)
    back = dump_torch(variables, naming)
    for name, tensor in state.items():
        np.testing.assert_array_equal(back[name], tensor, err_msg=name)
    reference.double().train(train)

    tensors = jax.tree.map(lambda a: _tensor(a).requires_grad_(), inputs)
    expected = jax.tree.leaves(reference(*tensors))
    rng = np.random.default_rng(7)
    weights = [rng.normal(size=channels_last(value).shape) for value in expected]
    sum((v * _tensor(w)).sum() for v, w in zip(expected, weights, strict=True)).backward()

    with jax.enable_x64(True):
        variables = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), variables)
        stats = variables.get("batch_stats", {})

        def loss(params, inputs):
            values, updated = module.apply(
                {"params": params, "batch_stats": stats}, *inputs, mutable=["batch_stats"]
            )
            values = jax.tree.leaves(values)
            total = sum(jnp.sum(v * w) for v, w in zip(values, weights, strict=True))
            return total, (values, updated)

        inputs = jax.tree.map(jnp.asarray, inputs)
        grads, (values, updated) = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(
            variables.get("params", {}), inputs
        )
    theirs = {n: p.grad.numpy() for n, p in reference.named_parameters() if p.grad is not None}
    # The gradient of a bias before a norm is nothing but rounding.
    floor = 1e-3 * max((np.abs(g).max() for g in theirs.values()), default=0.0)
    errors = {
        "output": _worst(values, [channels_last(v) for v in expected]),
        "inputs": _worst(
            jax.tree.leaves(grads[1]), [channels_last(t.grad) for t in jax.tree.leaves(tensors)]
        ),
        "gradients": worst(grads[0], theirs, floor, naming),
    }
    if "batch_stats" in updated:
        after = state_of(reference)
        errors["statistics"] = worst(updated["batch_stats"], after, naming=naming)
    return errors


def _tensor(array):
    import torch

    array = np.asarray(array, np.float64)
    return torch.tensor(np.moveaxis(array, -1, 1).copy() if array.ndim > 3 else array)


def _worst(ours, theirs) -> float:
    return max(relative_error(a, b) for a, b in zip(ours, theirs, strict=True))


def check(errors: dict[str, float], limit: float = 1e-10) -> None:
    """All of them within what double precision leaves."""
    assert max(errors.values()) < limit, errors
