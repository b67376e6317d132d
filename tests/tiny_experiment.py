"""The sacroiliitis experiment at a size for tests; the command line takes it by its path."""

import dataclasses

from msk_jax.data.feed.augment import Augmentation
from msk_jax.data.regions.sacroiliac import SacroiliacRegion
from msk_jax.dotted import changed
from msk_jax.experiments.sacroiliitis import experiment as whole
from msk_jax.methods.network import Network
from msk_jax.models import MS25DNetConfig
from msk_jax.training.recipe import Recipe

_network = Network(
    model=MS25DNetConfig(
        num_slices=3,
        backbone="resnet10",
        width=4,
        output_stride=8,
        aspp_rates=(1,),
        pyramid_features=8,
        dropout=0.1,
    ),
    preprocess=whole.stages[0].method.preprocess,
    recipe=Recipe(
        epochs=2,
        batch_size=16,
        learning_rate=3e-3,
        rates=((".*", 1.0),),
        warmup_epochs=0,
        monitor="auc",
        augmentation=Augmentation(rotation=5.0),
    ),
)

experiment = dataclasses.replace(
    whole,
    name="tiny",
    phantom=dataclasses.replace(whole.phantom, patients=9, matrix=96, pixel_mm=3.6, workers=1),
    cohort=changed(whole.cohort, {"pelvis.region": SacroiliacRegion(pixel_mm=3.0, size=32)}),
    stages=(dataclasses.replace(whole.stages[0], method=_network), *whole.stages[1:]),
    small={},
    split=dataclasses.replace(whole.split, folds=3),
    judging=changed(whole.judging, {"evaluation.bootstrap_samples": 50}),
)
