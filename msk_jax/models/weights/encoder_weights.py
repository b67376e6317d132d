"""Weights of a torchvision ResNet for the encoder within a larger network."""

from collections.abc import Mapping, Sequence

import numpy as np

from msk_jax.models.weights.torch_weights import (
    InflationRule,
    inflate_stem,
    load_torch,
    to_flax,
    to_torch,
    unwrapped,
)


def load_encoder(
    variables: Mapping,
    state: Mapping[str, np.ndarray],
    rule: InflationRule | None = "mean",
    size: Sequence[int] | None = None,
) -> dict:
    """`variables` with the ResNet encoder's tensors replaced by those of a torchvision state dict.

    Args:
        variables: `{"params": {"encoder": ..., ...}, "batch_stats": {"encoder": ..., ...}}`.
        state: torchvision's names and layouts. Its classifier `fc` is not used.
        rule: how a stem for colours becomes one for slices (`inflate_stem`), also where three
            slices are as many as the colours; None takes it as it is.
        size: of the pictures; not used, for an encoder takes any.

    Raises:
        UserError: lists every missing, extra and misshapen tensor.
    """
    encoder = {kind: variables[kind]["encoder"] for kind in ("params", "batch_stats")}
    state = unwrapped(state, encoder)
    state = {name: v for name, v in state.items() if not name.startswith("fc.")}
    stem = np.asarray(state.get("conv1.weight", np.zeros(0)))
    if rule is not None and stem.ndim == 4 and stem.shape[1] == 3:
        slices = encoder["params"]["conv1"]["kernel"].shape[-2]
        kernel = inflate_stem(to_flax("kernel", stem), slices, rule)
        state["conv1.weight"] = to_torch("kernel", kernel)
    loaded = load_torch(encoder, state)
    return {
        kind: {**tree, "encoder": loaded[kind]} if kind in loaded else tree
        for kind, tree in variables.items()
    }
