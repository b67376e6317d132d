"""Cohorts for tests, from the few things in which they differ."""

from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.fields import Classes, Image
from msk_jax.data.quality.grading import QualityLimits
from msk_jax.data.regions.sacroiliac import SacroiliacRegion


def cohort_of(
    region=None,
    name="sacroiliitis",
    modality="CT",
    classes=("normal", "sacroiliitis"),
    levels=("slice", "joint", "patient"),
    variables=(),
    keep=("site", "age", "sex"),
    limits=None,
    **of_classes,
) -> Cohort:
    """A cohort of images with a label; by default joints as the sacroiliitis experiment has them.

    Args:
        region: of its images.
        variables: numbers and words beside them.
        of_classes: further settings of the label.
    """
    image = Image("image", SacroiliacRegion() if region is None else region)
    label = Classes("label", classes, **of_classes)
    limits = limits or QualityLimits()
    return Cohort(name, (image, label, *variables), levels, modality, keep, limits)
