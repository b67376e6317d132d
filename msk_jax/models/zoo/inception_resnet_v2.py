"""Inception-ResNet-v2.

Szegedy, Ioffe, Vanhoucke, Alemi, Inception-v4, Inception-ResNet and the Impact of Residual
Connections on Learning, 2017, as in timm, which follows the authors' own code.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax

from msk_jax.models.blocks.inception_blocks import ConvNormReLU, Mixed, Step, inception_stem
from msk_jax.models.blocks.layers import Layers
from msk_jax.models.blocks.pooling import global_mean
from msk_jax.models.listing import facts_of
from msk_jax.models.network import Architecture, Network


def row(name: str, *steps: tuple, first: int = 0) -> tuple[Step, ...]:
    """A branch whose convolutions are called `name` and their place, from `first`."""
    return tuple((f"{name}.{i}", *step) for i, step in enumerate(steps, start=first))


MIXED_5B = (
    (("branch0", 96, 1),),
    row("branch1", (48, 1), (64, 5)),
    row("branch2", (64, 1), (96, 3), (96, 3)),
    ("mean within", *row("branch3", (64, 1), first=1)),
)
MIXED_6A = (
    (("branch0", 384, 3, 2),),
    row("branch1", (256, 1), (256, 3), (384, 3, 2)),
    ("max",),
)
MIXED_7A = (
    row("branch0", (256, 1), (384, 3, 2)),
    row("branch1", (256, 1), (288, 3, 2)),
    row("branch2", (256, 1), (288, 3), (320, 3, 2)),
    ("max",),
)
BLOCK_35 = (
    (("branch0", 32, 1),),
    row("branch1", (32, 1), (32, 3)),
    row("branch2", (32, 1), (48, 3), (64, 3)),
)
BLOCK_17 = (
    (("branch0", 192, 1),),
    row("branch1", (128, 1), (160, (1, 7)), (192, (7, 1))),
)
BLOCK_8 = (
    (("branch0", 192, 1),),
    row("branch1", (192, 1), (224, (1, 3)), (256, (3, 1))),
)


class ResidualMixed(nn.Module):
    """`x + scale * convolution(branches of x)`, and a ReLU unless `relu` is off."""

    branches: Sequence[Sequence[Step]]
    scale: float
    relu: bool = True
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        mixed = Mixed(self.branches, self.layers)
        nn.share_scope(self, mixed)
        y = self.layers.conv(x.shape[-1], (1, 1), use_bias=True, name="conv2d")(mixed(x))
        y = y * self.scale + x
        return nn.relu(y) if self.relu else y


class InceptionResNetV2(Network):
    """An Inception-ResNet-v2 classifier: `[batch, height, width, channels]` -> (logits, endpoints).

    Endpoints: `stage1` and `stage2`, in the stem at strides 2 and 4; `stage3` and `stage4`, the
    residual blocks at strides 8 and 16; `stage5`, the last convolution at stride 32; `features`.
    `dropout` acts on the features. The authors' trained weights want images in -1..1.
    """

    dropout: float = 0.0

    smallest: ClassVar[int] = 75

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, dict[str, Any]]:
        self.check_input(x)
        layers, endpoints = self.layers(train), {}

        mark = partial(self.mark, endpoints)

        def repeat(name: str, times: int, branches: Sequence, scale: float, x: jax.Array):
            for i in range(times):
                x = ResidualMixed(branches, scale, layers=layers, name=f"{name}.{i}")(x)
            return x

        x = inception_stem(x, layers, _STEM, mark)
        x = Mixed(MIXED_5B, layers, name="mixed_5b")(x)
        x = mark("stage3", repeat("repeat", 10, BLOCK_35, 0.17, x))
        x = Mixed(MIXED_6A, layers, name="mixed_6a")(x)
        x = mark("stage4", repeat("repeat_1", 20, BLOCK_17, 0.10, x))
        x = Mixed(MIXED_7A, layers, name="mixed_7a")(x)
        x = repeat("repeat_2", 9, BLOCK_8, 0.20, x)
        x = ResidualMixed(BLOCK_8, 1.0, relu=False, layers=layers, name="block8")(x)
        x = mark("stage5", ConvNormReLU(1536, (1, 1), layers=layers, name="conv2d_7b")(x))
        features = endpoints["features"] = global_mean(x)
        x = layers.dropout(self.dropout)(features)
        return nn.Dense(self.num_classes, name="classif")(x), endpoints


_STEM = ("conv2d_1a", "conv2d_2a", "conv2d_2b", "conv2d_3b", "conv2d_4a")

MODELS = {
    "inception_resnet_v2": Architecture(
        InceptionResNetV2,
        {},
        **facts_of("inception_resnet_v2"),
        endpoints={
            "stage1": "conv2d_2b",
            "stage2": "conv2d_4a",
            "stage3": "repeat",
            "stage4": "repeat_1",
            "stage5": "conv2d_7b",
            "features": "classif:input",
        },
        head=("classif",),
        stem="conv2d_1a.conv",
        small=(107, 91),
        odd=(75, 98),
    )
}
