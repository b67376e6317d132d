"""PyTorch weights into our networks and back.

A module of ours is called what PyTorch's is called, dots included, so the path of a parameter is
its name there; only the last part differs, and the layout of kernels. Weights under other names
(timm's where the reference is torchvision's) go through a `Naming`.

Nothing here imports torch; files are read and written by `weight_files`.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from msk_jax.errors import UserError

_LEAVES = {
    "kernel": "weight",
    "up_kernel": "weight",
    "scale": "weight",
    "mean": "running_mean",
    "var": "running_var",
}
COUNTER = "num_batches_tracked"
_COUNTED = ("var", "running_var_target")  # beside one of these PyTorch keeps a counter
_TABLES = ("relative_position_index", "attn_mask")  # follow from the sizes alone
InflationRule = Literal["mean", "centre"]
Naming = Sequence[tuple]
"""Pairs (their prefix, our prefix) of module names; `{i}` stands for a number. The first pair that
fits a name at a dot or at its end is used, a name that none fits stays. Where they have a
convolution and we a dense layer of the same numbers, a third item is the kernel's size there:
`("pre_logits.fc1", "classifier.0", (7, 7))`."""


def torch_name(path: Sequence[str]) -> str:
    """PyTorch's name of one of our tensors.

    `("layer1.0", "downsample.0", "kernel")` -> `"layer1.0.downsample.0.weight"`.
    """
    *modules, leaf = path
    return ".".join([*modules, _LEAVES.get(leaf, leaf)])


def to_flax(leaf: str, tensor: np.ndarray) -> np.ndarray:
    """PyTorch's layout to ours: `[out, in, *space]` -> `[*space, in, out]` for kernels."""
    if leaf not in ("kernel", "up_kernel"):
        return tensor
    channels = (1, 0) if leaf == "kernel" else (0, 1)
    return np.transpose(tensor, (*range(2, tensor.ndim), *channels))


def to_torch(leaf: str, tensor: np.ndarray) -> np.ndarray:
    """Our layout to PyTorch's; the inverse of `to_flax`."""
    if leaf not in ("kernel", "up_kernel"):
        return tensor
    rank = tensor.ndim
    channels = (rank - 1, rank - 2) if leaf == "kernel" else (rank - 2, rank - 1)
    return np.transpose(tensor, (*channels, *range(rank - 2)))


def rename(name: str, naming: Naming, backwards: bool = False) -> str:
    """A name of theirs in our words, or the other way round."""
    for theirs, ours, *_ in naming:
        old, new = (ours, theirs) if backwards else (theirs, ours)
        pattern = re.escape(old).replace(r"\{i\}", r"(\d+)").replace(r"\{j\}", r"(\d+)")
        match = re.match(rf"{pattern}(?=\.|$)", name)
        if match:
            numbers = dict(zip(re.findall(r"\{([ij])\}", old), match.groups(), strict=True))
            return new.format(**numbers) + name[match.end() :]
    return name


def _names(variables: Mapping) -> dict[tuple[str, ...], str]:
    """(collection, *path) -> PyTorch's name, for parameters and batch statistics."""
    return {
        (kind, *path): torch_name(path)
        for kind in ("params", "batch_stats")
        for path in flatten_dict(dict(variables.get(kind, {})))
    }


def in_our_names(
    state: Mapping[str, np.ndarray], naming: Naming = (), aliases: Naming = ()
) -> dict[str, np.ndarray]:
    """A state dict under the names of our tensors.

    Args:
        state: PyTorch's names and layouts.
        naming: how the state's names become ours.
        aliases: second names (theirs, ours) of the same tensors; read where the first is missing.
    """
    given = {rename(name, naming): np.asarray(v) for name, v in unwrapped(state).items()}
    for name in [n for n in given if rename(n, aliases) != n]:
        given.setdefault(rename(name, aliases), given.pop(name))
    return given


def buffers(variables: Mapping, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What belongs to the network without being a weight: counters of batches, index tables.

    Args:
        variables: `{"params": ..., "batch_stats": ...}` of a network, or their shapes.
        given: a state dict `in_our_names`.
    """
    names = _names(variables)
    counters = set(_counters(names).values())
    modules = {".".join(key[1:end]) for key in names for end in range(2, len(key))}

    def belongs(name: str) -> bool:
        module, _, last = name.rpartition(".")
        return name in counters or (last in _TABLES and module in modules)

    return {name: tensor for name, tensor in given.items() if belongs(name)}


def _counters(names: Mapping[tuple[str, ...], str]) -> dict[tuple[str, ...], str]:
    """Running variance -> the counter beside it, where the norm learns.

    Of a frozen norm the scale is a statistic too, and nothing counts its batches.
    """
    return {
        key: ".".join([*key[1:-1], COUNTER])
        for key in names
        if key[-1] in _COUNTED and (*key[:-1], "scale") not in names
    }


def load_torch(
    variables: Mapping,
    state: Mapping[str, np.ndarray],
    naming: Naming = (),
    head: Sequence[str] = (),
    stem: str = "",
    rule: InflationRule = "mean",
    aliases: Naming = (),
) -> dict:
    """`variables` with all tensors replaced by those of a PyTorch state dict.

    Args:
        variables: `{"params": ..., "batch_stats": ...}` of a network.
        state: PyTorch's names and layouts. Its `buffers` are not used.
        naming: how the state's names become ours.
        head: modules of the classifier (our names); they keep the network's own values where the
            classes differ, and where the state has none of them.
        stem: the first convolution (our name), fitted by `inflate_stem` where the channels differ.
        rule: of that fitting.
        aliases: second names (theirs, ours) of the same tensors; read where the first is missing.

    Raises:
        UserError: lists every missing, extra and misshapen tensor.
    """
    given = in_our_names(state, naming, aliases)
    names, flat, faults = _names(variables), flatten_dict(dict(variables)), []
    kernel_sizes, classes = _kernel_sizes(naming), defaultdict(set)
    headless = not any(_within(name, head) for name in given)
    for key, name in names.items():
        is_head, shape = _within(name, head), flat[key].shape
        if name not in given:
            if not (is_head and headless):
                faults.append(f"missing: {name}")
            continue
        tensor = _in_our_layout(key[-1], given[name], len(shape), kernel_sizes.get(name))
        if tensor is not None and name == f"{stem}.weight" and tensor.shape[-2] != shape[-2]:
            tensor = inflate_stem(tensor, shape[-2], rule)
        if is_head and tensor is not None and tensor.shape[:-1] == shape[:-1]:
            classes[name.rpartition(".")[0]].add(tensor.shape[-1])
        elif tensor is None or tensor.shape != shape:
            faults.append(f"{name} {_misfit(key[-1], given[name], shape)}")
        if tensor is not None and tensor.shape == shape:
            # float64 stays, for comparisons in double precision
            flat[key] = np.ascontiguousarray(tensor)
    for module, counts in classes.items():
        if len(counts) > 1:
            several = " and for ".join(map(str, sorted(counts)))
            faults.append(f"{module} has tensors for {several} classes")
    known = {*names.values(), *buffers(variables, given)}
    faults += [f"not of this network: {name}" for name in given if name not in known]
    if faults:
        raise UserError(
            "These weights do not fit the network; check that the file is of this architecture, "
            "its size and its naming:\n  " + "\n  ".join(sorted(faults))
        )
    return unflatten_dict(flat)


def _kernel_sizes(naming: Naming) -> dict[str, tuple[int, ...]]:
    """Our dense kernels that are convolutions of this size in a naming."""
    return {f"{ours}.weight": size for _, ours, *sizes in naming for size in sizes}


def _in_our_layout(
    leaf: str, tensor: np.ndarray, rank: int, kernel_size: tuple[int, ...] | None
) -> np.ndarray | None:
    """Nothing where it is no tensor of fractions with that many axes."""
    if kernel_size is not None and tensor.shape[2:] == kernel_size:
        tensor = tensor.reshape(len(tensor), -1)
    if tensor.ndim != rank or tensor.dtype.kind != "f":
        return None
    return to_flax(leaf, tensor)


def _misfit(leaf: str, tensor: np.ndarray, shape: Sequence[int]) -> str:
    if tensor.dtype.kind != "f":
        return f"holds {tensor.dtype}, this network needs fractions"
    needed = to_torch(leaf, np.broadcast_to(0, shape)).shape
    return f"has shape {tensor.shape}, this network needs {needed}"


def dump_torch(
    variables: Mapping,
    naming: Naming = (),
    aliases: Naming = (),
    own_buffers: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """A PyTorch state dict of a network's variables, batch counters (at 0) included.

    Args:
        variables: `{"params": ..., "batch_stats": ...}`.
        naming: whose names are wanted; empty for the reference's own.
        aliases: second names (theirs, ours) under which the tensors are listed once more.
        own_buffers: counters and tables by our names, see `buffers`.
    """
    flat, kernel_sizes, state = flatten_dict(dict(variables)), _kernel_sizes(naming), {}
    names = _names(variables)
    counters = _counters(names)
    for key, name in names.items():
        tensor = to_torch(key[-1], np.asarray(flat[key]))
        if name in kernel_sizes:
            tensor = tensor.reshape(len(tensor), -1, *kernel_sizes[name])
        state[name] = np.ascontiguousarray(tensor)
        if key in counters:
            state[counters[key]] = np.zeros((), np.int64)
    state |= own_buffers or {}
    state = {rename(name, naming, backwards=True): tensor for name, tensor in state.items()}
    again = {rename(name, aliases, backwards=True): tensor for name, tensor in state.items()}
    return {**again, **state}


def recognise(architecture, state: Mapping, variables: Mapping) -> str:
    """The naming of a state dict: the one under which most of the network's tensors are found.

    Args:
        architecture: an entry of the registry.
        state: PyTorch's names.
        variables: of the network, or their shapes.

    Returns:
        A key of `architecture.known_namings`; the reference's own where none is better.
    """
    names, known = set(_names(variables).values()), architecture.known_namings

    def found(naming: str) -> int:
        return len(names & in_our_names(state, known[naming], architecture.aliases).keys())

    return max(known, key=found)


def _within(name: str, modules: Sequence[str]) -> bool:
    return any(name.startswith(f"{module}.") for module in modules)


def unwrapped(state: Mapping) -> Mapping:
    """Without the `module.` that data-parallel training puts before every name."""
    if state and all(name.startswith("module.") for name in state):
        return {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return state


def inflate_stem(kernel: np.ndarray, num_slices: int, rule: InflationRule = "mean") -> np.ndarray:
    """A stem for `num_slices` neighbouring slices from one for red, green and blue, or for grey.

    Args:
        kernel: `[*space, channels, out]`.
        rule: `mean` gives every slice the same share, `centre` weighs slice k by
            exp(-(k - c)^2 / 2). Either way the slices' kernels sum to the colours' sum, so a stack
            of equal slices gives the pretrained answer to a grey picture.

    Returns:
        `[*space, num_slices, out]`.
    """
    grey = kernel.sum(axis=-2, keepdims=True)
    offsets = np.arange(num_slices) - (num_slices - 1) / 2
    share = np.exp(-(offsets**2) / 2) if rule == "centre" else np.ones(num_slices)
    share = (share / share.sum()).astype(kernel.dtype)
    return grey * share[:, None]
