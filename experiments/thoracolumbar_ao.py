"""AO Spine's types A0 to A4 on CT, by the network of the thoracolumbar study.

An option for those whose labels are AO Spine's types of compression injuries (Vaccaro AR et al.,
Spine 2013;38(23):2028-2037), which have an order. The study of Hao and others does not have them:
its network and training are taken over, none of its figures is comparable, and all else is our
choice.

    msk-jax demo thoracolumbar_ao          # phantom patients to report
"""

import dataclasses

from msk_jax.data.fields import Classes
from msk_jax.experiment import Paper
from msk_jax.experiments.thoracolumbar import experiment as words
from msk_jax.phantoms import AOSpinePhantom

_OTHER = (
    "types B and C are injuries by another mechanism, of the tension band and by displacement, and "
    "no higher steps of type A: leave these vertebrae out"
)

experiment = dataclasses.replace(
    words,
    name="thoracolumbar_ao",
    paper=Paper(
        title="Modified ResNet-50: AO Spine types A0 to A4 on CT",
        source="Vaccaro AR et al., Spine 2013;38(23):2028-2037, "
        "10.1097/BRS.0b013e3182a8a381 (the types)",
        task="AO Spine type A0, A1, A2, A3 or A4, in their order",
        modality=words.paper.modality,
        input=words.paper.input,
    ),
    phantom=AOSpinePhantom(patients=698),  # as many as there are images in that study
    small={**words.small, "phantom.patients": 150},
    cohort=dataclasses.replace(
        words.cohort,
        name="thoracolumbar_ao",
        fields=(
            words.cohort.image,
            Classes(
                "label",
                ("A0", "A1", "A2", "A3", "A4"),  # published: the types
                ordinal=True,
                refused={
                    "A": "the letter alone does not say which step",
                    **dict.fromkeys(("B", "B1", "B2", "B3", "C"), _OTHER),
                    "normal": "write A0",
                    "compression": "write A1 or A2",
                    "burst": "write A3 or A4",
                },
            ),
        ),
    ),
    choices={
        **words.choices,
        "plane": "sagittal: it shows both end plates, a split between them and the posterior wall",
        "class_weights": "by inverse frequency: splits (A2) are rare",
        "held_out": "15 % of the patients are in no fold, for a last test",
        "criterion": "not used: the type of the highest probability is called",
    },
)
