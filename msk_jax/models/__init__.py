"""Flax networks. Each returns `(logits, endpoints)`, a detector `(detections, endpoints)`; `create`
makes one by its name.

A network's class is imported when it is asked for: names and settings need neither Flax nor jax.
"""

import importlib
from typing import Any

from msk_jax.models.registry import MODELS, create, names
from msk_jax.models.systems.configs import (
    DetectorConfig,
    GridNetConfig,
    MS25DNetConfig,
    TransferNetConfig,
    ZooNetConfig,
)

NetworkConfig = MS25DNetConfig | TransferNetConfig | GridNetConfig | ZooNetConfig | DetectorConfig
"""Networks that a stage can train: each has `num_slices`, `num_classes`, `explained_endpoints`,
`build` and `load`, which takes weights of others for pictures of a size."""

_CLASSES = {
    "zoo.attention_unet": ("AttentionUNet", "AttentionUNet3D"),
    "zoo.autoencoder": ("AttentionAutoencoder", "Autoencoder", "Autoencoder3D"),
    "zoo.deeplab": ("DeepLabV3",),
    "zoo.densenet": ("DenseNet", "DenseNet3d"),
    "detection": ("FasterRCNN",),
    "zoo.dynunet": ("DynUNet", "DynUNet3D"),
    "zoo.efficientnet": ("EfficientNet",),
    "systems.grid_net": ("GridNet",),
    "zoo.inception_resnet_v2": ("InceptionResNetV2",),
    "zoo.inception_v3": ("InceptionV3",),
    "systems.ms25dnet": ("MS25DNet",),
    "zoo.pix2pix": ("PatchDiscriminator", "Pix2PixGenerator"),
    "zoo.resnet": ("ResNet", "ResNetEncoder"),
    "zoo.resnet3d": ("ResNet3D",),
    "zoo.swin": ("Swin",),
    "systems.transfer": ("TransferNet",),
    "zoo.unet": ("UNet", "UNet3D"),
    "zoo.unetr": ("UNETR",),
    "zoo.vgg": ("VGG",),
    "zoo.vit": ("ViT",),
}
_MODULES = {name: module for module, classes in _CLASSES.items() for name in classes}

__all__ = [
    "MODELS",
    "UNETR",
    "VGG",
    "AttentionAutoencoder",
    "AttentionUNet",
    "AttentionUNet3D",
    "Autoencoder",
    "Autoencoder3D",
    "DeepLabV3",
    "DenseNet",
    "DenseNet3d",
    "DetectorConfig",
    "DynUNet",
    "DynUNet3D",
    "EfficientNet",
    "FasterRCNN",
    "GridNet",
    "GridNetConfig",
    "InceptionResNetV2",
    "InceptionV3",
    "MS25DNet",
    "MS25DNetConfig",
    "NetworkConfig",
    "PatchDiscriminator",
    "Pix2PixGenerator",
    "ResNet",
    "ResNet3D",
    "ResNetEncoder",
    "Swin",
    "TransferNet",
    "TransferNetConfig",
    "UNet",
    "UNet3D",
    "ViT",
    "ZooNetConfig",
    "create",
    "names",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
