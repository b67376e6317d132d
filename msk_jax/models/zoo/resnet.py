"""ResNet v1.5.

He et al., Deep Residual Learning for Image Recognition, 2016; "v1.5" has the stride of a
bottleneck in its 3x3 convolution, as torchvision does.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from msk_jax.errors import UserError
from msk_jax.models.blocks.layers import Layers, endpoint
from msk_jax.models.blocks.pooling import global_mean, max_pool
from msk_jax.models.listing import facts_of
from msk_jax.models.network import Architecture, Network

# block, blocks per stage
VARIANTS = {
    "resnet10": ("basic", (1, 1, 1, 1)),
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
    "resnet101": ("bottleneck", (3, 4, 23, 3)),
    "resnet152": ("bottleneck", (3, 8, 36, 3)),
}


def variant(backbone: str) -> tuple[str, tuple[int, ...]]:
    """Kind of block and blocks per stage of a ResNet. Raises UserError where there is no such."""
    if backbone not in VARIANTS:
        raise UserError(f"backbone is {backbone!r}; it must be one of {', '.join(VARIANTS)}.")
    return VARIANTS[backbone]


class ResidualBlock(nn.Module):
    """A basic (two 3x3) or bottleneck (1x1, 3x3, 1x1 to four times the width) block.

    Where the shape changes, `shortcut` "B" projects with a 1x1 convolution and a norm (with a bias
    too if `shortcut_bias`), while "A" subsamples and adds channels of zeros, as He et al. call
    them. `shortcut_gradient` says whether "A" passes the gradient on.
    """

    kind: str
    features: int
    strides: tuple[int, ...]
    dilation: int = 1
    layers: Layers = Layers()
    shortcut: str = "B"
    shortcut_bias: bool = False
    shortcut_gradient: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv, norm = self.layers.conv, self.layers.norm
        rank = len(self.strides)
        one, three = (1,) * rank, (3,) * rank
        dilation = (self.dilation,) * rank
        if self.kind == "basic":
            out = self.features
            y = conv(self.features, three, self.strides, dilation, name="conv1")(x)
            y = nn.relu(norm(name="bn1")(y))
            y = conv(out, three, one, dilation, name="conv2")(y)
            y = norm(name="bn2")(y)
        else:
            out = 4 * self.features
            y = nn.relu(norm(name="bn1")(conv(self.features, one, name="conv1")(x)))
            y = conv(self.features, three, self.strides, dilation, name="conv2")(y)
            y = nn.relu(norm(name="bn2")(y))
            y = norm(name="bn3")(conv(out, one, name="conv3")(y))
        if x.shape[-1] != out or any(s != 1 for s in self.strides):
            x = self._reshaped(x, out)
        return nn.relu(x + y)

    def _reshaped(self, x: jax.Array, out: int) -> jax.Array:
        """The input at the size and with the channels of the output."""
        if self.shortcut == "B":
            conv, one = self.layers.conv, (1,) * len(self.strides)
            bias = self.shortcut_bias
            x = conv(out, one, self.strides, use_bias=bias, name="downsample.0")(x)
            return self.layers.norm(name="downsample.1")(x)
        x = x[(slice(None), *(slice(None, None, s) for s in self.strides), slice(None))]
        x = jnp.pad(x, ((0, 0),) * (x.ndim - 1) + ((0, out - x.shape[-1]),))
        return x if self.shortcut_gradient else lax.stop_gradient(x)


class ResNetEncoder(nn.Module):
    """The convolutional part of a ResNet.

    Input `[batch, height, width, channels]`, or `[batch, depth, height, width, channels]` with
    `volumetric`; in depth nothing is strided, for a 2.5-D stack is only a few slices deep.
    Returns the stage outputs `{"stage1": stride 4, "stage2": 8, "stage3": 16, "stage4": 32}`;
    `output_stride` of 8 or 16 replaces later strides by dilation (torchvision's rule: the first
    block of a dilated stage keeps the dilation of the stage before). With fewer `stages` than 4 the
    last ones are left out.
    """

    backbone: str = "resnet50"
    width: int = 64
    output_stride: int = 32
    volumetric: bool = False
    layers: Layers = Layers()
    stages: int = 4

    @nn.compact
    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        block, stage_sizes = variant(self.backbone)
        if self.stages not in (1, 2, 3, 4):
            raise UserError(f"stages is {self.stages}; a ResNet has 1 to 4.")
        if self.output_stride not in (8, 16, 32):
            raise UserError(f"output_stride is {self.output_stride}; it must be 8, 16 or 32.")
        plane = (lambda s: (1, s, s)) if self.volumetric else (lambda s: (s, s))
        rank = 3 if self.volumetric else 2
        kernel = (3, 7, 7) if self.volumetric else (7, 7)
        x = self.layers.conv(self.width, kernel, plane(2), name="conv1")(x)
        x = nn.relu(self.layers.norm(name="bn1")(x))
        window, padding = ((1, 3, 3), (0, 1, 1)) if self.volumetric else ((3, 3), (1, 1))
        x = max_pool(x, window, plane(2), padding)
        endpoints, stride, dilation = {}, 4, 1
        for stage, blocks in enumerate(stage_sizes[: self.stages]):
            step, first_dilation = (1 if stage == 0 else 2), dilation
            if step == 2 and stride * 2 > self.output_stride:
                step, dilation = 1, dilation * 2
            stride *= step
            for i in range(blocks):
                x = ResidualBlock(
                    block,
                    self.width * 2**stage,
                    plane(step) if i == 0 else (1,) * rank,
                    first_dilation if i == 0 else dilation,
                    self.layers,
                    name=f"layer{stage + 1}.{i}",
                )(x)
            x = endpoint(self, f"stage{stage + 1}", x)
            endpoints[f"stage{stage + 1}"] = x
        return endpoints


class ResNet(Network):
    """A ResNet classifier: `[batch, height, width, channels]` -> (logits, endpoints).

    Endpoints: `stage1` to `stage4`, `features`.
    """

    backbone: str = "resnet50"
    width: int = 64
    output_stride: int = 32

    @property
    def smallest(self) -> int:
        """With fewer pixels a stride would step over a single one."""
        return self.output_stride // 2 + 1

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, dict[str, Any]]:
        self.check_input(x)
        encoder = ResNetEncoder(
            self.backbone, self.width, self.output_stride, layers=self.layers(train)
        )
        nn.share_scope(self, encoder)
        endpoints = encoder(x)
        features = endpoints["features"] = global_mean(endpoints["stage4"])
        return nn.Dense(self.num_classes, name="fc")(features), endpoints


MODELS = {
    name: Architecture(
        ResNet,
        {"backbone": name},
        **facts_of(name),
        endpoints={f"stage{i}": f"layer{i}" for i in (1, 2, 3, 4)} | {"features": "fc:input"},
        head=("fc",),
        stem="conv1",
        small=(64, 64),
        odd=(75, 61),
        namings={"timm": ()},  # the same
    )
    for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
} | {
    f"resnet50_os{stride}": Architecture(
        ResNet,
        {"backbone": "resnet50", "output_stride": stride},
        **facts_of(f"resnet50_os{stride}"),
        reference_settings={"replace_stride_with_dilation": [False, stride == 8, True]},
        endpoints={f"stage{i}": f"layer{i}" for i in (1, 2, 3, 4)} | {"features": "fc:input"},
        head=("fc",),
        stem="conv1",
        small=(64, 64),
        odd=(75, 61),
        namings={"timm": ()},  # the same
    )
    for stride in (8, 16)
}
