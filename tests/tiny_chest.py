"""The osteoporosis experiment at a size for tests; the command line takes it by its path."""

import dataclasses

from msk_jax.data.feed.augment import Augmentation
from msk_jax.data.regions.radiograph import RadiographRegion
from msk_jax.dotted import changed
from msk_jax.experiments.osteoporosis import experiment as whole
from msk_jax.methods.network import Network
from msk_jax.models import GridNetConfig
from msk_jax.training.recipe import Recipe

_network = Network(
    model=GridNetConfig("resnet10", 4, grid=2, depth=1, num_heads=2),
    preprocess=whole.stages[0].method.preprocess,
    recipe=Recipe(
        epochs=1,
        batch_size=8,
        learning_rate=3e-3,
        warmup_epochs=0,
        monitor="loss",
        augmentation=Augmentation(rotation=5.0),
    ),
)

experiment = dataclasses.replace(
    whole,
    name="tiny_chest",
    phantom=dataclasses.replace(whole.phantom, patients=48, matrix=64, pixel_mm=6.0, workers=1),
    cohort=changed(whole.cohort, {"radiograph.region": RadiographRegion(size=64)}),
    stages=(dataclasses.replace(whole.stages[0], method=_network), *whole.stages[1:]),
    small={},
    split=dataclasses.replace(whole.split, folds=3),
    judging=changed(whole.judging, {"evaluation.bootstrap_samples": 50}),
)
