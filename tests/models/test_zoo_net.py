"""A network of the registry by its name, as an experiment has it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from msk_jax.data.feed.augment import Preprocess
from msk_jax.errors import UserError
from msk_jax.models import MODELS, ZooNetConfig
from msk_jax.models.weights.torch_weights import dump_torch
from msk_jax.tasks.classification import TrainedClassification
from msk_jax.training.recipe import Recipe
from msk_jax.training.step import StepSettings, untrained_variables
from tests.filled import filled


# Of every family the smallest that classifies pictures, and the last of its maps at 64 pixels.
@pytest.mark.parametrize(
    "network, endpoint",
    [("resnet18", (2, 2, 512)), ("efficientnet_b0", (2, 2, 320)), ("vgg16", (4, 4, 512))],
)
def test_it_is_that_network_and_its_last_map_is_explained(network, endpoint):
    config = ZooNetConfig(network, num_slices=1, num_classes=3)
    (logits, endpoints), _ = jax.eval_shape(
        config.build().init_with_output, jax.random.key(0), jnp.zeros((2, 64, 64, 1))
    )
    assert logits.shape == (2, 3)
    (name,) = config.explained_endpoints
    assert endpoints[name].shape == (2, *endpoint)


def test_fields_that_differ():
    config = ZooNetConfig("efficientnet_b0", (("width_factor", 0.5), ("dropout", 0.4)))
    network = config.build(axis_name="device")
    assert (network.width_factor, network.dropout, network.depth_factor) == (0.5, 0.4, 1.0)
    assert (network.in_channels, network.num_classes, network.axis_name) == (1, 2, "device")
    assert ZooNetConfig("resnet18", (("width", 8.0),)).build().width == 8
    with pytest.raises(UserError, match=r"no setting 'droput'.*dropout"):
        ZooNetConfig("efficientnet_b0", (("droput", 0.4),)).build()
    with pytest.raises(UserError, match=r"resnet50_3d|takes volumes"):
        ZooNetConfig(next(n for n, e in MODELS.items() if e.network.spatial_rank == 3)).build()


def test_weights_of_a_colour_network_with_other_classes():
    """The grey stem is the sum of the colours, the head stays, all else is the file's."""
    entry, config = MODELS["efficientnet_b0"], ZooNetConfig("efficientnet_b0")
    theirs = filled(
        ZooNetConfig("efficientnet_b0", num_slices=3, num_classes=5).build(), 1, 64, 64, 3
    )
    own = filled(config.build(), 1, 64, 64, 1, seed=4)
    loaded = config.load(own, dump_torch(theirs, entry.namings["timm"]))
    colour = theirs["params"]["features.0"]["0"]["kernel"]
    np.testing.assert_allclose(
        loaded["params"]["features.0"]["0"]["kernel"], colour.sum(2, keepdims=True), rtol=1e-6
    )
    np.testing.assert_array_equal(
        loaded["params"]["classifier.1"]["kernel"], own["params"]["classifier.1"]["kernel"]
    )
    same = jax.tree.map(np.array_equal, loaded["batch_stats"], theirs["batch_stats"])
    assert all(jax.tree.leaves(same))


def test_what_does_not_classify_pictures_is_refused():
    settings = StepSettings(
        ZooNetConfig("unet", num_classes=2).build(),
        TrainedClassification(2),
        None,
        Preprocess(),
        Recipe(),
    )
    with pytest.raises(UserError, match="does not classify pictures"):
        jax.eval_shape(lambda k: untrained_variables(settings, (32, 32, 1), k), jax.random.key(0))
    with pytest.raises(UserError, match="gives detections, not logits: it does not classify"):
        ZooNetConfig("fasterrcnn_resnet50_fpn").build()
