"""VGG, without and with batch norm.

Simonyan, Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, 2015
(configuration D); batch norm as in torchvision.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax

from msk_jax.models.blocks.layers import channels_first_flat, full_precision
from msk_jax.models.blocks.pooling import adaptive_avg_pool, max_pool
from msk_jax.models.listing import facts_of
from msk_jax.models.network import Architecture, Network

_narrow = nn.initializers.normal(0.01)


class VGG(Network):
    """A VGG classifier: `[batch, height, width, channels]` -> (logits, endpoints).

    Endpoints: `stage1` to `stage5`, what goes into the five max-pools, at strides 1 to 16;
    `features`, the `hidden` numbers that the last dense layer sees. `dropout` acts on both hidden
    layers. Pictures of other sizes than 224 x 224 are averaged to 7 x 7 before the dense layers.
    """

    block_sizes: Sequence[int] = (2, 2, 3, 3, 3)
    widths: Sequence[int] = (64, 128, 256, 512, 512)
    batch_norm: bool = False
    hidden: int = 4096
    dropout: float = 0.5

    smallest: ClassVar[int] = 32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, dict[str, Any]]:
        self.check_input(x)
        self.check_stages("block_sizes", "widths")
        layers, endpoints = self.layers(train), {}
        place = 0  # in torchvision's sequence: convolution, norm, ReLU, ..., pool
        for stage, (size, width) in enumerate(
            zip(self.block_sizes, self.widths, strict=True), start=1
        ):
            for _ in range(size):
                x = layers.conv(width, (3, 3), use_bias=True, name=f"features.{place}")(x)
                if self.batch_norm:
                    x = layers.norm(name=f"features.{place + 1}")(x)
                x = nn.relu(x)
                place += 3 if self.batch_norm else 2
            x = self.mark(endpoints, f"stage{stage}", x)
            x = max_pool(x, 2, 2)
            place += 1
        x = channels_first_flat(adaptive_avg_pool(x, (7, 7)))
        for i in (0, 3):
            dense = layers.dense(self.hidden, kernel_init=_narrow, name=f"classifier.{i}")
            hidden = nn.relu(dense(x))
            x = layers.dropout(self.dropout)(hidden)
        endpoints["features"] = full_precision(hidden)
        head = nn.Dense(self.num_classes, kernel_init=_narrow, name="classifier.6")
        return head(full_precision(x)), endpoints


_TIMM = [
    ("pre_logits.fc1", "classifier.0", (7, 7)),
    ("pre_logits.fc2", "classifier.3", (1, 1)),
    ("head.fc", "classifier.6"),
]


def _vgg16(batch_norm: bool, last_relus: Sequence[int]) -> Architecture:
    return Architecture(
        VGG,
        {"batch_norm": batch_norm},
        **facts_of("vgg16_bn" if batch_norm else "vgg16"),
        endpoints={
            **{f"stage{i}": f"features.{relu}" for i, relu in enumerate(last_relus, start=1)},
            "features": "classifier.4",
        },
        head=("classifier.6",),
        stem="features.0",
        small=(64, 48),
        odd=(75, 61),
        namings={"timm": _TIMM},
    )


MODELS = {
    "vgg16": _vgg16(False, (3, 8, 15, 22, 29)),
    "vgg16_bn": _vgg16(True, (5, 12, 22, 32, 42)),
}
