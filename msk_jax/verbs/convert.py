"""`msk-jax convert`: weights from PyTorch to a folder of ours, and back."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file, save_file

from msk_jax.errors import UserError
from msk_jax.models.network import Architecture, Network, variable_shapes
from msk_jax.models.registry import architecture, create
from msk_jax.models.torch_weights import (
    InflationRule,
    Naming,
    dump_torch,
    load_torch,
    recognise,
)
from msk_jax.models.weight_files import read_state_dict, write_state_dict
from msk_jax.training.checkpoints import Checkpoints
from msk_jax.verbs import console

EXTRAS_NAME = "extras.safetensors"  # counters and index tables, which are no weights


def to_flax(
    source: Path,
    out: Path,
    model: str,
    num_classes: int | None,
    in_channels: int | None,
    rule: InflationRule,
    naming: str,
) -> None:
    """Read a PyTorch state dict and write an orbax checkpoint of `{"params", "batch_stats"}`."""
    if not model:
        raise UserError(
            "Say which network the file holds, as --model resnet50; `msk-jax models` lists them."
        )
    entry = architecture(model)
    _refuse_used(out)
    state = read_state_dict(source)
    pairs = _pairs(entry, naming) if naming else recognise(entry, state)
    shapes = {our: np.shape(tensor) for our, tensor in _renamed(state, pairs).items()}
    settings = {
        "num_classes": num_classes or _axis(shapes, f"{entry.head[-1]}.weight", 0, 1000),
        "in_channels": in_channels or _axis(shapes, f"{entry.stem}.weight", 1, 3),
    }
    empty = _shapes(entry, create(model, **settings))
    variables = load_torch(empty, state, pairs, entry.head, entry.stem, rule, entry.aliases)
    if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(variables)):
        variables = _with_fresh_head(entry, create(model, **settings), variables)
    with Checkpoints(out) as checkpoints:
        checkpoints.save(0, variables, {"model": model, "settings": settings})
    extras = {
        name: np.asarray(tensor)
        for name, tensor in state.items()
        if np.asarray(tensor).dtype.kind != "f"
    }
    save_file(extras, out / EXTRAS_NAME)
    console.say(f"{model} with {settings['num_classes']} classes is in {out}.")


def load(folder: Path) -> tuple[str, dict, dict]:
    """What `to_flax` wrote.

    Returns:
        Name of the network, its settings for `create`, and its variables.

    Raises:
        UserError: the folder holds no such thing.
    """
    if not (folder / EXTRAS_NAME).is_file():
        raise UserError(
            f"{folder} is not a folder that `msk-jax convert torch-to-flax` wrote to its end. "
            "Give such a folder."
        )
    with Checkpoints(folder) as checkpoints:
        content = checkpoints.settings(0)
        name, settings = content["model"], content["settings"]
        like = _shapes(architecture(name), create(name, **settings))
        return name, settings, checkpoints.restore(0, like)


def _shapes(entry: Architecture, network: Network) -> dict:
    """The variables at the native size, as shapes."""
    x = jax.ShapeDtypeStruct((1, *entry.size, network.in_channels), jnp.float32)
    return variable_shapes(network, x)


def _with_fresh_head(entry: Architecture, network: Network, variables: dict) -> dict:
    """What the file has no values for starts at random."""
    x = jnp.zeros((1, *entry.size, network.in_channels))
    fresh = jax.jit(network.init)(jax.random.key(0), x)
    return jax.tree.map(
        lambda loaded, own: own if isinstance(loaded, jax.ShapeDtypeStruct) else loaded,
        variables,
        {kind: fresh[kind] for kind in variables},
    )


def to_torch(source: Path, out: Path, naming: str) -> None:
    """Write the state dict of a folder that `to_flax` wrote; counters and tables as they came."""
    if out.exists():
        raise UserError(f"{out} exists, and nothing is written over. Give another --out.")
    name, _, variables = load(source)
    entry = architecture(name)
    pairs = _pairs(entry, naming) if naming else ()
    state = dump_torch(variables, pairs, entry.aliases)
    state |= {
        key: value
        for key, value in load_file(source / EXTRAS_NAME).items()
        if not pairs or key in state
    }
    write_state_dict(out, state)
    console.say(f"{len(state)} tensors of {name} are in {out}.")


def _pairs(entry, naming: str) -> Naming:
    if naming not in entry.namings:
        known = ", ".join(entry.namings) or "none but the reference's own"
        raise UserError(f"No names of {naming!r} are known for this network; known: {known}.")
    return entry.namings[naming]


def _renamed(state, pairs: Naming) -> dict:
    from msk_jax.models.torch_weights import rename

    return {rename(name, pairs): tensor for name, tensor in state.items()}


def _axis(shapes: dict, name: str, axis: int, default: int) -> int:
    shape = shapes.get(name, ())
    return shape[axis] if len(shape) > axis else default


def _refuse_used(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not a new or empty folder. Give another --out.")
