"""What a second view, the size of the network and mirrored pictures are worth.

    msk-jax ablate knee_tumour --out ablation

Single views against the mean of both; narrower, wider and another network. The patients are
phantoms, of whom those of the training hospital are in the folds. What ImageNet weights are worth
is seen with `--init-from efficientnet_b6.safetensors`. The paper prints no ablation to compare
with.
"""

import dataclasses

from msk_jax.experiment import Ablation
from msk_jax.experiments.knee_tumour import experiment

_small = experiment.small
_half = (("width_factor", 0.5), ("depth_factor", 0.5))

ablation = Ablation(
    phantom=experiment.phantom,
    stage=_small,
    num_folds=3,
    variants={
        "both views, ResNet-18, a quarter of the width": {},
        "AP alone": {"region": {"views": ("AP",)}},
        "LL alone": {"region": {"views": ("LL",)}},
        "an eighth of the width": {"settings": (("width", 8),)},
        "half of the width": {"settings": (("width", 32),)},
        "half an EfficientNet-B0": {"network": "efficientnet_b0", "settings": _half},
        "never mirrored": {
            "recipe": {"augmentation": dataclasses.replace(_small.recipe.augmentation, flip=0.0)}
        },
    },
)
