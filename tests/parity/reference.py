"""torchvision's networks without its compiled operators, for which there is no CPU build."""

import re
from pathlib import Path

import numpy as np
import pytest


def torchvision_models():
    """The module `torchvision.models`; skips the test where it cannot be had."""
    torch = pytest.importorskip("torch", reason="PyTorch is the reference and is not installed")
    spec = __import__("importlib.util").util.find_spec("torchvision")
    if spec is None:
        pytest.skip("torchvision is the reference and is not installed")
    if not hasattr(torchvision_models, "library"):
        # Its Python files register shapes for operators that only the compiled part defines.
        source = (Path(spec.origin).parent / "_meta_registrations.py").read_text()
        library = torchvision_models.library = torch.library.Library("torchvision", "DEF")
        for name in sorted(set(re.findall(r"torchvision::(\w+)|register_meta\(\"(\w+)\"", source))):
            library.define(f"{name[0] or name[1]}(Tensor x) -> Tensor")
    import torchvision.models

    return torchvision.models


def randomise(model, seed: int = 0) -> None:
    """Random weights and batch-norm statistics, so that nothing hides in zeros and ones."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        elif tensor.ndim == 1:
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
            if name.endswith("weight"):
                tensor.add_(1)


def numpy_state(model) -> dict[str, np.ndarray]:
    """The state dict as arrays."""
    return {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
