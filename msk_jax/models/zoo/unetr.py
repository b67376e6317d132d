"""UNETR: a vision transformer as the encoder of a 3-D U-Net.

Hatamizadeh et al.: UNETR: Transformers for 3D Medical Image Segmentation, 2022.
"""

from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax

from msk_jax.errors import UserError
from msk_jax.models.blocks.attention import MONAI, TransformerLayer, narrow_normal
from msk_jax.models.blocks.layers import LayerNorm, Layers, endpoint, full_precision
from msk_jax.models.listing import facts_of
from msk_jax.models.network import Architecture, Network
from msk_jax.models.zoo.dynunet import DoubleConv, UpBlock

PATCH = 16  # each of the four decoder levels doubles the size
DEPTH = 12
TAPS = (4, 7, 10)  # layers whose output feeds encoder levels 2, 3 and 4
ONE, TWO, THREE = (1,) * 3, (2,) * 3, (3,) * 3


class UNETR(Network):
    """UNETR: `[batch, depth, height, width, channels]` -> (logits at full resolution, endpoints).

    The position embedding is made for the size at which the network is initialised; sizes are
    multiples of 16. `width` is that of the first convolutional level, `hidden` that of the tokens.
    Endpoints: `encoder1` (full resolution) to `encoder5` (the tokens after the last norm, a
    sixteenth), `up4` to `up1`, the way back.
    """

    num_classes: int = 2
    in_channels: int = 1
    width: int = 16
    hidden: int = 768
    mlp_features: int = 3072
    num_heads: int = 12
    norm: str = "plain_instance"
    dropout: float = 0.0

    spatial_rank: ClassVar[int] = 3

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, dict[str, Any]]:
        self.check_input(x)
        self.check_divisible(x, (PATCH,) * 3)
        layers = self.layers(train)
        block = partial(DoubleConv, residual=True, norm=self.norm, layers=layers)
        tokens = self._tokens(x, layers)
        endpoints = {"encoder1": block(self.width, THREE, ONE, name="encoder1.layer")(x)}
        for level, y in enumerate(tokens[:-1], start=2):
            # The fewer layers a level has seen, the finer it becomes.
            features = self.width * 2 ** (level - 1)
            up = partial(layers.conv_transpose, features, TWO, TWO, use_bias=False)
            y = up(name=f"encoder{level}.transp_conv_init.conv")(y)
            for i in range(4 - level):
                name = f"encoder{level}.blocks.{i}"
                y = block(features, THREE, ONE, name=f"{name}.1")(up(name=f"{name}.0.conv")(y))
            endpoints[f"encoder{level}"] = y
        endpoints["encoder5"] = tokens[-1]
        endpoints = {name: endpoint(self, name, y) for name, y in endpoints.items()}
        x = endpoints["encoder5"]
        for level in (4, 3, 2, 1):
            x = UpBlock(block, THREE, TWO, layers, name=f"decoder{level + 1}")(
                x, endpoints[f"encoder{level}"]
            )
            x = self.mark(endpoints, f"up{level}", x)
        head = Layers().conv(self.num_classes, ONE, use_bias=True, name="out.conv.conv")
        return head(full_precision(x)), endpoints

    def _tokens(self, x: jax.Array, layers: Layers) -> list[jax.Array]:
        """Outputs of the layers `TAPS` and of the last norm, as maps of a sixteenth the size."""
        patch, init = (PATCH,) * 3, nn.initializers.lecun_normal()
        x = layers.conv(
            self.hidden,
            patch,
            patch,
            padding=0,
            use_bias=True,
            kernel_init=init,
            name="vit.patch_embedding.patch_embeddings",
        )(x)
        shape = x.shape
        x = x.reshape(shape[0], -1, self.hidden)
        x = x + self._places(x.shape[1]).astype(x.dtype)
        x = layers.dropout(self.dropout)(x)
        maps = []
        for i in range(DEPTH):
            name = f"vit.blocks.{i}"
            x = TransformerLayer(
                self.num_heads,
                self.mlp_features,
                dropout=self.dropout,
                attention_dropout=self.dropout,
                use_qkv_bias=False,
                names=MONAI,
                layers=layers,
                name=name,
            )(x)
            # The reference has this norm for cross-attention and does not use it here.
            LayerNorm(name=f"{name}.norm_cross_attn")(x[:, :1])
            if i + 1 in TAPS:
                maps.append(x.reshape(shape))
        return [*maps, LayerNorm(name="vit.norm")(x).reshape(shape)]

    def _places(self, patches: int) -> jax.Array:
        """The position embedding, `[1, patches, hidden]`."""
        name = "vit.patch_embedding.position_embeddings"
        if self.has_variable("params", name):
            made_for = self.get_variable("params", name).shape[1]
            if made_for != patches:
                raise UserError(
                    f"This UNETR has position embeddings for {made_for} patches of 16 x 16 x 16; "
                    f"the input has {patches}. Give it the size it was made for."
                )
        return self.param(name, narrow_normal, (1, patches, self.hidden))


MODELS = {
    "unetr": Architecture(
        UNETR,
        {},
        **facts_of("unetr"),
        reference_settings={"in_channels": 1, "out_channels": 2, "img_size": (96, 96, 96)},
        size_setting="img_size",
        endpoints={f"encoder{i}": f"encoder{i}" for i in (1, 2, 3, 4)}
        | {"encoder5": "decoder5:input"}
        | {f"up{i}": f"decoder{i + 1}" for i in (4, 3, 2, 1)},
        head=("out.conv.conv",),
        stem="vit.patch_embedding.patch_embeddings",
        small=(32, 48, 32),
    )
}
