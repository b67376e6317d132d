"""Flax networks. Each returns `(logits, endpoints)`, a detector `(detections, endpoints)`; `create`
makes one by its name."""

from msk_jax.models.attention_unet import AttentionUNet, AttentionUNet3D
from msk_jax.models.autoencoder import AttentionAutoencoder, Autoencoder, Autoencoder3D
from msk_jax.models.deeplab import DeepLabV3
from msk_jax.models.densenet import DenseNet, DenseNet3d
from msk_jax.models.detection import FasterRCNN
from msk_jax.models.dynunet import DynUNet, DynUNet3D
from msk_jax.models.efficientnet import EfficientNet
from msk_jax.models.grid_net import GridNet, GridNetConfig
from msk_jax.models.inception_resnet_v2 import InceptionResNetV2
from msk_jax.models.inception_v3 import InceptionV3
from msk_jax.models.ms25dnet import MS25DNet, MS25DNetConfig
from msk_jax.models.pix2pix import PatchDiscriminator, Pix2PixGenerator
from msk_jax.models.registry import MODELS, create, names
from msk_jax.models.resnet import ResNet, ResNetEncoder
from msk_jax.models.resnet3d import ResNet3D
from msk_jax.models.swin import Swin
from msk_jax.models.transfer import TransferNet, TransferNetConfig
from msk_jax.models.unet import UNet, UNet3D
from msk_jax.models.unetr import UNETR
from msk_jax.models.vgg import VGG
from msk_jax.models.vit import ViT
from msk_jax.models.zoo_net import ZooNetConfig

NetworkConfig = MS25DNetConfig | TransferNetConfig | GridNetConfig | ZooNetConfig
"""Networks that a stage can train: each has `num_slices`, `num_classes`, `explained_endpoints`,
`build` and `load`, which takes weights of others for pictures of a size."""

__all__ = [
    "MODELS", "UNETR", "VGG", "AttentionAutoencoder", "AttentionUNet", "AttentionUNet3D",
    "Autoencoder", "Autoencoder3D", "DeepLabV3", "DenseNet", "DenseNet3d", "DynUNet", "DynUNet3D",
    "EfficientNet", "FasterRCNN", "GridNet", "GridNetConfig", "InceptionResNetV2", "InceptionV3",
    "MS25DNet", "MS25DNetConfig", "NetworkConfig", "PatchDiscriminator", "Pix2PixGenerator",
    "ResNet", "ResNet3D", "ResNetEncoder", "Swin", "TransferNet", "TransferNetConfig", "UNet",
    "UNet3D", "ViT", "ZooNetConfig", "create", "names",
]  # fmt: skip
