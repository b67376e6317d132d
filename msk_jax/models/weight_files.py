"""Files of PyTorch weights: `.safetensors`, and `.pth` or `.pt`, which need torch.

Torch is imported only when such a file is read or written.
"""

from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from msk_jax.errors import UserError


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Tensors by name from `.safetensors`, or from `.pth` or `.pt`, which needs torch.

    Types of less than four bytes, bfloat16 among them, become float32. No code in a pickle is
    executed.

    Raises:
        UserError: the file is missing, of another kind, or not a plain state dict.
    """
    if not path.is_file():
        raise UserError(
            f"There is no weight file at {path}. Give the path of a .safetensors or .pth file."
        )
    if path.suffix == ".safetensors":
        state = _read_safetensors(path)
    elif path.suffix in (".pth", ".pt"):
        state = _read_pickle(path)
    else:
        raise UserError(f"{path} is neither .safetensors nor .pth; convert it to one of them.")
    return {name: _at_least_single(tensor) for name, tensor in state.items()}


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read as safetensors ({error}). Download it again."
        ) from error
    except AttributeError as error:  # a type that NumPy does not have, as 8-bit floats
        raise UserError(
            f"{path} holds numbers of a type that cannot be read ({error}). Save it in float32."
        ) from error


def _read_pickle(path: Path) -> dict[str, np.ndarray]:
    torch = _torch(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(
            f"{path} is not a plain PyTorch state dict ({type(error).__name__}); nothing in it was "
            "executed. Save it again with torch.save(model.state_dict(), ...)."
        ) from error
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in state.items()
    ):
        raise UserError(
            f"{path} is not a plain PyTorch state dict, tensors by their names, but "
            f"{_described(state)}. Save it again with torch.save(model.state_dict(), ...)."
        )
    return {name: _array(tensor) for name, tensor in state.items()}


def _described(state) -> str:
    if not isinstance(state, Mapping):
        return f"a {type(state).__name__}"
    kinds = {f"{type(name).__name__} -> {type(value).__name__}" for name, value in state.items()}
    return f"a {type(state).__name__} of {', '.join(sorted(kinds)[:4])}"


def _torch(path: Path):
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f'{path.name} needs PyTorch: pip install "msk_jax[torch]", or use .safetensors instead.'
        ) from error
    return torch


def _array(tensor) -> np.ndarray:
    # NumPy has no bfloat16
    small = tensor.dtype.is_floating_point and tensor.element_size() < 4
    return (tensor.float() if small else tensor).detach().numpy()


def _at_least_single(tensor: np.ndarray) -> np.ndarray:
    small = jax.dtypes.issubdtype(tensor.dtype, jnp.floating) and tensor.dtype.itemsize < 4
    return tensor.astype(np.float32) if small else tensor


def write_state_dict(path: Path, state: Mapping[str, np.ndarray]) -> None:
    """Write tensors by name as `.safetensors`, or as `.pth` or `.pt`, which needs torch.

    Raises:
        UserError: another suffix, or torch is missing.
    """
    if path.suffix == ".safetensors":
        from safetensors.numpy import save_file

        save_file({name: np.ascontiguousarray(tensor) for name, tensor in state.items()}, path)
    elif path.suffix in (".pth", ".pt"):
        torch = _torch(path)
        torch.save({name: torch.from_numpy(np.array(v)) for name, v in state.items()}, path)
    else:
        raise UserError(f"{path} ends in neither .safetensors nor .pth. Give another --out.")
