"""Flax networks. Each returns `(logits, endpoints)`."""

from msk_jax.models.ms25dnet import MS25DNet, MS25DNetConfig
from msk_jax.models.resnet import ResNet, ResNetEncoder

__all__ = ["MS25DNet", "MS25DNetConfig", "ResNet", "ResNetEncoder"]
