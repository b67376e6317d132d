"""What the slices, ASPP and the residual pyramid are worth in MS-2.5D-Net.

    msk-jax ablate sacroiliitis --out ablation

The patients are phantoms whose erosions a single slice cannot tell from normal notches
(`ambiguity`): only neighbouring slices can. The paper prints no ablation to compare with.
"""

import dataclasses

from experiments.sacroiliitis import experiment
from msk_jax.experiment import Ablation

_recipe = dataclasses.replace(experiment.small.recipe, epochs=10)
_model = dataclasses.replace(experiment.small.model, width=8, pyramid_features=16)

ablation = Ablation(
    phantom=dataclasses.replace(experiment.phantom, patients=40, ambiguity=1.0),
    stage=dataclasses.replace(experiment.small, recipe=_recipe, model=_model),
    variants={
        "5 slices (whole network)": {},
        "3 slices": {"num_slices": 3},
        "1 slice": {"num_slices": 1},
        "3-D over 5 slices": {"volumetric": True},
        "without ASPP": {"aspp": False},
        "without RFPN": {"rfpn": False},
        "without ASPP and RFPN": {"aspp": False, "rfpn": False},
    },
)
