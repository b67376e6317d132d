"""A ResNet with a new head of two layers, for weights that were learned on other pictures.

After Hao Y. et al., Chinese Journal of Intelligent Science and Technology 2024;6(3):319-328: "a
modified ResNet-50 with transfer learning". What was modified is not published; the head is ours.
"""

from typing import Any

import chex
import flax.linen as nn
import jax

from msk_jax.models.blocks.layers import Layers
from msk_jax.models.blocks.pooling import global_mean
from msk_jax.models.systems.configs import TransferNetConfig
from msk_jax.models.zoo.resnet import ResNetEncoder


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
