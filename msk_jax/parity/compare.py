"""How far a network of ours is from its reference: forward, backward, and over ten steps."""

import dataclasses
from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict

from msk_jax.models.network import Architecture, variable_shapes
from msk_jax.models.weights.torch_weights import Naming, load_torch, rename, to_flax, torch_name
from msk_jax.parity.detection import DetectorPair
from msk_jax.parity.pair import Pair, relative_error
from msk_jax.parity.references import build_reference, randomise, state_of, without_chance

STEPS = 10
# Of the loss that the first step would take away, were the loss a straight line.
SHARE = 0.25
# A tensor whose gradient is nothing but rounding (a bias before a norm) is measured against this
# share of the largest gradient of the network.
GRADIENT_FLOOR = 1e-6

_KINDS = {"logits": Pair, "detections": DetectorPair}


def make_pair(architecture: Architecture, size: tuple[int, ...], seed: int = 0, **settings) -> Pair:
    """A reference with random weights and ours with the same; neither with dropout.

    Args:
        architecture: an entry of the registry.
        size: spatial size of the input, for the shapes of the parameters.
        seed: of the reference's random weights.
        **settings: of the reference, in place of the entry's own.
    """
    import torch

    torch.manual_seed(seed)
    if architecture.size_setting:
        settings.setdefault(architecture.size_setting, size)
    reference = build_reference(architecture, **settings).eval()
    kind = _KINDS[architecture.returns]
    randomise(reference, seed)
    kind.prepare(reference)
    without_chance(reference)
    fields = {f.name for f in dataclasses.fields(architecture.network)}
    quiet = {name: 0.0 for name in fields if "drop" in name}
    model = architecture.network(**{**architecture.settings, **quiet})
    shape = jax.ShapeDtypeStruct((1, *size, model.in_channels), jnp.float32)
    empty = variable_shapes(model, shape)
    variables = load_torch(empty, state_of(reference), aliases=architecture.aliases)
    return kind(architecture, model, variables, reference)


def forward_errors(pair: Pair, size: tuple[int, ...], batch: int = 2, seed: int = 1) -> dict:
    """Relative error of the logits or detections and of every endpoint, evaluation mode."""
    return pair.forward_errors(pair.images(size, batch, seed))


def _gradients_of(pair: Pair):
    """`(params, stats, x, targets) -> ((loss, (parts, new stats)), gradients)` in training,
    compiled."""

    def loss_of(params, stats, x, targets):
        parts, stats = pair.losses(params, stats, x, targets)
        return sum(parts.values()), (parts, stats)

    return jax.jit(jax.value_and_grad(loss_of, has_aux=True))


def training_errors(pair: Pair, size: tuple[int, ...], batch: int = 2, seed: int = 2) -> dict:
    """One pass in training mode in double precision: loss, every gradient, every statistic.

    Double precision shows the formulas without the rounding, so that the smallest gradient of
    the network counts as much as the largest. The reference is left as it was.

    Returns:
        `loss`, `gradients` and `statistics`: the largest relative error of any tensor; `parts`, the
        errors of the losses that the loss is the sum of, by name.
    """
    before = {name: tensor.clone() for name, tensor in pair.reference.state_dict().items()}
    reference = pair.reference.double().train()
    x = pair.images(size, batch, seed, np.float64)
    expected, targets = pair.reference_losses(x, seed)
    reference.zero_grad()
    sum(expected.values()).backward()
    expected = {name: float(value.detach()) for name, value in expected.items()}
    gradients = {
        name: np.zeros(p.shape) if p.grad is None else p.grad.numpy()
        for name, p in reference.named_parameters()
    }
    statistics = state_of(reference)
    reference.float().eval().load_state_dict(before)
    with jax.enable_x64(True):
        variables = pair.arrays(jnp.float64)
        stats = variables.get("batch_stats", {})
        (loss, (parts, updated)), grads = _gradients_of(pair)(
            variables["params"], stats, x, targets
        )
    floor = GRADIENT_FLOOR * max(np.abs(g).max() for g in gradients.values())
    found = {
        "gradients": worst(grads, gradients, floor),
        "statistics": worst(updated, statistics),
    }
    parts = {name: relative_error(parts[name], expected[name]) for name in expected}
    return {"loss": abs(float(loss) / sum(expected.values()) - 1), "parts": parts, **found}


def worst(
    tree: Mapping, theirs: Mapping[str, np.ndarray], floor: float = 0.0, naming: Naming = ()
) -> float:
    """Largest `relative_error` of any tensor of a tree against theirs by PyTorch's names."""
    errors = [0.0]
    for path, value in flatten_dict(tree).items():
        other = theirs[rename(torch_name(path), naming, backwards=True)]
        errors.append(relative_error(value, to_flax(path[-1], other), floor))
    return max(errors)


def trajectory_errors(
    pair: Pair, size: tuple[int, ...], batch: int = 2, seed: int = 3
) -> dict[str, float]:
    """Largest relative difference of the losses of ten steps on the same batches.

    In double precision, and with a learning rate at which the first step would take away `SHARE` of
    the first loss: in single precision, or with longer steps, what rounding does grows from step to
    step where batch norm divides by the spread of a few pixels, to some per cent of the loss of a
    deep network.

    Args:
        pair: the two networks.
        size: spatial size.
        batch: examples per step.
        seed: of the batches.

    Returns:
        By optimiser: `sgd` (momentum 0.9) and `adamw`.
    """
    import torch

    gradients = _gradients_of(pair)
    # Name, both makers, settings, and the power of the gradient that a first step's gain goes with:
    # a first step of Adam has the size of the learning rate along every axis.
    optimisers = (
        ("sgd", torch.optim.SGD, optax.sgd, {"momentum": 0.9}, 2),
        ("adamw", torch.optim.AdamW, optax.adamw, {"weight_decay": 1e-2}, 1),
    )
    errors = {}
    for name, theirs, ours, settings, power in optimisers:
        xs = [pair.images(size, batch, seed + step, np.float64) for step in range(STEPS)]
        optimiser = partial(theirs, **settings)
        rate, targets, expected = _reference_steps(pair, optimiser, power, xs, seed)
        with jax.enable_x64(True):
            losses = _steps(pair, gradients, ours(rate, **settings), xs, targets)
        errors[name] = float(np.max(np.abs(np.array(losses) / np.array(expected) - 1)))
    return errors


def _reference_steps(pair: Pair, make_optimiser, power: int, xs, seed: int) -> tuple:
    """Learning rate, targets and losses of the reference, which is left as it was."""
    before = {name: tensor.clone() for name, tensor in pair.reference.state_dict().items()}
    reference = pair.reference.double().train()
    optimiser, targets, losses = None, [], []
    for step, x in enumerate(xs):
        parts, target = pair.reference_losses(x, seed + step)
        loss = sum(parts.values())
        reference.zero_grad()
        loss.backward()
        targets.append(target)
        losses.append(float(loss.detach()))
        if optimiser is None:
            grads = (p.grad for p in reference.parameters() if p.grad is not None)
            rate = SHARE * losses[0] / sum(float((g.abs() ** power).sum()) for g in grads)
            optimiser = make_optimiser(reference.parameters(), lr=rate)
        optimiser.step()
    reference.float().eval().load_state_dict(before)
    return rate, targets, losses


def _steps(pair: Pair, gradients, optimiser, xs: list, targets: list) -> list[float]:
    """Our losses on these batches."""

    @jax.jit
    def update(grads, state, params):
        updates, state = optimiser.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    variables = pair.arrays(jnp.float64)
    params, stats = variables["params"], variables.get("batch_stats", {})
    state, losses = optimiser.init(params), []
    for x, target in zip(xs, targets, strict=True):
        (loss, (_, stats)), grads = gradients(params, stats, x, target)
        params, state = update(grads, state, params)
        losses.append(float(loss))
    return losses
