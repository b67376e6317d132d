"""DeepLab v3: semantic segmentation with dilated convolutions.

Chen et al., Rethinking Atrous Convolution for Semantic Image Segmentation, 2017.
"""

from typing import Any

import flax.linen as nn
import jax

from msk_jax.models.blocks.aspp import ASPP
from msk_jax.models.blocks.layers import Layers, full_precision, upsample_linear
from msk_jax.models.listing import facts_of
from msk_jax.models.network import Architecture, Network
from msk_jax.models.zoo.resnet import ResNetEncoder


class _Decoder(nn.Module):
    """ASPP, a 3x3 convolution and the classifier of every pixel."""

    num_classes: int
    rates: tuple[int, ...]
    features: int
    dropout: float
    allow_degenerate: bool
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        context = ASPP(
            self.features, self.rates, self.dropout, self.allow_degenerate, self.layers, name="0"
        )(x)
        x = self.layers.conv(self.features, (3, 3), name="1")(context)
        return context, _classify(nn.relu(self.layers.norm(name="2")(x)), self.num_classes)


class _Auxiliary(nn.Module):
    """A second classifier on a stage before the last, for a shorter way to the gradient."""

    num_classes: int
    dropout: float
    layers: Layers

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.layers.conv(x.shape[-1] // 4, (3, 3), name="0")(x)
        x = nn.relu(self.layers.norm(name="1")(x))
        return _classify(self.layers.dropout(self.dropout)(x), self.num_classes)


def _classify(x: jax.Array, num_classes: int) -> jax.Array:
    """Logits per pixel in float32; called inside a module, whose fourth part it is."""
    return Layers().conv(num_classes, (1, 1), use_bias=True, name="4")(full_precision(x))


class DeepLabV3(Network):
    """`[batch, height, width, channels]` -> (logits `[batch, height, width, classes]`, endpoints).

    Endpoints: `stage1` to `stage4` of the encoder, `context` (after ASPP), `aux_logits` at the
    input's size (with `auxiliary`). A dilation rate that the last map cannot show is refused
    unless `allow_degenerate` is set.
    """

    num_classes: int = 21
    backbone: str = "resnet50"
    output_stride: int = 8
    rates: tuple[int, ...] = (12, 24, 36)
    features: int = 256
    auxiliary: bool = True
    allow_degenerate: bool = False
    dropout: float = 0.5
    aux_dropout: float = 0.1

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, dict[str, Any]]:
        self.check_input(x, smallest=self.output_stride // 2 + 1)
        layers, size = self.layers(train), x.shape[1:3]
        encoder = ResNetEncoder(
            self.backbone, output_stride=self.output_stride, layers=layers, name="backbone"
        )
        endpoints = encoder(x)
        decoder = _Decoder(
            self.num_classes,
            self.rates,
            self.features,
            self.dropout,
            self.allow_degenerate,
            layers,
            name="classifier",
        )
        context, logits = decoder(endpoints["stage4"])
        self.mark(endpoints, "context", context)
        if self.auxiliary:
            auxiliary = _Auxiliary(
                self.num_classes, self.aux_dropout, layers, name="aux_classifier"
            )
            aux_logits = auxiliary(endpoints["stage3"])
            endpoints["aux_logits"] = upsample_linear(aux_logits, size)
        return upsample_linear(logits, size), endpoints


MODELS = {
    "deeplabv3_resnet50": Architecture(
        DeepLabV3,
        # The published rates need a map of 73 x 73 to be seen whole: more than their own input.
        {"allow_degenerate": True},
        **facts_of("deeplabv3_resnet50"),
        reference_settings={"weights": None, "weights_backbone": None, "aux_loss": True},
        endpoints={f"stage{i}": f"backbone.layer{i}" for i in (1, 2, 3, 4)}
        | {"context": "classifier.0"},
        head=("classifier.4", "aux_classifier.4"),
        stem="backbone.conv1",
        auxiliary="aux_classifier",
        small=(64, 64),
        # The norm of the pooled image is over the pictures of a batch alone: over two it divides by
        # the distance of two values, and ten steps of SGD make 1e-3 of double precision's rounding.
        batch_in_training=4,
        odd=(75, 61),
    )
}
