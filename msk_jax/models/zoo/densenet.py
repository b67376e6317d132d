"""DenseNet for pictures and for volumes.

Huang, Liu, van der Maaten, Weinberger, Densely Connected Convolutional Networks, 2017: the
bottlenecked, compressing form (DenseNet-BC), as in torchvision (2-D) and MONAI (3-D).
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from msk_jax.models.blocks.layers import Layers
from msk_jax.models.blocks.pooling import avg_pool, global_mean, max_pool
from msk_jax.models.listing import facts_of
from msk_jax.models.network import Architecture, Network


class DenseLayer(nn.Module):
    """Norm, ReLU, 1x1 convolution to four times `growth`, norm, ReLU, 3x3 convolution to `growth`.

    `[batch, *spatial, n]` -> `[batch, *spatial, n + growth]`: the input and what was made of it.
    """

    growth: int
    prefix: str = ""
    dropout: float = 0.0
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv, norm, prefix = self.layers.conv, self.layers.norm, self.prefix
        rank = x.ndim - 2
        y = nn.relu(norm(name=f"{prefix}norm1")(x))
        y = conv(4 * self.growth, (1,) * rank, name=f"{prefix}conv1")(y)
        y = nn.relu(norm(name=f"{prefix}norm2")(y))
        y = conv(self.growth, (3,) * rank, name=f"{prefix}conv2")(y)
        y = self.layers.dropout(self.dropout)(y)
        return jnp.concatenate([x, y], axis=-1)


class Transition(nn.Module):
    """Norm, ReLU, 1x1 convolution to half the features, mean over blocks of two pixels a side."""

    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(self.layers.norm(name="norm")(x))
        x = self.layers.conv(x.shape[-1] // 2, (1,) * (x.ndim - 2), name="conv")(x)
        return avg_pool(x, 2, 2)


class DenseNet(Network):
    """A DenseNet classifier: `[batch, height, width, channels]` -> (logits, endpoints).

    Endpoints: `stage1` to `stage3`, the dense blocks at strides 4, 8 and 16; `stage4`, the last
    block after its norm and before its ReLU, at stride 32; `features`. `width` is that of the stem,
    `growth` what each of the `block_sizes` layers adds; `dropout` acts on the latter.
    """

    block_sizes: Sequence[int] = (6, 12, 24, 16)
    growth: int = 32
    width: int = 64
    dropout: float = 0.0

    smallest: ClassVar[int] = 29
    # What torchvision puts before the names within a dense layer, and what it calls the head.
    layer_prefix: ClassVar[str] = ""
    head_name: ClassVar[str] = "classifier"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, dict[str, Any]]:
        self.check_input(x)
        layers, rank, endpoints = self.layers(train), self.spatial_rank, {}
        x = layers.conv(self.width, (7,) * rank, (2,) * rank, name="features.conv0")(x)
        x = max_pool(nn.relu(layers.norm(name="features.norm0")(x)), 3, 2, 1)
        for stage, size in enumerate(self.block_sizes, start=1):
            for i in range(1, size + 1):
                name = f"features.denseblock{stage}.denselayer{i}"
                x = DenseLayer(self.growth, self.layer_prefix, self.dropout, layers, name=name)(x)
            if stage == len(self.block_sizes):
                x = layers.norm(name="features.norm5")(x)
            x = self.mark(endpoints, f"stage{stage}", x)
            if stage < len(self.block_sizes):
                x = Transition(layers, name=f"features.transition{stage}")(x)
        features = endpoints["features"] = global_mean(nn.relu(x))
        return nn.Dense(self.num_classes, name=self.head_name)(features), endpoints


class DenseNet3d(DenseNet):
    """A DenseNet for volumes: `[batch, depth, height, width, channels]` -> (logits, endpoints)."""

    spatial_rank: ClassVar[int] = 3
    # MONAI's names.
    layer_prefix: ClassVar[str] = "layers."
    head_name: ClassVar[str] = "class_layers.out"


_LAYER = "features.denseblock{i}.denselayer{j}"
_NAMINGS = {
    "timm": (),  # the same
    "monai": [(f"{_LAYER}.layers", _LAYER), ("class_layers.out", "classifier")],
    # The weight files that torchvision hands out are older than its module names.
    "torchvision-files": [
        (f"{_LAYER}.{kind}.{n}", f"{_LAYER}.{kind}{n}") for kind in ("norm", "conv") for n in (1, 2)
    ],
}
_ENDPOINTS = {
    **{f"stage{i}": f"features.denseblock{i}" for i in (1, 2, 3)},
    "stage4": "features.norm5",
}
_BLOCK_SIZES = {
    "densenet121": (6, 12, 24, 16),
    "densenet161": (6, 12, 36, 24),
    "densenet169": (6, 12, 32, 32),
    "densenet201": (6, 12, 48, 32),
    "densenet264": (6, 12, 64, 48),
}
MODELS = {
    name: Architecture(
        DenseNet,
        {
            "block_sizes": _BLOCK_SIZES[name],
            **({"growth": 48, "width": 96} if name == "densenet161" else {}),
        },
        **facts_of(name),
        endpoints=_ENDPOINTS | {"features": "classifier:input"},
        head=("classifier",),
        stem="features.conv0",
        small=(64, 80),
        odd=(75, 61),
        namings=_NAMINGS,
    )
    for name in ("densenet121", "densenet161", "densenet169", "densenet201")
} | {
    f"{name}_3d": Architecture(
        DenseNet3d,
        {"block_sizes": _BLOCK_SIZES[name], "in_channels": 1, "num_classes": 2},
        **facts_of(f"{name}_3d"),
        reference_settings={"spatial_dims": 3, "in_channels": 1, "out_channels": 2},
        endpoints=_ENDPOINTS | {"features": "class_layers.out:input"},
        head=("class_layers.out",),
        stem="features.conv0",
        small=(32, 48, 64),
        odd=(37, 30, 45),
    )
    for name in ("densenet121", "densenet169", "densenet201", "densenet264")
}
