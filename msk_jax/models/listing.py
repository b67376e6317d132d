"""Which networks there are, as plain data: a list of them imports none.

A network's file makes the rest of its entry (`network.Architecture`) and takes from here what is
listed.
"""

from typing import Any, NamedTuple

_TORCHVISION, _MONAI, _TIMM = "torchvision.models", "monai.networks.nets", "timm.models"

# Module -> name -> native spatial size of the input; trainable numbers of the reference with its
# own head; dotted name of the class or function that makes the reference.
_FAMILIES = {
    "zoo.resnet": {
        "resnet18": ((224, 224), 11_689_512, f"{_TORCHVISION}.resnet18"),
        "resnet34": ((224, 224), 21_797_672, f"{_TORCHVISION}.resnet34"),
        "resnet50": ((224, 224), 25_557_032, f"{_TORCHVISION}.resnet50"),
        "resnet101": ((224, 224), 44_549_160, f"{_TORCHVISION}.resnet101"),
        "resnet152": ((224, 224), 60_192_808, f"{_TORCHVISION}.resnet152"),
        "resnet50_os8": ((224, 224), 25_557_032, f"{_TORCHVISION}.resnet50"),
        "resnet50_os16": ((224, 224), 25_557_032, f"{_TORCHVISION}.resnet50"),
    },
    "zoo.resnet3d": {
        "resnet10_3d": ((96, 96, 96), 14_560_720, f"{_MONAI}.resnet10"),
        "resnet18_3d": ((96, 96, 96), 33_191_376, f"{_MONAI}.resnet18"),
        "resnet34_3d": ((96, 96, 96), 63_501_008, f"{_MONAI}.resnet34"),
        "resnet50_3d": ((96, 96, 96), 46_974_672, f"{_MONAI}.resnet50"),
    },
    "zoo.unet": {
        "unet": ((256, 256), 31_333_826, f"{_MONAI}.BasicUNet"),
        "unet_3d": ((96, 96, 96), 5_749_410, f"{_MONAI}.BasicUNet"),
    },
    "zoo.attention_unet": {
        "attention_unet": ((256, 256), 31_739_250, f"{_MONAI}.AttentionUnet"),
        "attention_unet_3d": ((96, 96, 96), 5_909_130, f"{_MONAI}.AttentionUnet"),
    },
    "zoo.dynunet": {
        "dynunet": ((256, 256), 33_462_250, f"{_MONAI}.DynUNet"),
        "dynunet_3d": ((96, 96, 96), 16_544_038, f"{_MONAI}.DynUNet"),
    },
    "zoo.unetr": {
        "unetr": ((96, 96, 96), 92_802_274, f"{_MONAI}.UNETR"),
    },
    "zoo.densenet": {
        "densenet121": ((224, 224), 7_978_856, f"{_TORCHVISION}.densenet121"),
        "densenet161": ((224, 224), 28_681_000, f"{_TORCHVISION}.densenet161"),
        "densenet169": ((224, 224), 14_149_480, f"{_TORCHVISION}.densenet169"),
        "densenet201": ((224, 224), 20_013_928, f"{_TORCHVISION}.densenet201"),
        # of one input channel and two classes
        "densenet121_3d": ((64, 64, 64), 11_244_674, f"{_MONAI}.DenseNet121"),
        "densenet169_3d": ((64, 64, 64), 18_546_050, f"{_MONAI}.DenseNet169"),
        "densenet201_3d": ((64, 64, 64), 25_334_658, f"{_MONAI}.DenseNet201"),
        "densenet264_3d": ((64, 64, 64), 40_251_266, f"{_MONAI}.DenseNet264"),
    },
    "zoo.vgg": {
        "vgg16": ((224, 224), 138_357_544, f"{_TORCHVISION}.vgg16"),
        "vgg16_bn": ((224, 224), 138_365_992, f"{_TORCHVISION}.vgg16_bn"),
    },
    "zoo.inception_v3": {
        "inception_v3": ((299, 299), 27_161_264, f"{_TORCHVISION}.inception_v3"),
    },
    "zoo.inception_resnet_v2": {
        "inception_resnet_v2": (
            (299, 299),
            55_843_464,
            f"{_TIMM}.inception_resnet_v2.InceptionResnetV2",
        ),
    },
    "zoo.deeplab": {
        "deeplabv3_resnet50": (
            (520, 520),
            42_004_074,
            f"{_TORCHVISION}.segmentation.deeplabv3_resnet50",
        ),
    },
    "zoo.vit": {
        "vit_small_patch16": (
            (224, 224),
            22_050_664,
            f"{_TIMM}.vision_transformer.vit_small_patch16_224",
        ),
        "vit_small_patch32": (
            (224, 224),
            22_878_952,
            f"{_TIMM}.vision_transformer.vit_small_patch32_224",
        ),
        "vit_base_patch16": (
            (224, 224),
            86_567_656,
            f"{_TIMM}.vision_transformer.vit_base_patch16_224",
        ),
        "vit_base_patch32": (
            (224, 224),
            88_224_232,
            f"{_TIMM}.vision_transformer.vit_base_patch32_224",
        ),
    },
    "zoo.swin": {
        "swin_t": ((224, 224), 28_288_354, f"{_TORCHVISION}.swin_t"),
        "swin_s": ((224, 224), 49_606_258, f"{_TORCHVISION}.swin_s"),
        "swin_b": ((224, 224), 87_768_224, f"{_TORCHVISION}.swin_b"),
    },
    "zoo.pix2pix": {
        "pix2pix_generator": ((256, 256), 54_413_955, "msk_jax.parity.published.Pix2PixGenerator"),
        "pix2pix_discriminator": ((256, 256), 2_768_705, f"{_MONAI}.PatchDiscriminator"),
    },
    "zoo.autoencoder": {
        "autoencoder": ((256, 256), 194_184, f"{_MONAI}.AutoEncoder"),
        "autoencoder_3d": ((64, 64, 64), 581_832, f"{_MONAI}.AutoEncoder"),
    },
    "zoo.efficientnet": {
        "efficientnet_b0": ((224, 224), 5_288_548, f"{_TORCHVISION}.efficientnet_b0"),
        "efficientnet_b1": ((240, 240), 7_794_184, f"{_TORCHVISION}.efficientnet_b1"),
        "efficientnet_b2": ((260, 260), 9_109_994, f"{_TORCHVISION}.efficientnet_b2"),
        "efficientnet_b3": ((300, 300), 12_233_232, f"{_TORCHVISION}.efficientnet_b3"),
        "efficientnet_b4": ((380, 380), 19_341_616, f"{_TORCHVISION}.efficientnet_b4"),
        "efficientnet_b5": ((456, 456), 30_389_784, f"{_TORCHVISION}.efficientnet_b5"),
        "efficientnet_b6": ((528, 528), 43_040_704, f"{_TORCHVISION}.efficientnet_b6"),
        "efficientnet_b7": ((600, 600), 66_347_960, f"{_TORCHVISION}.efficientnet_b7"),
    },
    "detection.faster_rcnn": {
        "fasterrcnn_resnet50_fpn": (
            (800, 1088),
            41_755_286,
            f"{_TORCHVISION}.detection.FasterRCNN",
        ),
    },
}


class Listed(NamedTuple):
    """What is known of a network before it is imported."""

    module: str
    """Below `msk_jax.models`."""
    size: tuple[int, ...]
    """Native spatial size of the input."""
    parameters: int
    """Trainable numbers of the reference with its own head."""
    reference: str
    """Dotted name of the class or function that makes the reference."""


LISTED: dict[str, Listed] = {
    name: Listed(module, *facts)
    for module, family in _FAMILIES.items()
    for name, facts in family.items()
}
"""By the name that `registry.create` takes."""


def facts_of(name: str) -> dict[str, Any]:
    """What is listed of a network, as keywords of `network.Architecture`."""
    listed = LISTED[name]._asdict()
    del listed["module"]
    return listed
