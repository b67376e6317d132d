"""Inception-v3 with its auxiliary head.

Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, Rethinking the Inception Architecture for Computer
Vision, 2016, as in torchvision.
"""

from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from msk_jax.errors import UserError
from msk_jax.models.blocks.inception_blocks import ConvNormReLU, Mixed, inception_stem
from msk_jax.models.blocks.layers import Layers
from msk_jax.models.blocks.pooling import avg_pool, global_mean
from msk_jax.models.listing import facts_of
from msk_jax.models.network import Architecture, Network


def inception_a(pool_features: int) -> tuple:
    """1x1, 5x5, two 3x3, and a pool: 224 features and those of the pool."""
    return (
        (("branch1x1", 64, 1),),
        (("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5)),
        (("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)),
        ("mean", ("branch_pool", pool_features, 1)),
    )


def inception_b() -> tuple:
    """Half the size, 480 features and those of the input."""
    return (
        (("branch3x3", 384, 3, 2),),
        (("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3, 2)),
        ("max",),
    )


def inception_c(width: int) -> tuple:
    """7x7 convolutions split into rows and columns: 768 features."""
    row, column = (1, 7), (7, 1)
    return (
        (("branch1x1", 192, 1),),
        (("branch7x7_1", width, 1), ("branch7x7_2", width, row), ("branch7x7_3", 192, column)),
        (
            ("branch7x7dbl_1", width, 1),
            ("branch7x7dbl_2", width, column),
            ("branch7x7dbl_3", width, row),
            ("branch7x7dbl_4", width, column),
            ("branch7x7dbl_5", 192, row),
        ),
        ("mean", ("branch_pool", 192, 1)),
    )


def inception_d() -> tuple:
    """Half the size, 512 features and those of the input."""
    return (
        (("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3, 2)),
        (
            ("branch7x7x3_1", 192, 1),
            ("branch7x7x3_2", 192, (1, 7)),
            ("branch7x7x3_3", 192, (7, 1)),
            ("branch7x7x3_4", 192, 3, 2),
        ),
        ("max",),
    )


def inception_e() -> tuple:
    """3x3 convolutions that fork into a row and a column: 2048 features."""

    def fork(name: str) -> tuple:
        return ((f"{name}a", 384, (1, 3)), (f"{name}b", 384, (3, 1)))

    return (
        (("branch1x1", 320, 1),),
        (("branch3x3_1", 384, 1), fork("branch3x3_2")),
        (("branch3x3dbl_1", 448, 1), ("branch3x3dbl_2", 384, 3), fork("branch3x3dbl_3")),
        ("mean", ("branch_pool", 192, 1)),
    )


# stage -> its blocks
_BLOCKS = {
    "stage3": {"5b": inception_a(32), "5c": inception_a(64), "5d": inception_a(64)},
    "stage4": {
        "6a": inception_b(),
        "6b": inception_c(128),
        "6c": inception_c(160),
        "6d": inception_c(160),
        "6e": inception_c(192),
    },
    "stage5": {"7a": inception_d(), "7b": inception_e(), "7c": inception_e()},
}


class AuxiliaryHead(nn.Module):
    """Classes from halfway: `[batch, height, width, 768]` -> `[batch, num_classes]`."""

    num_classes: int
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.is_initializing():
            # Its parameters do not depend on the size, so a small picture initialises them too.
            x = jnp.zeros((1, 17, 17, x.shape[-1]), x.dtype)
        if min(x.shape[1:3]) < 17:
            raise UserError(
                "The auxiliary head of InceptionV3 needs 299 pixels along every axis in training, "
                f"17 in the map that it sees; that map is {x.shape[1]} x {x.shape[2]}. Enlarge the "
                "image or leave the head out (--settings auxiliary 0)."
            )
        x = ConvNormReLU(128, (1, 1), layers=self.layers, name="conv0")(avg_pool(x, 5, 3))
        x = ConvNormReLU(768, (5, 5), padding=0, layers=self.layers, name="conv1")(x)
        return nn.Dense(self.num_classes, name="fc")(global_mean(x))


class InceptionV3(Network):
    """An Inception-v3 classifier: `[batch, height, width, channels]` -> (logits, endpoints).

    Endpoints: `stage1` and `stage2`, in the stem at strides 2 and 4; `stage3` to `stage5`, the last
    blocks at strides 8, 16 and 32; `features`; and in training `aux_logits` from `stage4`, unless
    `auxiliary` is off. `dropout` acts on the features. torchvision's trained weights want images in
    -1..1, not ImageNet's mean and deviation.
    """

    auxiliary: bool = True
    dropout: float = 0.5

    smallest: ClassVar[int] = 75

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, dict[str, Any]]:
        self.check_input(x)
        layers, endpoints = self.layers(train), {}

        mark = partial(self.mark, endpoints)
        x = inception_stem(x, layers, _STEM, mark)
        for stage, blocks in _BLOCKS.items():
            for block, branches in blocks.items():
                x = Mixed(branches, layers, name=f"Mixed_{block}")(x)
            x = mark(stage, x)
        if self.auxiliary and (train or self.is_initializing()):
            head = AuxiliaryHead(self.num_classes, layers, name="AuxLogits")
            endpoints["aux_logits"] = head(endpoints["stage4"])
        features = endpoints["features"] = global_mean(x)
        x = layers.dropout(self.dropout)(features)
        return nn.Dense(self.num_classes, name="fc")(x), endpoints


_STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")

MODELS = {
    "inception_v3": Architecture(
        InceptionV3,
        {},
        **facts_of("inception_v3"),
        reference_settings={"aux_logits": True, "transform_input": False, "init_weights": False},
        endpoints={
            "stage1": "Conv2d_2b_3x3",
            "stage2": "Conv2d_4a_3x3",
            "stage3": "Mixed_5d",
            "stage4": "Mixed_6e",
            "stage5": "Mixed_7c",
            "features": "fc:input",
        },
        head=("fc", "AuxLogits.fc"),
        stem="Conv2d_1a_3x3.conv",
        small=(107, 91),
        small_in_training=(299, 299),  # for the auxiliary head
        odd=(75, 98),
        namings={"timm": ()},  # the same
        auxiliary="AuxLogits",
    )
}
