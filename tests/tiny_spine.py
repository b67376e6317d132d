"""The thoracolumbar experiment at a size for tests; the command line takes it by its path."""

import dataclasses

from msk_jax.data.feed.augment import Augmentation
from msk_jax.data.regions.vertebra import VertebraRegion
from msk_jax.dotted import changed
from msk_jax.experiments.thoracolumbar import experiment as whole
from msk_jax.methods.network import Network
from msk_jax.models import TransferNetConfig
from msk_jax.training.recipe import Phase, Recipe

_network = Network(
    model=TransferNetConfig(backbone="resnet10", width=4, hidden=8, dropout=0.1),
    preprocess=dataclasses.replace(whole.stages[0].method.preprocess, crop=32, shrink=2),
    before=(Phase(epochs=1, learning_rate=1e-2, rates=(("encoder/.*", 0.0), (".*", 1.0))),),
    recipe=Recipe(
        epochs=2,
        batch_size=8,
        learning_rate=3e-3,
        warmup_epochs=0,
        monitor="loss",
        augmentation=Augmentation(rotation=5.0),
    ),
)

experiment = dataclasses.replace(
    whole,
    name="tiny_spine",
    phantom=dataclasses.replace(
        whole.phantom,
        patients=16,
        shares=(0.32, 0.34, 0.34),
        matrix=48,
        pixel_mm=3.4,
        slice_spacing_mm=3.0,
        workers=1,
    ),
    cohort=changed(
        whole.cohort,
        {
            "spine.region": VertebraRegion(plane="both", pixel_mm=2.0, size=36, num_images=2),
            "label.ordinal": True,  # as far as it goes: so that its figures are made too
        },
    ),
    stages=(dataclasses.replace(whole.stages[0], method=_network), *whole.stages[1:]),
    small={},
    split=dataclasses.replace(whole.split, folds=3, held_out=0.2),
    judging=changed(whole.judging, {"evaluation.bootstrap_samples": 50}),
)
