"""What a loss that knows of the order of the types, and a second plane, are worth.

msk-jax ablate thoracolumbar_ao --out ablation
"""

import dataclasses

from msk_jax.experiment import Ablation
from msk_jax.experiments.thoracolumbar_ao import experiment

ablation = Ablation(
    phantom=dataclasses.replace(experiment.phantom, patients=experiment.demo_patients),
    num_folds=3,
    variants={
        "cross entropy, sagittal": {},
        "ordinal loss": {"stage.recipe.loss": "ordinal"},
        "both planes": {"cohort.region.plane": "both"},
    },
)
