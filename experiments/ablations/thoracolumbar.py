"""What the plane, the frozen phase, the dropout and the size of the network are worth.

    msk-jax ablate thoracolumbar --out ablation

The patients are phantoms, and the networks start at random: what ImageNet weights are worth is seen
with `--init-from resnet50.safetensors`. The paper prints no ablation to compare with.
"""

import dataclasses

from msk_jax.experiment import Ablation
from msk_jax.experiments.thoracolumbar import experiment

ablation = Ablation(
    phantom=dataclasses.replace(experiment.phantom, patients=experiment.demo_patients),
    num_folds=3,
    variants={
        "frozen phase, ResNet-18, a quarter of the width": {},
        "axial": {"cohort.region.plane": "axial"},
        "both planes": {"cohort.region.plane": "both"},
        "without the frozen phase": {"stage.before": ()},
        "ResNet-10": {"stage.model.backbone": "resnet10"},
        "ResNet-34": {"stage.model.backbone": "resnet34"},
        "half of the width": {"stage.model.width": 32},
        "head without dropout": {"stage.model.dropout": 0.0},
    },
)
