"""Networks by others, which ours must equal: torchvision's, timm's, MONAI's."""

import importlib
import importlib.util
import re
from functools import cache
from pathlib import Path

import numpy as np

from msk_jax.errors import UserError
from msk_jax.models.network import Architecture


def build_reference(architecture: Architecture, **settings):
    """The reference as a `torch.nn.Module` with its own random weights.

    Args:
        architecture: an entry of the registry.
        **settings: keyword arguments in place of the entry's own.

    Raises:
        UserError: a package is missing.
    """
    parts = {
        name: locate(maker)(**fixed)
        for name, (maker, fixed) in architecture.reference_parts.items()
    }
    make = locate(architecture.reference)
    return make(**{**parts, **architecture.reference_settings, **settings})


def locate(name: str):
    """What a dotted name stands for, `torchvision.ops.FeaturePyramidNetwork`.

    Raises:
        UserError: a package is missing.
    """
    package, *_ = name.split(".")
    _need("torch", "torch")
    if package in ("torchvision", "timm"):
        _need("torchvision", "torchvision")
        _without_compiled_operators()
        _operators_in_python()
    _need(package, package)
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def _need(package: str, install: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise UserError(
            f"The comparison needs {package}, which is not installed: pip install {install}, or "
            'pip install "msk_jax[parity]" for all references.'
        )


@cache
def _without_compiled_operators() -> None:
    """Let torchvision be imported where its compiled part is missing, as it is for torch on CPU.

    Its Python files register shapes for operators that only the compiled part defines; an empty
    definition of each is enough for the networks, which do not use them.
    """
    import torch

    source = Path(importlib.util.find_spec("torchvision").origin).parent / "_meta_registrations.py"
    found = re.findall(r"torchvision::(\w+)|register_meta\(\"(\w+)\"", source.read_text())
    library = torch.library.Library("torchvision", "DEF")
    for name in sorted({a or b for a, b in found}):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor x) -> Tensor")
    _KEPT.append(library)  # its definitions go when it does


_KEPT: list = []


@cache
def _operators_in_python() -> None:
    """Let torchvision's detectors run without the compiled part: slowly, with the same answer."""
    import torchvision

    if torchvision.extension._has_ops():
        return
    boxes = importlib.import_module("torchvision.ops.boxes")
    align = importlib.import_module("torchvision.ops.roi_align")
    boxes.nms = torchvision.ops.nms = _greedy_nms
    # Its own Python version, which would first be compiled.
    align._roi_align = align._roi_align.__wrapped__
    align.is_compile_supported = lambda device: True


def _greedy_nms(boxes, scores, iou_threshold):
    """Indices of the boxes that stay, best first."""
    from torchvision.ops import box_iou

    left, stay = scores.argsort(descending=True, stable=True), []
    while len(left):
        first, left = left[0], left[1:]
        stay.append(first)
        left = left[box_iou(boxes[first][None], boxes[left])[0] <= iou_threshold]
    return boxes.new_tensor([int(i) for i in stay], dtype=int) if stay else left


def randomise(model, seed: int = 0) -> None:
    """Random norms, biases and statistics, so that nothing hides in zeros and ones.

    Kernels keep their initialisation, which keeps the activations of a deep network in range.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if not tensor.dtype.is_floating_point:
            continue
        if "running_var" in name:
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        elif tensor.ndim <= 1:
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
            if name.endswith("weight"):
                tensor.add_(1)


def without_chance(model) -> None:
    """Switch off dropout and stochastic depth: the two sides draw different numbers."""
    for module in model.modules():
        for name in ("p", "dropout", "drop_prob", "drop_rate"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


def state_of(model) -> dict[str, np.ndarray]:
    """The state dict as arrays, copied."""
    return {name: tensor.detach().numpy().copy() for name, tensor in model.state_dict().items()}


def as_tensor(x: np.ndarray):
    """`[batch, *spatial, channels]` as a tensor `[batch, channels, *spatial]`."""
    import torch

    return torch.tensor(np.moveaxis(x, -1, 1).copy())


def channels_last(value) -> np.ndarray:
    """A tensor `[batch, channels, *spatial]` as an array `[batch, *spatial, channels]`.

    Tokens and vectors, of three and of two axes, stay as they are.
    """
    array = value.detach().numpy()
    return np.moveaxis(array, 1, -1) if array.ndim > 3 else array


def outputs_of(raw) -> dict:
    """What a reference returns -> tensors called `logits`, and `aux_logits` where it has them."""
    if isinstance(raw, dict):
        return {{"out": "logits", "aux": "aux_logits"}[name]: raw[name] for name in raw}
    if isinstance(raw, list):
        raw = raw[-1]  # a discriminator's stages, and last what it says
    if isinstance(raw, tuple):
        named = dict(zip(("logits", "aux_logits"), raw, strict=True))
        return {name: value for name, value in named.items() if value is not None}
    return {"logits": raw}
