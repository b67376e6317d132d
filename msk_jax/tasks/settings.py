"""What a stage is to know: the settings of tasks.

Light, as experiments are made of them; what a task does with arrays is in a module of its own.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.fields import Boxes, Classes, Number
from msk_jax.data.regions.picture import PLANES
from msk_jax.errors import UserError
from msk_jax.methods.network import Network
from msk_jax.models import DetectorConfig

if TYPE_CHECKING:
    from msk_jax.tasks.classification import TrainedClassification
    from msk_jax.tasks.detection import TrainedDetection


@dataclass(frozen=True)
class Classification:
    """One class of several."""

    target: str
    """The cohort's field of classes."""

    def check(self, cohort: Cohort) -> None:
        """Raises UserError where the target is no field of classes."""
        if not any(one.name == self.target for one in cohort.fields if isinstance(one, Classes)):
            raise UserError(
                f"There is no field of classes {self.target!r} in the cohort {cohort.name}; it has "
                f"{', '.join(one.name for one in cohort.fields)}."
            )

    def classes(self, cohort: Cohort) -> tuple[str, ...]:
        """What is told apart."""
        return next(
            one.classes
            for one in cohort.fields
            if isinstance(one, Classes) and one.name == self.target
        )

    def outputs(self) -> tuple[str, ...]:
        """What a stage with this task adds to a record."""
        return ("probability",)

    def suited(self, network: Network, cohort: Cohort) -> Network:
        """The network with as many outputs as there are classes."""
        count = len(self.classes(cohort))
        return replace(network, model=replace(network.model, num_classes=count))

    def trained(self, network: Network) -> "TrainedClassification":
        """What the training of a network asks of this task."""
        from msk_jax.tasks.classification import TrainedClassification

        return TrainedClassification.of(network.recipe, network.model.num_classes)


@dataclass(frozen=True)
class Detection:
    """Boxes around what a picture shows, each with a class."""

    target: str
    """The cohort's field of boxes."""
    overlap: float = 0.5
    """Intersection over union from which a detection is on a box."""

    def check(self, cohort: Cohort) -> None:
        """Raises UserError where the target is no field of boxes, or the overlap no share."""
        if not any(one.name == self.target for one in cohort.fields if isinstance(one, Boxes)):
            raise UserError(
                f"There is no field of boxes {self.target!r} in the cohort {cohort.name}; it has "
                f"{', '.join(one.name for one in cohort.fields)}."
            )
        if not 0 < self.overlap <= 1:
            raise UserError(
                f"An overlap of {self.overlap} cannot be asked for; give more than 0 and at most 1."
            )

    def classes(self, cohort: Cohort) -> tuple[str, ...]:
        """What is told apart."""
        return next(
            one.classes
            for one in cohort.fields
            if isinstance(one, Boxes) and one.name == self.target
        )

    def outputs(self) -> tuple[str, ...]:
        """What a stage with this task adds to a record."""
        return ("boxes",)

    def suited(self, network: Network, cohort: Cohort) -> Network:
        """The network with an output for each class and the background, for pictures in colour."""
        if not isinstance(network.model, DetectorConfig):
            raise UserError(
                f"{type(network.model).__name__} gives no boxes. Give a network that does: "
                "DetectorConfig."
            )
        count = len(self.classes(cohort)) + 1
        return replace(network, model=replace(network.model, num_classes=count, num_slices=PLANES))

    def trained(self, network: Network) -> "TrainedDetection":
        """What the training of a network asks of this task.

        Raises:
            UserError: a setting that boxes cannot follow.
        """
        if network.preprocess.crop is not None:
            raise UserError("A detector sees whole pictures. Leave out --crop; --shrink may stay.")
        if network.recipe.mixup:
            raise UserError("Boxes of two pictures cannot be mixed. Leave out --mixup.")
        from msk_jax.tasks.detection import TrainedDetection

        count, shrink = network.model.num_classes - 1, network.preprocess.shrink
        return TrainedDetection(self.target, count, self.overlap, shrink)


@dataclass(frozen=True)
class Measurement:
    """A number, measured without learning."""

    target: str
    """The cohort's field of numbers."""

    def check(self, cohort: Cohort) -> None:
        """Raises UserError where the target is no number of the cohort."""
        if not any(one.name == self.target for one in cohort.fields if isinstance(one, Number)):
            raise UserError(
                f"There is no number {self.target!r} in the cohort {cohort.name}; it has "
                f"{', '.join(one.name for one in cohort.fields)}."
            )

    def outputs(self) -> tuple[str, ...]:
        """What a stage with this task adds to a record."""
        return ("number",)


AnyTask = Classification | Detection | Measurement
