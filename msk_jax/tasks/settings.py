"""What a stage is to know: the settings of tasks.

Light, as experiments are made of them; what a task does with arrays is in a module of its own.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from msk_jax.data.cohort.cohort import Cohort
from msk_jax.data.fields import Classes
from msk_jax.errors import UserError
from msk_jax.methods.network import Network

if TYPE_CHECKING:
    from msk_jax.tasks.classification import TrainedClassification


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


AnyTask = Classification
