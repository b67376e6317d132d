"""3-D ResNet classifiers in the form of MedicalNet.

Hara, Kataoka, Satoh: Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet?,
2018; Chen, Ma, Zheng: Med3D: Transfer Learning for 3D Medical Image Analysis, 2019. The blocks are
those of the 2-D networks (`models.resnet`) with a third axis; strides fall on all three.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax

from msk_jax.errors import UserError
from msk_jax.models.blocks.layers import per_axis
from msk_jax.models.blocks.pooling import global_mean, max_pool
from msk_jax.models.listing import facts_of
from msk_jax.models.network import Architecture, Network
from msk_jax.models.zoo.resnet import ResidualBlock, variant


class ResNet3D(Network):
    """A 3-D ResNet classifier: `[batch, depth, height, width, channels]` -> (logits, endpoints).

    Endpoints: `stage1` to `stage4`, `features`. The settings are called as in MedicalNet:
    `conv1_t_size` and `conv1_t_stride` are kernel and stride of the stem (one number, or one per
    axis), `no_max_pool` leaves the pooling after it out, `shortcut_type` is "A" (zeros for the
    channels that are missing) or "B" (a projection, with a bias if `bias_downsample`).

    The references cut the gradient of shortcut "A", so do we, to train as they do;
    `shortcut_gradient` lets it pass, as He et al. mean it.
    """

    num_classes: int = 400
    in_channels: int = 1
    backbone: str = "resnet50"
    width: int = 64
    shortcut_type: str = "B"
    bias_downsample: bool = False
    shortcut_gradient: bool = False
    conv1_t_size: int | tuple[int, int, int] = 7
    conv1_t_stride: int | tuple[int, int, int] = 2
    no_max_pool: bool = False

    spatial_rank: ClassVar[int] = 3

    @property
    def smallest(self) -> int:
        """With fewer voxels a stride would step over a single one."""
        pool = 1 if self.no_max_pool else 2
        return 4 * pool * min(per_axis(self.conv1_t_stride, 3)) + 1

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, dict[str, Any]]:
        self.check_input(x)
        if self.shortcut_type not in ("A", "B"):
            raise UserError(f"shortcut_type is {self.shortcut_type!r}; it must be 'A' or 'B'.")
        layers, endpoints = self.layers(train), {}
        kernel, strides = per_axis(self.conv1_t_size, 3), per_axis(self.conv1_t_stride, 3)
        padding = tuple(k // 2 for k in kernel)
        x = layers.conv(self.width, kernel, strides, padding=padding, name="conv1")(x)
        x = nn.relu(layers.norm(name="bn1")(x))
        if not self.no_max_pool:
            x = max_pool(x, 3, 2, 1)
        block, stage_sizes = variant(self.backbone)
        for stage, blocks in enumerate(stage_sizes):
            for i in range(blocks):
                x = ResidualBlock(
                    block,
                    self.width * 2**stage,
                    per_axis(2 if stage and i == 0 else 1, 3),
                    layers=layers,
                    shortcut=self.shortcut_type,
                    shortcut_bias=self.bias_downsample,
                    shortcut_gradient=self.shortcut_gradient,
                    name=f"layer{stage + 1}.{i}",
                )(x)
            x = self.mark(endpoints, f"stage{stage + 1}", x)
        features = endpoints["features"] = global_mean(x)
        return nn.Dense(self.num_classes, name="fc")(features), endpoints


# MedicalNet's shortcut
_VARIANTS = {
    "resnet10": "B",
    "resnet18": "A",
    "resnet34": "A",
    "resnet50": "B",
}

MODELS = {
    f"{name}_3d": Architecture(
        ResNet3D,
        {"backbone": name, "shortcut_type": shortcut},
        **facts_of(f"{name}_3d"),
        reference_settings={
            "spatial_dims": 3,
            "n_input_channels": 1,
            "conv1_t_stride": 2,
            "shortcut_type": shortcut,
            "bias_downsample": False,
        },
        endpoints={f"stage{i}": f"layer{i}" for i in (1, 2, 3, 4)} | {"features": "fc:input"},
        head=("fc",),
        stem="conv1",
        small=(24, 40, 32),
        odd=(37, 45, 33),
    )
    for name, shortcut in _VARIANTS.items()
}
