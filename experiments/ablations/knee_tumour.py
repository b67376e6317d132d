"""What a second view, the size of the network and mirrored pictures are worth.

    msk-jax ablate knee_tumour --out ablation

Single views against the mean of both; narrower, wider and another network. The patients are
phantoms, of whom those of the training hospital are in the folds. What ImageNet weights are worth
is seen with `--init-from efficientnet_b6.safetensors`. The paper prints no ablation to compare
with.
"""

from msk_jax.experiment import Ablation
from msk_jax.experiments.knee_tumour import experiment

_half = (("width_factor", 0.5), ("depth_factor", 0.5))

ablation = Ablation(
    phantom=experiment.phantom,
    num_folds=3,
    variants={
        "both views, ResNet-18, a quarter of the width": {},
        "AP alone": {"cohort.region.views": ("AP",)},
        "LL alone": {"cohort.region.views": ("LL",)},
        "an eighth of the width": {"stage.model.settings": (("width", 8),)},
        "half of the width": {"stage.model.settings": (("width", 32),)},
        "half an EfficientNet-B0": {
            "stage.model.network": "efficientnet_b0",
            "stage.model.settings": _half,
        },
        "never mirrored": {"stage.recipe.augmentation.flip": 0.0},
    },
)
