"""What the plane, the frozen phase, the dropout and the size of the network are worth.

    msk-jax ablate thoracolumbar --out ablation

The patients are phantoms, and the networks start at random: what ImageNet weights are worth is seen
with `--init-from resnet50.safetensors`. The paper prints no ablation to compare with.
"""

from msk_jax.experiment import Ablation
from msk_jax.experiments.thoracolumbar import experiment

ablation = Ablation(
    phantom=experiment.at_small_size().phantom,
    num_folds=3,
    variants={
        "frozen phase, ResNet-18, a quarter of the width": {},
        "axial": {"cohort.spine.region.plane": "axial"},
        "both planes": {"cohort.spine.region.plane": "both"},
        "without the frozen phase": {"classify.before": ()},
        "ResNet-10": {"classify.model.backbone": "resnet10"},
        "ResNet-34": {"classify.model.backbone": "resnet34"},
        "half of the width": {"classify.model.width": 32},
        "head without dropout": {"classify.model.dropout": 0.0},
    },
)
