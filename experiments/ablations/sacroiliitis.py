"""What the slices, ASPP and the residual pyramid are worth in MS-2.5D-Net.

    msk-jax ablate sacroiliitis --out ablation

The patients are phantoms with short lesions (`ambiguity`): two or three slices show one, their
neighbours do not, and everybody has pits that look like an erosion but fill one slice only. So a
single slice of a stack often misses what the stack is asked about. The paper prints no ablation to
compare with.
"""

import dataclasses

from msk_jax.experiment import Ablation
from msk_jax.experiments.sacroiliitis import experiment

ablation = Ablation(
    phantom=dataclasses.replace(experiment.phantom, patients=60, ambiguity=1.0),
    changes={"classify.recipe.epochs": 10},
    num_folds=3,
    variants={
        "5 slices (whole network)": {},
        "1 slice": {"classify.model.num_slices": 1},
        "3 slices": {"classify.model.num_slices": 3},
        "3-D over 5 slices": {"classify.model.volumetric": True},
        "without ASPP": {"classify.model.aspp": False},
        "without RFPN": {"classify.model.rfpn": False},
        "without ASPP and RFPN": {
            "classify.model.aspp": False,
            "classify.model.rfpn": False,
        },
    },
)
