"""`msk-jax convert`: weights from PyTorch to a folder of ours, and back."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file, save_file

from msk_jax import console
from msk_jax.errors import UserError
from msk_jax.models.network import Architecture, Network, variable_shapes
from msk_jax.models.registry import architecture, create
from msk_jax.models.weights.torch_weights import (
    COUNTER,
    InflationRule,
    Naming,
    buffers,
    dump_torch,
    in_our_names,
    load_torch,
    recognise,
    unwrapped,
)
from msk_jax.models.weights.weight_files import read_state_dict, write_state_dict
from msk_jax.training.checkpoints import Checkpoints

EXTRAS_NAME = "extras.safetensors"  # counters and index tables, which are no weights
_CONTENT = {"model": str, "settings": {str: (int, bool)}, "size": [int], "naming": str}


@dataclasses.dataclass(frozen=True)
class Converted:
    """A network of the registry with the weights of a file."""

    model: str
    settings: dict
    """Its fields for `create`."""
    size: tuple[int, ...]
    """Of the input that the weights are for."""
    naming: str
    """Whose names the weights had."""
    variables: dict
    """`params` and `batch_stats`; shapes where the file has no values."""
    extras: dict[str, np.ndarray]
    """Counters and index tables by our names."""
    resampled: bool = False
    """Whether weights that depend on the input's size were made for another one."""


def to_flax(source: Path, out: Path, model: str, **wishes) -> None:
    """Read a PyTorch state dict and write an orbax checkpoint of `{"params", "batch_stats"}`.

    `wishes`: as of `convert`.
    """
    if not model:
        raise UserError(
            "Say which network the file holds, as --model resnet50; `msk-jax models` lists them."
        )
    entry = architecture(model)
    _refuse_used(out)
    state = read_state_dict(source)
    found = convert(model, state, **wishes)
    said = _said(entry, found)
    content = {key: getattr(found, key) for key in _CONTENT}
    with Checkpoints(out) as checkpoints:
        checkpoints.save(0, _complete(found), {**content, "size": list(found.size)})
    save_file({k: np.ascontiguousarray(v) for k, v in found.extras.items()}, out / EXTRAS_NAME)
    console.say(f"{model} with {found.settings['num_classes']} classes is in {out}.{said}")


def convert(
    model: str,
    state: Mapping[str, np.ndarray],
    num_classes: int | None = None,
    in_channels: int | None = None,
    rule: InflationRule = "mean",
    naming: str = "",
    size: Sequence[int] = (),
) -> Converted:
    """The weights of a PyTorch state dict in a network of the registry.

    Args:
        model: name of the network.
        state: PyTorch's names and layouts.
        num_classes: of the head, which starts afresh where the state has another number.
        in_channels: of the input, to which the first convolution is fitted.
        rule: of that fitting.
        naming: whose names the state has; found out if empty.
        size: of the input in pixels, for weights that depend on it; by default the native one.

    Raises:
        UserError: the weights do not fit the network, or there is no such network.
    """
    entry, usual = architecture(model), create(model)
    size = tuple(size) or entry.size
    empty = _shapes(usual, size)
    state = unwrapped(state, empty, entry.known_namings.values(), entry.aliases)
    naming = naming or recognise(entry, state, empty)
    pairs = _pairs(entry, naming)
    fitted = entry.fit(state, size) if entry.fit else state
    resampled = any(np.shape(fitted[name]) != np.shape(state[name]) for name in state)
    given = in_our_names(fitted, pairs, entry.aliases)
    settings = {"num_classes": num_classes, "in_channels": in_channels}
    if num_classes is None:
        # Of the bias: a kernel has its classes first or, transposed, second.
        heads = [f"{module}.bias" for module in entry.head]
        settings["num_classes"] = _length(given, heads, 0, usual.num_classes)
    if in_channels is None:
        settings["in_channels"] = _length(given, [f"{entry.stem}.weight"], 1, usual.in_channels)
    if entry.auxiliary:
        settings["auxiliary"] = any(name.startswith(f"{entry.auxiliary}.") for name in given)
    if entry.told:
        settings |= entry.told(given)
    empty = _shapes(create(model, **settings), size)
    variables = load_torch(empty, fitted, pairs, entry.head, entry.stem, rule, entry.aliases)
    extras = buffers(empty, given)
    return Converted(model, settings, size, naming, variables, extras, resampled)


def _said(entry: Architecture, found: Converted) -> str:
    """What is not as it was in the file, in sentences."""
    said = ""
    if _is_headless(found):
        said += " The file has no head for so many classes: it starts afresh."
    if entry.auxiliary and not found.settings["auxiliary"]:
        said += (
            " The file has no auxiliary head, and so has the network none (--settings auxiliary 0)."
        )
    if found.resampled:
        said += (
            f" What depends on the input's size was resampled for "
            f"{' x '.join(map(str, found.size))} pixels; --size chooses another."
        )
    return said


def _is_headless(found: Converted) -> bool:
    leaves = jax.tree.leaves(found.variables)
    return any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves)


def _complete(found: Converted) -> dict:
    """The variables; what the file has no values for starts at random."""
    if not _is_headless(found):
        return found.variables
    network = create(found.model, **found.settings)
    x = jnp.zeros((1, *found.size, network.in_channels))
    fresh = jax.jit(network.init)(jax.random.key(0), x)
    return jax.tree.map(
        lambda loaded, own: own if isinstance(loaded, jax.ShapeDtypeStruct) else loaded,
        found.variables,
        {kind: fresh[kind] for kind in found.variables},
    )


@lru_cache(maxsize=2)
def _shapes(network: Network, size: tuple[int, ...]) -> dict:
    """The variables as shapes."""
    return variable_shapes(
        network, jax.ShapeDtypeStruct((1, *size, network.in_channels), jnp.float32)
    )


def load(folder: Path) -> Converted:
    """What `to_flax` wrote.

    Raises:
        UserError: the folder holds no such thing.
    """
    if not (folder / EXTRAS_NAME).is_file():
        raise UserError(
            f"{folder} is not a folder that `msk-jax convert torch-to-flax` wrote to its end. "
            "Give such a folder."
        )
    with Checkpoints(folder) as checkpoints:
        content = checkpoints.settings(0, _CONTENT)
        model, settings, size, naming = (content[key] for key in _CONTENT)
        like = _shapes(create(model, **settings), tuple(size))
        variables = checkpoints.restore(0, like)
    extras = load_file(folder / EXTRAS_NAME)
    return Converted(model, settings, tuple(size), naming, variables, extras)


def to_torch(source: Path, out: Path, naming: str) -> None:
    """Write the state dict of a folder that `to_flax` wrote; counters and tables as they came."""
    if out.exists():
        raise UserError(f"{out} exists, and nothing is written over. Give another --out.")
    found = load(source)
    state = state_dict(found, naming)
    write_state_dict(out, state)
    console.say(f"{len(state)} tensors of {found.model} are in {out}.")


def state_dict(found: Converted, naming: str = "") -> dict[str, np.ndarray]:
    """A PyTorch state dict of converted weights.

    Args:
        found: what `convert` or `load` gave.
        naming: whose names are wanted; the reference's own if empty.

    Raises:
        UserError: no such naming.
    """
    entry = architecture(found.model)
    pairs = _pairs(entry, naming or next(iter(entry.known_namings)))
    if _pairs(entry, found.naming) == pairs:
        return dump_torch(found.variables, pairs, entry.aliases, found.extras)
    # Not everyone has the same tables; counters everyone has.
    counters = {name: v for name, v in found.extras.items() if name.endswith(COUNTER)}
    state = dump_torch(found.variables, pairs, entry.aliases, counters)
    return state | entry.index_tables(state) if entry.index_tables and not pairs else state


def _pairs(entry: Architecture, naming: str) -> Naming:
    known = entry.known_namings
    if naming not in known:
        raise UserError(
            f"No names of {naming!r} are known for this network; known: {', '.join(known)}."
        )
    return known[naming]


def _length(given: Mapping, names: Sequence[str], axis: int, default: int) -> int:
    """Of an axis of the first of these tensors that is there and has it."""
    shapes = (given[name].shape for name in names if name in given)
    return next((shape[axis] for shape in shapes if len(shape) > axis), default)


def _refuse_used(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not a new or empty folder. Give another --out.")
