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
        "AP alone": {"cohort.radiograph.region.views": ("AP",)},
        "LL alone": {"cohort.radiograph.region.views": ("LL",)},
        "an eighth of the width": {"image.model.settings": (("width", 8),)},
        "half of the width": {"image.model.settings": (("width", 32),)},
        "half an EfficientNet-B0": {
            "image.model.network": "efficientnet_b0",
            "image.model.settings": _half,
        },
        "never mirrored": {"image.recipe.augmentation.flip": 0.0},
    },
)
