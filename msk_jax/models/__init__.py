"""Flax networks. Each returns `(logits, endpoints)`, a detector `(detections, endpoints)`; `create`
makes one by its name.

A network's class is imported when it is asked for: names and settings need neither Flax nor jax.
"""

import importlib
from typing import Any

from msk_jax.models.configs import (
    GridNetConfig,
    MS25DNetConfig,
    TransferNetConfig,
    ZooNetConfig,
)
from msk_jax.models.registry import MODELS, create, names

NetworkConfig = MS25DNetConfig | TransferNetConfig | GridNetConfig | ZooNetConfig
"""Networks that a stage can train: each has `num_slices`, `num_classes`, `explained_endpoints`,
`build` and `load`, which takes weights of others for pictures of a size."""

_CLASSES = {
    "attention_unet": ("AttentionUNet", "AttentionUNet3D"),
    "autoencoder": ("AttentionAutoencoder", "Autoencoder", "Autoencoder3D"),
    "deeplab": ("DeepLabV3",),
    "densenet": ("DenseNet", "DenseNet3d"),
    "detection": ("FasterRCNN",),
    "dynunet": ("DynUNet", "DynUNet3D"),
    "efficientnet": ("EfficientNet",),
    "grid_net": ("GridNet",),
    "inception_resnet_v2": ("InceptionResNetV2",),
    "inception_v3": ("InceptionV3",),
    "ms25dnet": ("MS25DNet",),
    "pix2pix": ("PatchDiscriminator", "Pix2PixGenerator"),
    "resnet": ("ResNet", "ResNetEncoder"),
    "resnet3d": ("ResNet3D",),
    "swin": ("Swin",),
    "transfer": ("TransferNet",),
    "unet": ("UNet", "UNet3D"),
    "unetr": ("UNETR",),
    "vgg": ("VGG",),
    "vit": ("ViT",),
}
_MODULES = {name: module for module, classes in _CLASSES.items() for name in classes}

__all__ = [
    "MODELS", "UNETR", "VGG", "AttentionAutoencoder", "AttentionUNet", "AttentionUNet3D",
    "Autoencoder", "Autoencoder3D", "DeepLabV3", "DenseNet", "DenseNet3d", "DynUNet", "DynUNet3D",
    "EfficientNet", "FasterRCNN", "GridNet", "GridNetConfig", "InceptionResNetV2", "InceptionV3",
    "MS25DNet", "MS25DNetConfig", "NetworkConfig", "PatchDiscriminator", "Pix2PixGenerator",
    "ResNet", "ResNet3D", "ResNetEncoder", "Swin", "TransferNet", "TransferNetConfig", "UNet",
    "UNet3D", "ViT", "ZooNetConfig", "create", "names",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
