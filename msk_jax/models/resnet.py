"""ResNet v1.5, 2-D and 3-D.

He et al., Deep Residual Learning for Image Recognition, 2016; "v1.5" has the stride of a
bottleneck in its 3x3 convolution, as torchvision does. Module names follow torchvision's
(`conv1`, `bn1`, `layer1_0`, ...), so that its weights map by rule (`models.torch_weights`).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from msk_jax.models.layers import BatchNorm, Conv

# block, blocks per stage
VARIANTS = {
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
    "resnet101": ("bottleneck", (3, 4, 23, 3)),
    "resnet152": ("bottleneck", (3, 8, 36, 3)),
}


class ResidualBlock(nn.Module):
    """A basic (two 3x3) or bottleneck (1x1, 3x3, 1x1 to four times the width) block."""

    kind: str
    features: int
    strides: tuple[int, ...]
    dilation: int
    conv: Callable
    norm: Callable

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        rank = len(self.strides)
        one, three = (1,) * rank, (3,) * rank
        dilation = (self.dilation,) * rank
        if self.kind == "basic":
            out = self.features
            y = self.conv(self.features, three, self.strides, dilation, name="conv1")(x)
            y = nn.relu(self.norm(name="bn1")(y))
            y = self.conv(out, three, one, dilation, name="conv2")(y)
            y = self.norm(name="bn2")(y)
        else:
            out = 4 * self.features
            y = nn.relu(self.norm(name="bn1")(self.conv(self.features, one, name="conv1")(x)))
            y = self.conv(self.features, three, self.strides, dilation, name="conv2")(y)
            y = nn.relu(self.norm(name="bn2")(y))
            y = self.norm(name="bn3")(self.conv(out, one, name="conv3")(y))
        if x.shape[-1] != out or any(s != 1 for s in self.strides):
            x = self.conv(out, one, self.strides, name="downsample_conv")(x)
            x = self.norm(name="downsample_bn")(x)
        return nn.relu(x + y)


class ResNetEncoder(nn.Module):
    """The convolutional part of a ResNet.

    Input `[batch, height, width, channels]`, or `[batch, depth, height, width, channels]` with
    `depth=True`; in depth nothing is strided, for a 2.5-D stack is only a few slices deep.
    Returns the stage outputs `{"stage1": stride 4, "stage2": 8, "stage3": 16, "stage4": 32}`;
    `output_stride` of 8 or 16 replaces later strides by dilation (torchvision's rule: the first
    block of a dilated stage keeps the dilation of the stage before).
    """

    variant: str = "resnet50"
    width: int = 64
    output_stride: int = 32
    depth: bool = False
    conv: Callable = Conv
    norm: Callable = BatchNorm

    @nn.compact
    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        block, stage_sizes = VARIANTS[self.variant]
        plane = (lambda s: (1, s, s)) if self.depth else (lambda s: (s, s))
        rank = 3 if self.depth else 2
        kernel = (3, 7, 7) if self.depth else (7, 7)
        x = self.conv(self.width, kernel, plane(2), name="conv1")(x)
        x = nn.relu(self.norm(name="bn1")(x))
        window, padding = ((1, 3, 3), (0, 1, 1)) if self.depth else ((3, 3), (1, 1))
        # flax pads a max-pool with -inf, as PyTorch does.
        x = nn.max_pool(x, window, plane(2), tuple((p, p) for p in padding))
        endpoints, stride, dilation = {}, 4, 1
        for stage, blocks in enumerate(stage_sizes):
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
                    self.conv,
                    self.norm,
                    name=f"layer{stage + 1}_{i}",
                )(x)
            x = self.perturb(f"stage{stage + 1}", x)
            endpoints[f"stage{stage + 1}"] = x
        return endpoints


class ResNet(nn.Module):
    """A ResNet classifier: `[batch, height, width, channels]` -> (logits, endpoints)."""

    variant: str = "resnet50"
    num_classes: int = 1000
    width: int = 64
    output_stride: int = 32
    axis_name: str | None = None
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False):
        chex.assert_rank(x, 4)
        encoder = ResNetEncoder(
            self.variant,
            self.width,
            self.output_stride,
            conv=partial(Conv, dtype=self.dtype),
            norm=partial(BatchNorm, train=train, axis_name=self.axis_name),
            name="encoder",
        )
        endpoints = encoder(x)
        features = jnp.mean(endpoints["stage4"].astype(jnp.float32), (1, 2))
        logits = nn.Dense(self.num_classes, name="fc")(features)
        return logits, {**endpoints, "features": features}
