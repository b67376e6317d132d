"""PyTorch weights into our networks and back.

A module of ours is called what PyTorch's is called, dots included, so the path of a parameter is
its name there; only the last part differs, and the layout of kernels. Weights under other names
(timm's where the reference is torchvision's) go through a `Naming`.

Nothing here imports torch; files are read and written by `weight_files`.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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
_AVERAGED = "n_averaged"  # a counter beside all names of an averaged model
_WRAPPERS = {"module", "_orig_mod", "model", "net", "network", ""}
"""Modules that hold a network and nothing else."""
_log = logging.getLogger(__name__)
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
    given = {rename(name, naming): np.asarray(v) for name, v in state.items()}
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
        UserError: lists every missing, extra and misshapen tensor, or those with NaN or infinity.
    """
    state = unwrapped(state, variables, [naming], aliases)
    check_finite(state)
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
    known = architecture.known_namings
    return max(
        known,
        key=lambda naming: _matches(state, variables, known[naming], architecture.aliases),
    )


def _matches(state: Mapping, variables: Mapping, naming: Naming, aliases: Naming) -> int:
    """How many of the network's tensors a state dict has under a naming."""
    return len(set(_names(variables).values()) & in_our_names(state, naming, aliases).keys())


def unwrapped(
    state: Mapping[str, np.ndarray],
    variables: Mapping,
    namings: Iterable[Naming] = ((),),
    aliases: Naming = (),
) -> Mapping[str, np.ndarray]:
    """A state dict without what wrappers put before every name, which is said in the log.

    Data-parallel training begins them with `module.`, `torch.compile` with `_orig_mod.`, Lightning
    with the attribute that holds the network, as `model.`, and one may lie in another.
    `swa_utils.AveragedModel` adds a counter. It is taken off only where more of the network's
    tensors are recognised then: names of some networks begin with `model.` too.

    Args:
        state: PyTorch's names.
        variables: of the network, or their shapes.
        namings: whose names the state may have.
        aliases: second names (theirs, ours) of the same tensors.

    Raises:
        UserError: all names begin with another word, as those of a part of a larger model, and fit
            without it.
    """
    namings = list(namings)

    def matches(names: Mapping) -> int:
        return max(_matches(names, variables, naming, aliases) for naming in namings)

    inner = {name: tensor for name, tensor in state.items() if name != _AVERAGED}
    best, taken_off, prefix, most = state, "", "", None
    while len(words := {name.partition(".")[:2] for name in inner}) == 1:
        ((word, dot),) = words
        if not dot:
            break
        most = matches(state) if most is None else most
        prefix += f"{word}."
        inner = {name.partition(".")[2]: tensor for name, tensor in inner.items()}
        if (count := matches(inner)) > most:
            best, taken_off, most = inner, prefix, count
    if not set(taken_off.split(".")) <= _WRAPPERS:
        raise UserError(
            f"All names of these weights begin with `{taken_off}`, as those of a part of a larger "
            "model, and they fit this network without it. Take it off: {name.removeprefix("
            f"{taken_off!r}): tensor for name, tensor in state.items()}}, and save that."
        )
    if taken_off:
        _log.warning("All names of these weights begin with `%s`, which is taken off.", taken_off)
    return best


def check_finite(state: Mapping[str, np.ndarray], where: str = "These weights") -> None:
    """Raises UserError where weights hold NaN or infinity, naming every such tensor.

    Args:
        state: tensors by name; tables that follow from sizes may hold infinity.
        where: what holds them, as the sentence begins.
    """
    faults = []
    for name, tensor in sorted(state.items()):
        tensor = np.asarray(tensor)
        if tensor.dtype.kind != "f" or name.rpartition(".")[2] in _TABLES:
            continue
        if not np.isfinite(tensor).all():
            count = int(tensor.size - np.isfinite(tensor).sum())
            faults.append(f"{name}: {count} of {tensor.size}")
    if faults:
        raise UserError(
            f"{where} hold NaN or infinity, as after a training that diverged or in half "
            "precision that overflowed. Take an earlier checkpoint, or one in float32:\n  "
            + "\n  ".join(faults)
        )


def _within(name: str, modules: Sequence[str]) -> bool:
    return any(name.startswith(f"{module}.") for module in modules)


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
