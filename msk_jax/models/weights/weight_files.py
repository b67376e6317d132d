"""Files of PyTorch weights: safetensors, and those that torch writes, which need it.

Torch is imported only when such a file is read or written.
"""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from msk_jax.errors import UserError
from msk_jax.files import read_json
from msk_jax.models.weights.torch_weights import check_finite

_INDEX = ".index.json"
_PART = re.compile(r"-\d+-of-(?P<count>\d+)(?P<suffix>\.\w+)$")  # as Hugging Face calls them
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Tensors by name from a file of safetensors, or from one of PyTorch, which needs torch.

    Which it is its first bytes say: the same file is called `.pth`, `.pt`, `.ckpt`, `.bin` or
    `.pth.tar`. Of a model in several files give their `.safetensors.index.json`. Types
    of less than four bytes, bfloat16 among them, become float32. No code in a pickle is executed.

    Raises:
        UserError: the file is missing, damaged, of another kind or not a plain state dict, or it
            holds NaN or infinity.
    """
    if not path.is_file():
        raise UserError(
            f"There is no weight file at {path}. Give the path of a .safetensors or .pth file."
        )
    if part := _PART.search(path.name):
        index = path.name[: part.start()] + part["suffix"] + ".index.json"
        raise UserError(
            f"{path} is one of {int(part['count'])} files of one model. Give the file that says "
            f"which tensor lies where, {index}, with all of them beside it."
        )
    state = _read_parts(path) if path.name.endswith(_INDEX) else _read(path)
    state = {name: _at_least_single(tensor) for name, tensor in state.items()}
    check_finite(state, f"The weights in {path}")
    return state


def _read(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        start = file.read(200)
    kind = path.suffix.lower()
    if not start.strip():
        fault = "is empty, and so neither .safetensors nor .pth. Download it again"
    elif start.startswith(b"version https://git-lfs"):
        fault = (
            "is a pointer of Git LFS and not the weights themselves. Run `git lfs pull` in its "
            "folder, or download the file by its own address"
        )
    elif start.lstrip().startswith((b"<!", b"<html", b"<?xml")):
        fault = (
            "is a web page, as a server gives in place of a file that it refuses. Download the "
            "weights themselves"
        )
    elif kind == ".safetensors" or start[8:10] == b'{"':
        return _read_safetensors(path)
    elif start.startswith((_ZIP, _PICKLE)) or kind in (".pth", ".pt"):
        return _read_pickle(path, is_zip=start.startswith(_ZIP))
    else:
        fault = "is neither .safetensors nor .pth; convert it to one of them"
    raise UserError(f"{path} {fault}.")


def _read_parts(path: Path) -> dict[str, np.ndarray]:
    """A model in several files, from the index that says which tensor lies where."""
    way_out = "Give the index that was downloaded with the files that it names."
    index = read_json(path, {"weight_map": {str: str}}, way_out)["weight_map"]
    state: dict[str, np.ndarray] = {}
    for name in sorted(set(index.values())):
        if Path(name).name != name or not (path.parent / name).is_file():
            raise UserError(f"{path} names {name}, which does not lie beside it. Download it too.")
        state |= _read(path.parent / name)
    missing = sorted(index.keys() - state.keys())
    if missing:
        raise UserError(f"{path} names tensors that are in none of its files: {missing[:3]}.")
    return {name: state[name] for name in index}


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


def _read_pickle(path: Path, is_zip: bool) -> dict[str, np.ndarray]:
    torch = _torch(path)
    if is_zip:
        _check_archive(path)
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
            f"{_described(state)}. {_way_out(state, path, torch)}"
        )
    return {name: _array(name, tensor, path) for name, tensor in state.items()}


def _check_archive(path: Path) -> None:
    """Raises UserError where a file that begins as a zip archive has no end, or is a program."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(
            f"{path} is damaged or ends too early ({error}). Download it again."
        ) from error
    if any(name.endswith("/constants.pkl") for name in names):
        raise UserError(
            f"{path} is a TorchScript program; nothing in it was executed. Save its weights alone: "
            "torch.save(torch.jit.load(...).state_dict(), ...)."
        )


def _described(state) -> str:
    if not isinstance(state, Mapping):
        return f"a {type(state).__name__}"
    kinds = {f"{type(name).__name__} -> {type(value).__name__}" for name, value in state.items()}
    return f"a {type(state).__name__} of {', '.join(sorted(kinds)[:4])}"


def _way_out(state, path: Path, torch) -> str:
    """How the state dict comes out of a checkpoint of a whole training, where it lies in one."""
    entries = state.items() if isinstance(state, Mapping) else ()
    inner = [
        key
        for key, value in entries
        if isinstance(value, Mapping)
        and value
        and all(isinstance(tensor, torch.Tensor) for tensor in value.values())
    ]
    if not inner:
        return "Save it again with torch.save(model.state_dict(), ...)."
    which = " or ".join(map(repr, inner))
    return (
        f"The tensors are in its entry {which}. Take them out: python -c 'import torch; "
        f'torch.save(torch.load("{path.name}", weights_only=True)["{inner[0]}"], "weights.pth")\'.'
    )


def _torch(path: Path):
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f'{path.name} needs PyTorch: pip install "msk_jax[torch]", or use .safetensors instead.'
        ) from error
    return torch


def _array(name: str, tensor, path: Path) -> np.ndarray:
    # NumPy has no bfloat16
    small = tensor.dtype.is_floating_point and tensor.element_size() < 4
    try:
        return (tensor.float() if small else tensor).detach().numpy()
    except (TypeError, RuntimeError) as error:
        raise UserError(
            f"{path} holds {name} in a form that is no plain array ({tensor.dtype}, "
            f"{tensor.layout}). Save it dense and in float32."
        ) from error


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
