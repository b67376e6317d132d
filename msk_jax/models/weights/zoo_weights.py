"""Weights of others for a network of the registry that an experiment trains."""

from collections.abc import Mapping, Sequence

import numpy as np

from msk_jax.models.registry import architecture
from msk_jax.models.weights.torch_weights import load_torch, recognise, rename, unwrapped


def load_network(
    name: str,
    variables: Mapping,
    state: Mapping[str, np.ndarray],
    size: Sequence[int] | None = None,
) -> dict:
    """`variables` with the tensors of a PyTorch state dict, see `torch_weights.load_torch`.

    The head keeps its own values where the classes differ; an auxiliary head that the network has
    not is left out.

    Args:
        name: of the network.
        variables: of the network.
        state: in any of the network's namings.
        size: height and width of the pictures, to which weights that depend on it are fitted.
    """
    entry = architecture(name)
    state = unwrapped(state, variables, entry.known_namings.values(), entry.aliases)
    if entry.fit and size is not None:
        state = entry.fit(state, size)
    pairs = entry.known_namings[recognise(entry, state, variables)]
    if entry.auxiliary and entry.auxiliary not in variables["params"]:
        state = {
            key: tensor
            for key, tensor in state.items()
            if not rename(key, pairs).startswith(f"{entry.auxiliary}.")
        }
    return load_torch(variables, state, pairs, entry.head, entry.stem, aliases=entry.aliases)
