"""A ResNet and a Transformer over the cells of a grid, for a whole radiograph.

After Li Z. et al., Chinese Journal of Medical Imaging Technology 2026;42(3):403-407, whose abstract
names a hybrid of ResNet-18 and Transformer over a partition of the picture into 6 x 6 blocks. It
can be read in two ways, `reading`; depth, heads and the rest are our choice.
"""

from typing import Any

import chex
import flax.linen as nn
import jax

from msk_jax.errors import UserError
from msk_jax.models.blocks.grid_transformer import GridTransformer
from msk_jax.models.blocks.layers import Layers, endpoint
from msk_jax.models.systems.configs import GridNetConfig
from msk_jax.models.zoo.resnet import ResNetEncoder


class GridNet(nn.Module):
    """`[batch, height, width, slices]` -> (logits `[batch, classes]`, endpoints).

    The means of the trunk's last map over the cells of the grid are the tokens of a Transformer,
    whose class token, or the mean of the others, is classified. Endpoints: `map` `[batch, h, w,
    channels]`, that last map (of patches put together as they lie), and `features`.
    """

    config: GridNetConfig
    axis_name: str | None = None
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False):
        c = self.config
        chex.assert_shape(x, (None, None, None, c.num_slices))
        layers = Layers(train, self.axis_name, self.dtype)
        encoder = ResNetEncoder(c.backbone, c.width, stages=c.stages, layers=layers, name="encoder")
        last = f"stage{c.stages}"
        if c.reading == "patches":
            x = joined(encoder(patches(x, c.grid))[last], c.grid)
        else:
            x = encoder(x)[last]
        x = endpoint(self, "map", x)
        batch = x.shape[0]
        cells = patches(x, c.grid).mean((1, 2)).reshape(batch, c.grid, c.grid, -1)
        if c.token_norm:
            cells = layers.norm(name="token_norm")(cells)
        features = self._summary(cells, layers)
        return nn.Dense(c.num_classes, name="head")(features), {"map": x, "features": features}

    def _summary(self, cells: jax.Array, layers: Layers) -> jax.Array:
        """`[batch, grid, grid, channels]` -> `[batch, channels]`."""
        c = self.config
        if not c.depth:
            return cells.mean((1, 2))
        transformer = GridTransformer(
            c.depth, c.num_heads, c.mlp_ratio, c.dropout, layers=layers, name="transformer"
        )
        summary, tokens = transformer(cells)
        return summary if c.summary == "class token" else tokens.mean(1)


def patches(x: jax.Array, grid: int) -> jax.Array:
    """`[batch, height, width, channels]` -> `[batch * grid * grid, height / grid, width / grid,
    channels]`, the cells of a picture row by row.

    Raises:
        UserError: the grid does not divide the size.
    """
    batch, height, width, channels = x.shape
    if height % grid or width % grid:
        raise UserError(
            f"A grid of {grid} x {grid} does not divide a map of {height} x {width}. Give another "
            "--grid, --crop or --shrink."
        )
    h, w = height // grid, width // grid
    cells = x.reshape(batch, grid, h, grid, w, channels).transpose(0, 1, 3, 2, 4, 5)
    return cells.reshape(batch * grid * grid, h, w, channels)


def joined(cells: jax.Array, grid: int) -> jax.Array:
    """The inverse of `patches`."""
    count, h, w, channels = cells.shape
    batch = count // grid**2
    x = cells.reshape(batch, grid, grid, h, w, channels).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, grid * h, grid * w, channels)
