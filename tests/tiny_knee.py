"""The knee tumour experiment at a size for tests; the command line takes it by its path."""

import dataclasses

from msk_jax.data.feed.augment import Augmentation
from msk_jax.experiment import Stage
from msk_jax.experiments.knee_tumour import experiment as whole
from msk_jax.models import ZooNetConfig
from msk_jax.training.recipe import Recipe

_stage = Stage(
    model=ZooNetConfig("resnet18", (("width", 4),)),
    preprocess=whole.stage.preprocess,
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
    cohort=dataclasses.replace(
        whole.cohort, region=dataclasses.replace(whole.cohort.region, size=64)
    ),
    stage=_stage,
    small={},
    num_folds=3,
    demo_patients=36,
    evaluation=dataclasses.replace(whole.evaluation, bootstrap_samples=50),
)
