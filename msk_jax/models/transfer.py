"""A ResNet with a new head of two layers, for weights that were learned on other pictures.

After Hao Y. et al., Chinese Journal of Intelligent Science and Technology 2024;6(3):319-328: "a
modified ResNet-50 with transfer learning". What was modified is not published; the head is ours.
"""

import dataclasses
from typing import Any, Literal

import chex
import flax.linen as nn
import jax

from msk_jax.models.encoder_weights import load_encoder
from msk_jax.models.layers import Layers
from msk_jax.models.pooling import global_mean
from msk_jax.models.resnet import ResNetEncoder


@dataclasses.dataclass(frozen=True)
class TransferNetConfig:
    """What the network is made of. Only the ResNet-50 is published."""

    backbone: Literal["resnet10", "resnet18", "resnet34", "resnet50", "resnet101"] = "resnet50"
    """Encoder."""
    width: int = 64
    """Channels of the encoder's first stage; 64 is a standard ResNet."""
    num_slices: int = 1
    """Neighbouring slices in a picture. For a single one colour weights are summed over their
    colours, which is the same as showing it to all three."""
    num_classes: int = 3
    """Classes of the softmax."""
    hidden: int = 256
    """Features between the two layers of the head."""
    dropout: float = 0.5
    """Dropout before the head."""

    load = staticmethod(load_encoder)

    @property
    def explained_endpoints(self) -> tuple[str, ...]:
        """The endpoints whose evidence Grad-CAM shows."""
        return ("stage3", "stage4")

    def build(self, axis_name: str | None = None, dtype: Any = None) -> "TransferNet":
        """The network; `axis_name` synchronises batch norm over devices."""
        return TransferNet(self, axis_name=axis_name, dtype=dtype)


class TransferNet(nn.Module):
    """`[batch, height, width, slices]` -> (logits `[batch, classes]`, endpoints).

    Endpoints: `stage1`..`stage4`, `features`. Dropout, dense, ReLU, dense follow the features.
    """

    config: TransferNetConfig
    axis_name: str | None = None
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False):
        c = self.config
        chex.assert_shape(x, (None, None, None, c.num_slices))
        layers = Layers(train, self.axis_name, self.dtype)
        endpoints = ResNetEncoder(c.backbone, c.width, layers=layers, name="encoder")(x)
        features = endpoints["features"] = global_mean(endpoints["stage4"])
        hidden = nn.relu(nn.Dense(c.hidden, name="head.0")(layers.dropout(c.dropout)(features)))
        return nn.Dense(c.num_classes, name="head.1")(hidden), endpoints
