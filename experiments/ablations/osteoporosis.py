"""What the two readings of "6 x 6 blocks", the grid and the Transformer are worth.

    msk-jax ablate osteoporosis --out ablation

Every patch by itself through a shared trunk, or one pass over the whole picture; a coarser grid;
more attention or none, where the mean of the cells is classified; a whole ResNet as trunk; what
becomes of the tokens. The paper prints no ablation to compare with.
"""

from msk_jax.experiment import Ablation
from msk_jax.experiments.osteoporosis import experiment

ablation = Ablation(
    phantom=experiment.at_small_size().phantom,
    num_folds=3,
    variants={
        "one pass over the whole": {},
        "patches by themselves": {"image.model.reading": "patches"},
        "3 x 3 grid": {"image.model.grid": 3},
        "4 layers of attention": {"image.model.depth": 4},
        "without Transformer": {"image.model.depth": 0},
        "half the width": {"image.model.width": 8},
        "all stages of the trunk": {"image.model.stages": 4},
        "tokens without a norm": {"image.model.token_norm": False},
        "class token": {"image.model.summary": "class token"},
    },
)
