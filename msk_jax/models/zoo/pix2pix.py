"""pix2pix: a picture made from another, and the judge of its patches.

Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, 2017, in the layout
and under the names of the authors' PyTorch code (no norm at the 1x1 bottleneck).
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from msk_jax.models.blocks.layers import Layers, full_precision
from msk_jax.models.listing import facts_of
from msk_jax.models.network import Architecture, Network

_normal = nn.initializers.normal(0.02)  # the paper's


class Pix2PixGenerator(Network):
    """`[batch, height, width, channels]` -> (picture of `num_classes` channels, endpoints).

    The picture is as large as the input and in -1..1. A U-Net halves the sides `depth` times by
    4x4 convolutions, so they must be multiples of 2 ** depth. Endpoints: `encoder1` to `encoder8`
    (before the rectifiers), `decoder8` (innermost) to `decoder2` (before skips are joined). The
    paper's only noise is dropout on the three innermost decoder levels, here in training mode
    alone.
    """

    num_classes: int = 3
    width: int = 64
    depth: int = 8
    dropout: float = 0.5

    smallest: ClassVar[int] = 256

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, dict[str, Any]]:
        self.check_input(x, 2**self.depth)
        self.check_divisible(x, 2**self.depth)
        layers, endpoints = self.layers(train), {}
        widths = [self.width * min(8, 2**level) for level in range(self.depth)]
        for level, features in enumerate(widths):
            x = self._halve(x, level, features, layers)
            x = self.mark(endpoints, f"encoder{level + 1}", x)
        for level in range(self.depth - 1, 0, -1):
            x = self._double(x, level, widths[level - 1], layers)
            x = self.mark(endpoints, f"decoder{level + 1}", x)
            x = jnp.concatenate([endpoints[f"encoder{level}"], x], -1)
        x = full_precision(nn.relu(x))
        last = Layers().conv_transpose(
            self.num_classes, (4, 4), (2, 2), padding=1, kernel_init=_normal, name="model.model.3"
        )
        return nn.tanh(last(x)), endpoints

    def _halve(self, x: jax.Array, level: int, features: int, layers: Layers) -> jax.Array:
        name = self._name(level)
        place = f"{name}.1" if level else f"{name}.0"
        x = nn.leaky_relu(x, 0.2) if level else x
        x = layers.conv(features, (4, 4), (2, 2), padding=1, kernel_init=_normal, name=place)(x)
        return layers.norm(name=f"{name}.2")(x) if 0 < level < self.depth - 1 else x

    def _double(self, x: jax.Array, level: int, features: int, layers: Layers) -> jax.Array:
        conv, norm = (3, 4) if level == self.depth - 1 else (5, 6)
        name = self._name(level)
        x = layers.conv_transpose(
            features,
            (4, 4),
            (2, 2),
            padding=1,
            use_bias=False,
            kernel_init=_normal,
            name=f"{name}.{conv}",
        )(nn.relu(x))
        x = layers.norm(name=f"{name}.{norm}")(x)
        return layers.dropout(self.dropout if level >= self.depth - 3 else 0.0)(x)

    def _name(self, level: int) -> str:
        """The authors nest every level in the one above it."""
        return "model.model" + (".1.model" if level else "") + ".3.model" * (level - 1)


class PatchDiscriminator(Network):
    """Is every patch of a picture real? `[batch, height, width, channels]` -> logits of patches.

    The input is the condition and the picture, joined on channels; with `depth` 3 a logit sees
    70 x 70 pixels and the logits are `[batch, height / 8 - 2, width / 8 - 2, num_classes]`.
    Endpoints: `stage1` to `stage4` (for `depth` 3), after the rectifiers.
    """

    num_classes: int = 1
    in_channels: int = 6
    width: int = 64
    depth: int = 3

    smallest: ClassVar[int] = 24

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, dict[str, Any]]:
        self.check_input(x, 3 * 2**self.depth)
        layers, endpoints = self.layers(train), {}
        for stage in range(self.depth + 1):
            name = f"{stage - 1}" if stage else "initial_conv"
            x = layers.conv(
                self.width * 2**stage,
                (4, 4),
                (1, 1) if stage == self.depth else (2, 2),
                padding=1,
                use_bias=not stage,
                kernel_init=_normal,
                name=f"{name}.conv",
            )(x)
            x = layers.norm(name=f"{name}.adn.N")(x) if stage else x
            x = nn.leaky_relu(x, 0.2)
            x = self.mark(endpoints, f"stage{stage + 1}", x)
        last = Layers().conv(
            self.num_classes,
            (4, 4),
            padding=1,
            use_bias=True,
            kernel_init=_normal,
            name="final_conv.conv",
        )
        return last(full_precision(x)), endpoints


_AUTHORS = [
    ("model.0", "initial_conv.conv"),
    *((f"model.{2 + 3 * i}", f"{i}.conv") for i in range(3)),
    *((f"model.{3 + 3 * i}", f"{i}.adn.N") for i in range(3)),
    ("model.11", "final_conv.conv"),
]

_LEVELS = {level: "model.model.1.model" + ".3.model" * (level - 1) for level in range(1, 8)}

MODELS = {
    "pix2pix_generator": Architecture(
        Pix2PixGenerator,
        {},
        **facts_of("pix2pix_generator"),
        endpoints={"encoder1": "model.model.0", "encoder8": f"{_LEVELS[7]}.1"}
        | {f"encoder{level + 1}": f"{_LEVELS[level]}.2" for level in range(1, 7)}
        | {f"decoder{level + 1}": f"{_LEVELS[level]}.6" for level in range(1, 7)}
        | {"decoder8": f"{_LEVELS[7]}.4"},
        head=("model.model.3",),
        stem="model.model.0",
        small=(256, 256),
        namings={"pix2pix": ()},  # the same
    ),
    "pix2pix_discriminator": Architecture(
        PatchDiscriminator,
        {},
        **facts_of("pix2pix_discriminator"),
        reference_settings={"spatial_dims": 2, "channels": 64, "in_channels": 6},
        endpoints={"stage1": "initial_conv"} | {f"stage{i + 2}": f"{i}" for i in range(3)},
        head=("final_conv.conv",),
        stem="initial_conv.conv",
        small=(64, 64),
        odd=(75, 61),
        namings={"pix2pix": _AUTHORS},
    ),
}
