"""EfficientNet.

Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, 2019; its
block is that of Sandler et al., MobileNetV2, 2018, with squeeze and excitation.
"""

import math
from typing import Any, ClassVar

import flax.linen as nn
import jax

from msk_jax.models.blocks.channel_attention import SqueezeExcitation
from msk_jax.models.blocks.layers import Layers
from msk_jax.models.blocks.pooling import global_mean
from msk_jax.models.listing import facts_of
from msk_jax.models.network import Architecture, Network

# expansion, kernel, stride, output channels and blocks of every stage of B0
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
STEM = 32


def round_channels(channels: float) -> int:
    """The nearest multiple of 8, at least 8 and not more than a tenth below."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class ConvNorm(nn.Module):
    """Convolution, batch norm, and SiLU if `activate`."""

    features: int
    kernel: int
    stride: int = 1
    groups: int = 1
    activate: bool = True
    epsilon: float = 1e-5
    momentum: float = 0.9
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel, strides = (self.kernel,) * 2, (self.stride,) * 2
        x = self.layers.conv(self.features, kernel, strides, groups=self.groups, name="0")(x)
        x = self.layers.norm(epsilon=self.epsilon, momentum=self.momentum, name="1")(x)
        return nn.silu(x) if self.activate else x


class MBConv(nn.Module):
    """Expand by 1x1, filter every channel, weigh the channels, project by 1x1.

    With a shortcut where the shape stays.
    """

    features: int
    expansion: int
    kernel: int
    stride: int
    drop_path: float
    epsilon: float
    momentum: float
    layers: Layers = Layers()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        norm = {"epsilon": self.epsilon, "momentum": self.momentum, "layers": self.layers}
        hidden = round_channels(self.expansion * x.shape[-1])
        y, part = x, 0
        if self.expansion != 1:
            y, part = ConvNorm(hidden, 1, **norm, name="block.0")(x), 1
        depthwise = {"stride": self.stride, "groups": hidden}
        y = ConvNorm(hidden, self.kernel, **depthwise, **norm, name=f"block.{part}")(y)
        squeezed = max(1, x.shape[-1] // 4)  # of the block's input, not of the expanded
        y = SqueezeExcitation(squeezed, nn.silu, layers=self.layers, name=f"block.{part + 1}")(y)
        y = ConvNorm(self.features, 1, activate=False, **norm, name=f"block.{part + 2}")(y)
        if self.stride != 1 or x.shape[-1] != self.features:
            return y
        return x + self.layers.drop_path(self.drop_path)(y)


class EfficientNet(Network):
    """An EfficientNet classifier: `[batch, height, width, channels]` -> (logits, endpoints).

    Endpoints: `stage1` to `stage7` (stride 2, 4, 8, 16, 16, 32, 32), `features`. `width_factor`
    and `depth_factor` scale B0's channels and blocks.
    """

    width_factor: float = 1.0
    depth_factor: float = 1.0
    dropout: float = 0.2
    drop_path: float = 0.2
    epsilon: float = 1e-5
    momentum: float = 0.9

    smallest: ClassVar[int] = 17  # with fewer a stride would step over a single pixel

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, dict[str, Any]]:
        self.check_input(x)
        layers = self.layers(train)
        norm = {"epsilon": self.epsilon, "momentum": self.momentum, "layers": layers}
        x = ConvNorm(self._width(STEM), 3, 2, **norm, name="features.0")(x)
        depths = [math.ceil(stage[-1] * self.depth_factor) for stage in STAGES]
        endpoints, block = {}, 0
        for i, (expansion, kernel, stride, channels, _) in enumerate(STAGES):
            for j in range(depths[i]):
                x = MBConv(
                    self._width(channels),
                    expansion,
                    kernel,
                    stride if j == 0 else 1,
                    self.drop_path * block / sum(depths),
                    **norm,
                    name=f"features.{i + 1}.{j}",
                )(x)
                block += 1
            x = self.mark(endpoints, f"stage{i + 1}", x)
        x = ConvNorm(4 * x.shape[-1], 1, **norm, name=f"features.{len(STAGES) + 1}")(x)
        features = endpoints["features"] = global_mean(x)
        init = nn.initializers.variance_scaling(1 / 3, "fan_out", "uniform")
        head = nn.Dense(self.num_classes, kernel_init=init, name="classifier.1")
        return head(layers.dropout(self.dropout)(features)), endpoints

    def _width(self, channels: int) -> int:
        return round_channels(channels * self.width_factor)


def _timm_names() -> tuple[tuple[str, str], ...]:
    pairs = [("conv_stem", "features.0.0"), ("bn1", "features.0.1")]
    parts = ["conv_pw bn1", "conv_dw bn2", "se", "conv_pwl bn3"]
    for stage in range(len(STAGES)):
        # the first stage does not expand
        for i, part in enumerate(parts if stage else ["conv_dw bn1", "se", "conv_pw bn2"]):
            names = ("conv_reduce", "conv_expand") if part == "se" else part.split()
            prefix = f"blocks.{stage}.{{i}}" + (".se" if part == "se" else "")
            ours = ("fc1", "fc2") if part == "se" else ("0", "1")
            pairs += [
                (f"{prefix}.{theirs}", f"features.{stage + 1}.{{i}}.block.{i}.{our}")
                for theirs, our in zip(names, ours, strict=True)
            ]
    last = len(STAGES) + 1
    pairs += [("conv_head", f"features.{last}.0"), ("bn2", f"features.{last}.1")]
    return (*pairs, ("classifier", "classifier.1"))


TIMM_NAMES = _timm_names()

# width, depth, dropout
VARIANTS = {
    "efficientnet_b0": (1.0, 1.0, 0.2),
    "efficientnet_b1": (1.0, 1.1, 0.2),
    "efficientnet_b2": (1.1, 1.2, 0.3),
    "efficientnet_b3": (1.2, 1.4, 0.3),
    "efficientnet_b4": (1.4, 1.8, 0.4),
    "efficientnet_b5": (1.6, 2.2, 0.4),
    "efficientnet_b6": (1.8, 2.6, 0.5),
    "efficientnet_b7": (2.0, 3.1, 0.5),
}
# From B5 on torchvision's norms are those of the original weights; timm's are not, so that the
# same weights are another network there.
_ORIGINAL_FROM = "efficientnet_b5"
ORIGINAL_NORM = {"epsilon": 1e-3, "momentum": 0.99}

MODELS = {
    name: Architecture(
        EfficientNet,
        {"width_factor": width, "depth_factor": depth, "dropout": dropout}
        | (ORIGINAL_NORM if name >= _ORIGINAL_FROM else {}),
        **facts_of(name),
        endpoints={f"stage{i}": f"features.{i}" for i in range(1, 8)}
        | {"features": "classifier.0"},
        head=("classifier.1",),
        stem="features.0.0",
        small=(64, 64),
        odd=(75, 61),
        namings={} if name >= _ORIGINAL_FROM else {"timm": TIMM_NAMES},
    )
    for name, (width, depth, dropout) in VARIANTS.items()
}
