"""Flax networks. Each returns `(logits, endpoints)`; `create` makes one by its name."""

from msk_jax.models.grid_net import GridNet, GridNetConfig
from msk_jax.models.ms25dnet import MS25DNet, MS25DNetConfig
from msk_jax.models.registry import MODELS, create, names
from msk_jax.models.resnet import ResNet, ResNetEncoder
from msk_jax.models.transfer import TransferNet, TransferNetConfig
from msk_jax.models.zoo_net import ZooNetConfig

NetworkConfig = MS25DNetConfig | TransferNetConfig | GridNetConfig | ZooNetConfig
"""Networks that a stage can train: each has `num_slices`, `num_classes`, `explained_endpoints`,
`build` and `load`, which takes weights of others for pictures of a size."""

__all__ = [
    "MODELS", "GridNet", "GridNetConfig", "MS25DNet", "MS25DNetConfig", "NetworkConfig", "ResNet",
    "ResNetEncoder", "TransferNet", "TransferNetConfig", "ZooNetConfig", "create",
    "names",
]  # fmt: skip
