"""The knee tumour experiment at a size for tests; the command line takes it by its path."""

import dataclasses

from msk_jax.data.feed.augment import Augmentation
from msk_jax.dotted import changed
from msk_jax.experiments.knee_tumour import experiment as whole
from msk_jax.methods.network import Network
from msk_jax.models import ZooNetConfig
from msk_jax.training.recipe import Recipe

_network = Network(
    model=ZooNetConfig("resnet18", (("width", 4),)),
    preprocess=whole.stages[0].method.preprocess,
    recipe=Recipe(
        epochs=1,
        batch_size=8,
        learning_rate=3e-3,
        warmup_epochs=0,
        monitor="loss",
        augmentation=Augmentation(rotation=5.0, flip=0.5),
    ),
)

experiment = dataclasses.replace(
    whole,
    name="tiny_knee",
    phantom=dataclasses.replace(whole.phantom, patients=36, matrix=64, pixel_mm=4.2, workers=1),
    cohort=changed(whole.cohort, {"radiograph.region.size": 64}),
    stages=(dataclasses.replace(whole.stages[0], method=_network), *whole.stages[1:]),
    small={},
    split=dataclasses.replace(whole.split, folds=3),
    judging=changed(whole.judging, {"evaluation.bootstrap_samples": 50}),
)
