"""What a loss that knows of the order of the types, and a second plane, are worth.

msk-jax ablate thoracolumbar_ao --out ablation
"""

from msk_jax.experiment import Ablation
from msk_jax.experiments.thoracolumbar_ao import experiment

ablation = Ablation(
    phantom=experiment.at_small_size().phantom,
    num_folds=3,
    variants={
        "cross entropy, sagittal": {},
        "ordinal loss": {"classify.recipe.loss": "ordinal"},
        "both planes": {"cohort.spine.region.plane": "both"},
    },
)
