"""PyTorch weights into our networks and back.

A module of ours is called what PyTorch's is called, dots included, so the path of a parameter is
its name there; only the last part differs, and the layout of kernels. Weights under other names
(timm's where the reference is torchvision's) go through a `Naming`.

Nothing here imports torch; files are read and written by `weight_files`.
"""

import re
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
_COUNTER = "num_batches_tracked"
_COUNTED = ("var", "running_var_target")  # beside one of these PyTorch keeps a counter
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
        state: PyTorch's names and layouts. Whole-number tensors (counters, index tables) are not
            weights and are not used.
        naming: how the state's names become ours.
        head: modules of the classifier (our names); they keep the network's own values where the
            classes differ.
        stem: the first convolution (our name), fitted by `inflate_stem` where the channels differ.
        rule: of that fitting.
        aliases: second names (theirs, ours) of the same tensors; read where the first is missing.

    Raises:
        UserError: lists every missing, extra and misshapen tensor.
    """
    given = {
        rename(name, naming): np.asarray(tensor)
        for name, tensor in _strip_wrapper(state).items()
        if np.asarray(tensor).dtype.kind == "f"
    }
    for name in [n for n in given if rename(n, aliases) != n]:
        given.setdefault(rename(name, aliases), given.pop(name))
    names, flat, faults = _names(variables), flatten_dict(dict(variables)), []
    used = set(names.values())
    headless = not any(_within(name, head) for name in given)
    for key, name in names.items():
        is_head = _within(name, head)
        if name not in given:
            if not (is_head and headless):
                faults.append(f"missing: {name}")
            continue
        tensor = to_flax(key[-1], given[name])
        shape = flat[key].shape
        if name == f"{stem}.weight" and tensor.shape[-2] != shape[-2]:
            tensor = inflate_stem(tensor, shape[-2], rule)
        if tensor.shape != shape and naming and tensor.size == flat[key].size:
            theirs = to_torch(key[-1], np.broadcast_to(0, shape)).shape
            tensor = to_flax(key[-1], given[name].reshape(theirs))
        if tensor.shape == shape:
            # float64 stays, for comparisons in double precision
            flat[key] = np.ascontiguousarray(tensor)
        elif not is_head:
            faults.append(f"{name} has shape {tensor.shape}, this network needs {shape}")
    faults += [f"not of this network: {name}" for name in sorted(set(given) - used)]
    if faults:
        raise UserError(
            "These weights do not fit the network; check that the file is of this architecture, "
            "its size and its naming:\n  " + "\n  ".join(sorted(faults))
        )
    return unflatten_dict(flat)


def dump_torch(
    variables: Mapping, naming: Naming = (), aliases: Naming = ()
) -> dict[str, np.ndarray]:
    """A PyTorch state dict of a network's variables, batch counters (at 0) included.

    Args:
        variables: `{"params": ..., "batch_stats": ...}`.
        naming: whose names are wanted; empty for the reference's own.
        aliases: second names (theirs, ours) under which the tensors are listed once more.
    """
    flat = flatten_dict(dict(variables))
    kernel_sizes = {f"{ours}.weight": size for _, ours, *sizes in naming for size in sizes}
    state = {}
    for key, name in _names(variables).items():
        tensor = to_torch(key[-1], np.asarray(flat[key]))
        if name in kernel_sizes:
            tensor = tensor.reshape(len(tensor), -1, *kernel_sizes[name])
        state[rename(name, naming, backwards=True)] = np.ascontiguousarray(tensor)
        if key[-1] in _COUNTED:
            counter = ".".join([*key[1:-1], _COUNTER])
            state[rename(counter, naming, backwards=True)] = np.zeros((), np.int64)
    again = {rename(name, aliases, backwards=True): tensor for name, tensor in state.items()}
    return {**again, **state}


def recognise(architecture, state: Mapping) -> Naming:
    """The naming of a state dict: one that finds the stem, and of these the one that fits most.

    Args:
        architecture: an entry of the registry.
        state: PyTorch's names.
    """
    names = _strip_wrapper(state).keys()
    stem = f"{architecture.stem}.weight"

    def fit(pairs: Naming) -> tuple[bool, int]:
        ours = [rename(name, pairs) for name in names]
        return stem in ours, sum(a != b for a, b in zip(names, ours, strict=True))

    return max([(), *architecture.namings.values()], key=fit)


def _within(name: str, modules: Sequence[str]) -> bool:
    return any(name.startswith(f"{module}.") for module in modules)


def _strip_wrapper(state: Mapping) -> Mapping:
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


def load_encoder(
    variables: Mapping, state: Mapping[str, np.ndarray], rule: InflationRule | None = "mean"
) -> dict:
    """`variables` with the ResNet encoder's tensors replaced by those of a torchvision state dict.

    Args:
        variables: `{"params": {"encoder": ..., ...}, "batch_stats": {"encoder": ..., ...}}`.
        state: torchvision's names and layouts. Its classifier `fc` is not used.
        rule: how a stem for colours becomes one for slices (`inflate_stem`), also where three
            slices are as many as the colours; None takes it as it is.

    Raises:
        UserError: lists every missing, extra and misshapen tensor.
    """
    encoder = {kind: variables[kind]["encoder"] for kind in ("params", "batch_stats")}
    state = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
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
