"""Flax networks. Each returns `(logits, endpoints)`; `create` makes one by its name."""

from msk_jax.models.ms25dnet import MS25DNet, MS25DNetConfig
from msk_jax.models.registry import MODELS, create, names
from msk_jax.models.resnet import ResNet, ResNetEncoder

__all__ = ["MODELS", "MS25DNet", "MS25DNetConfig", "ResNet", "ResNetEncoder", "create", "names"]
