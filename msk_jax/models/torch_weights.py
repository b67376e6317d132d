"""PyTorch weights into our networks: one naming rule, one transpose rule per kind of layer.

Nothing here imports torch, but for reading a `.pth` file when asked to.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from msk_jax.errors import UserError

_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
InflationRule = Literal["mean", "centre"]


def torch_name(path: tuple[str, ...]) -> str:
    """torchvision's name of one of our ResNet tensors.

    `("layer1_0", "downsample_conv", "kernel")` -> `"layer1.0.downsample.0.weight"`.
    """
    *modules, leaf = path
    name = ".".join(modules)
    name = re.sub(r"\blayer(\d+)_(\d+)\b", r"layer\1.\2", name)
    name = name.replace("downsample_conv", "downsample.0").replace("downsample_bn", "downsample.1")
    return f"{name}.{_LEAVES[leaf]}"


def to_flax(leaf: str, tensor: np.ndarray) -> np.ndarray:
    """PyTorch's layout to ours: `[out, in, *space]` -> `[*space, in, out]` for kernels."""
    if leaf != "kernel":
        return tensor
    return np.transpose(tensor, (*range(2, tensor.ndim), 1, 0))


def inflate_stem(kernel: np.ndarray, num_slices: int, rule: InflationRule = "mean") -> np.ndarray:
    """A stem for `num_slices` neighbouring slices from one for red, green and blue.

    Args:
        kernel: `[height, width, 3, out]`.
        rule: `mean` gives every slice the same share, `centre` weighs slice k by
            exp(-(k - c)^2 / 2). Either way the slices' kernels sum to the colours' sum, so a stack
            of equal slices gives the pretrained answer to a grey picture.

    Returns:
        `[height, width, num_slices, out]`.
    """
    grey = kernel.sum(axis=2, keepdims=True)
    offsets = np.arange(num_slices) - (num_slices - 1) / 2
    share = np.exp(-(offsets**2) / 2) if rule == "centre" else np.ones(num_slices)
    share = (share / share.sum()).astype(kernel.dtype)
    return grey * share[None, None, :, None]


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Tensors by name from `.safetensors`, or from `.pth` or `.pt`, which needs torch.

    No code in a pickle is executed.

    Raises:
        UserError: the file is missing, of another kind, or not a plain state dict.
    """
    if not path.is_file():
        raise UserError(
            f"There is no weight file at {path}. Give the path of a .safetensors or .pth file."
        )
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return load_file(path)
        except (SafetensorError, ValueError) as error:
            raise UserError(
                f"{path} cannot be read as safetensors ({error}). Download it again."
            ) from error
    if path.suffix not in (".pth", ".pt"):
        raise UserError(f"{path} is neither .safetensors nor .pth; convert it to one of them.")
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f'Reading {path.name} needs PyTorch: pip install "msk_jax[torch]", or save the weights '
            "as .safetensors."
        ) from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {name: tensor.numpy() for name, tensor in state.items()}
    except Exception as error:
        raise UserError(
            f"{path} is not a plain PyTorch state dict ({type(error).__name__}); nothing in it was "
            "executed. Save it again with torch.save(model.state_dict(), ...)."
        ) from error


def load_encoder(
    variables: Mapping, state: Mapping[str, np.ndarray], rule: InflationRule | None = "mean"
) -> dict:
    """`variables` with the ResNet encoder's tensors replaced by those of a torchvision state dict.

    Args:
        variables: `{"params": {"encoder": ..., ...}, "batch_stats": {"encoder": ..., ...}}`.
        state: torchvision's names and layouts. Its classifier `fc` and the batch counters are not
            used.
        rule: how a stem for colours becomes one for slices (`inflate_stem`); None takes it as
            it is.

    Raises:
        UserError: lists every missing, extra and misshapen tensor.
    """
    ours = {
        (kind, *path): torch_name(path)
        for kind in ("params", "batch_stats")
        for path in flatten_dict(variables[kind]["encoder"])
    }
    used = set(ours.values())
    given = {n for n in state if not n.startswith("fc.") and not n.endswith("num_batches_tracked")}
    faults = [f"missing: {name}" for name in sorted(used - given)]
    faults += [f"not of this network: {name}" for name in sorted(given - used)]
    flat = flatten_dict(dict(variables))
    for (kind, *path), name in ours.items():
        if name not in state:
            continue
        key = (kind, "encoder", *path)
        tensor = to_flax(path[-1], np.asarray(state[name]))
        # Our channels are slices even where they are three: colours do not go onto slices.
        if rule is not None and name == "conv1.weight" and tensor.shape[2:3] == (3,):
            tensor = inflate_stem(tensor, flat[key].shape[2], rule)
        if tensor.shape != flat[key].shape:
            faults.append(f"{name} has shape {tensor.shape}, this network needs {flat[key].shape}")
            continue
        flat[key] = np.ascontiguousarray(tensor, np.float32)
    if faults:
        raise UserError(
            "These weights do not fit the encoder; check the backbone, the width and that the file "
            "is a 2-D torchvision ResNet:\n  " + "\n  ".join(faults)
        )
    return unflatten_dict(flat)
