"""What a training asks of the task that it trains for."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

import jax
import numpy as np

from msk_jax.data.feed.sharded_cohort import StackTable

Arrays = Mapping[str, jax.Array]


class TrainedTask(Protocol):
    """On the device, as a part of the compiled step, and in the loop about it.

    Frozen and hashable: trainings with equal tasks share one compiled step. All that the loop
    alone needs is given to its methods, so that it makes no other step.
    """

    learned: ClassVar[Mapping[str, tuple[tuple[int, ...], str]]]
    """Arrays of a batch that are learned from, beside `volume` and `weight`: their shape and type
    for one example, as they are planned for where there are no data yet."""
    moves: ClassVar[bool]
    """Whether targets lie in the picture, and move with it."""
    figures: ClassVar[tuple[str, ...]]
    """What is known of an epoch; `loss` is the first, and the lower the better, all others the
    higher. That of validation may be NaN where no loss can be had from answers."""

    validated: ClassVar[tuple[str, ...]]
    """The answers that `validation` reads."""

    def examples(self, table: StackTable) -> dict[str, np.ndarray]:
        """What is learned from of each row of the table, by the names of `learned`; of all patients
        of a cohort the arrays have the same shape but for the first axis."""

    def targets(self, batch: Arrays) -> dict[str, jax.Array]:
        """What the examples `[b]` are to give."""

    def moved(
        self, targets: Arrays, matrix: jax.Array, shift: jax.Array, shape: tuple[int, int]
    ) -> dict[str, jax.Array]:
        """The targets of one example whose picture was moved; asked only where `moves`.

        Args:
            targets: of one example.
            matrix: `[2, 2]`, see `Augmentation.with_motion`.
            shift: `[2]`, pixels.
            shape: height and width of the picture, as it was windowed.
        """

    def prepare(self, keys: jax.Array, examples: Arrays) -> dict[str, jax.Array]:
        """`image`, `weight` and the targets, changed before they go to the network.

        Args:
            keys: one random key an example.
            examples: augmented and normalised.
        """

    def asks(self, examples: Arrays) -> dict[str, Any]:
        """Keyword arguments that the network takes in training beside its images."""

    def losses(self, outputs: Any, examples: Arrays) -> jax.Array:
        """The loss `[b]` of each example, from what the network gave."""

    def answer(self, outputs: Any, endpoints: Mapping[str, Any]) -> dict[str, jax.Array]:
        """What is said of each example, by its name: arrays `[b, ...]` of two axes or more."""

    def check_outputs(self, network: str, outputs: Any) -> None:
        """Raises UserError where a network does not do this task.

        Args:
            network: its name.
            outputs: for one picture.
        """

    def example_weights(self, table: StackTable, weighted: bool) -> Callable[[Mapping], np.ndarray]:
        """Gives of a batch the weight of each example in the loss.

        Args:
            table: the examples of all training patients.
            weighted: whether rare ones weigh more, as far as the task knows rare ones.

        Raises:
            UserError: there is nothing to learn from these examples.
        """

    def validation(self, table: StackTable, answers: Mapping[str, np.ndarray]) -> dict[str, float]:
        """The `figures` of these answers, in the order of the table."""

    def check_monitor(self, monitor: str, table: StackTable) -> None:
        """Raises UserError where these examples cannot give the figure that picks the epoch."""
