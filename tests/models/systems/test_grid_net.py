"""The grid of patches, and what its two readings let a cell know of the others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msk_jax.errors import UserError
from msk_jax.models import GridNetConfig
from msk_jax.models.blocks.grid_transformer import GridTransformer
from msk_jax.models.systems.grid_net import joined, patches


def test_patches_lie_row_by_row_and_go_back():
    x = jnp.arange(2 * 6 * 6 * 1.0).reshape(2, 6, 6, 1)
    cells = patches(x, 3)
    assert cells.shape == (18, 2, 2, 1)
    # The second cell of the second row of the second picture: rows 2, 3 and columns 2, 3.
    np.testing.assert_array_equal(cells[9 + 4, ..., 0], 36 + np.array([[14, 15], [20, 21]]))
    np.testing.assert_array_equal(joined(cells, 3), x)
    with pytest.raises(UserError, match="grid of 4 x 4 does not divide a map of 6 x 6"):
        patches(x, 4)


@pytest.mark.parametrize("reading", ["patches", "whole"])
def test_a_cell_is_seen_by_itself_or_with_its_neighbours(reading):
    config = GridNetConfig("resnet10", 4, reading, grid=2, depth=1, num_heads=2)
    network, x = config.build(), np.random.default_rng(0).normal(size=(1, 128, 128, 1))
    variables = jax.eval_shape(network.init, jax.random.key(0), x)
    rng = np.random.default_rng(1)
    variables = jax.tree.map(lambda v: rng.uniform(0.1, 0.3, v.shape).astype(v.dtype), variables)
    variables = {k: variables[k] for k in ("params", "batch_stats")}
    see = jax.jit(lambda x: network.apply(variables, x)[1]["map"])
    changed = x.copy()
    changed[:, :64, :64] += 1.0  # the first cell
    moved = np.abs(np.asarray(see(changed) - see(x))).max(axis=(0, 3)) > 0
    assert moved.shape == (4, 4) and moved[:2, :2].any()
    assert moved[2:, 2:].any() == moved[:2, 2:].any() == (reading == "whole")


def test_without_transformer_the_mean_of_the_cells_is_classified():
    config = GridNetConfig("resnet10", 4, grid=2, depth=0)
    network, x = config.build(), np.random.default_rng(0).normal(size=(1, 64, 64, 1))
    variables = jax.jit(network.init)(jax.random.key(0), x)
    assert set(variables["params"]) == {"encoder", "head"}
    see = jax.jit(lambda x: network.apply(variables, x)[0])
    # Cells that change their places leave their mean as it is.
    np.testing.assert_allclose(see(np.roll(x, 32, axis=1)), see(x), rtol=1e-5)
    assert not np.allclose(see(x[:, ::-1]), see(x), rtol=1e-3)


def test_published_size():
    """Either reading of 384 pixels: a map of 12 x 12 x 512, and ResNet-18 less its last layer."""
    for reading in ("patches", "whole"):
        config = GridNetConfig(reading=reading)
        network = config.build()
        x = jax.ShapeDtypeStruct((2, 384, 384, 1), jnp.float32)
        (logits, endpoints), variables = jax.eval_shape(
            lambda x, network=network: network.init_with_output(jax.random.key(0), x), x
        )
        assert logits.shape == (2, 2) and endpoints["map"].shape == (2, 12, 12, 512)
        encoder = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]["encoder"]))
        # torchvision's count less its classifier, and a stem of one channel instead of three.
        assert encoder == 11_689_512 - 513_000 - 2 * 64 * 7 * 7
        places = variables["params"]["transformer"]["pos_embedding"]
        assert places.shape == (1, 37, 512)


def test_fewer_stages_leave_a_finer_map():
    """Two of four: 384 pixels become 48 of 128 channels, and the later stages are not there."""
    network, x = GridNetConfig(stages=2).build(), jax.ShapeDtypeStruct((1, 384, 384, 1), "float32")
    (_, endpoints), variables = jax.eval_shape(
        lambda x: network.init_with_output(jax.random.key(0), x), x
    )
    assert endpoints["map"].shape == (1, 48, 48, 128)
    encoder = variables["params"]["encoder"]
    assert {name for name in encoder if name.startswith("layer")} == {
        "layer1.0",
        "layer1.1",
        "layer2.0",
        "layer2.1",
    }
    with pytest.raises(UserError, match="stages is 5; a ResNet has 1 to 4"):
        jax.eval_shape(GridNetConfig(stages=5).build().init, jax.random.key(0), x)


def test_mean_of_normed_tokens():
    """From the map on: means of cells, normed over cells and pictures, through the layers."""
    config = GridNetConfig(
        "resnet10",
        4,
        stages=1,
        grid=2,
        token_norm=True,
        depth=1,
        num_heads=2,
        dropout=0.0,
        summary="mean",
    )
    x = np.random.default_rng(0).normal(size=(3, 32, 32, 1)).astype(np.float32)
    network = config.build()
    variables = jax.jit(network.init)(jax.random.key(0), x)
    variables = {k: variables[k] for k in ("params", "batch_stats")}
    (_, found), _ = jax.jit(lambda x: network.apply(variables, x, True, mutable="batch_stats"))(x)
    cells = np.asarray(found["map"]).reshape(3, 2, 4, 2, 4, 4).mean((2, 4))
    cells = (cells - cells.mean((0, 1, 2))) / np.sqrt(cells.var((0, 1, 2)) + 1e-5)
    transformer = GridTransformer(1, 2, dropout=0.0)
    _, tokens = transformer.apply({"params": variables["params"]["transformer"]}, cells)
    np.testing.assert_allclose(found["features"], tokens.mean(1), atol=1e-5)
