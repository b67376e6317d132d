"""The parts of a staged training: phases one after the other, then the recipe."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial

import flax.linen as nn
import jax

from msk_jax.data.augment import Preprocess
from msk_jax.training import parallel
from msk_jax.training.optimiser import learning_rate_schedule, make_optimiser
from msk_jax.training.recipe import Phase, Recipe
from msk_jax.training.step import StepSettings, TrainState, restart


@dataclasses.dataclass(frozen=True)
class Part:
    """One phase of a training, or its recipe, which is the last."""

    settings: StepSettings
    step: Callable
    """The training step over all devices."""
    rate: Callable[[int], float]
    """Step of this part -> learning rate."""
    begin: int
    """Step of the training at which it begins."""
    end: int

    def enter(self, state: TrainState) -> TrainState:
        """The state of the part before, as this part begins with it."""
        return parallel.replicate(jax.jit(partial(restart, self.settings))(state))


def make_parts(
    model: nn.Module,
    preprocess: Preprocess,
    recipe: Recipe,
    before: Sequence[Phase],
    num_classes: int,
    steps_per_epoch: int,
) -> tuple[Part, ...]:
    """The phases and the recipe with the steps that they take."""
    parts: list[Part] = []
    for each in [*(phase.of(recipe) for phase in before), recipe]:
        begin = parts[-1].end if parts else 0
        optimiser = make_optimiser(each, steps_per_epoch)
        settings = StepSettings(model, num_classes, optimiser, preprocess, each)
        step = parallel.parallel_train_step(settings)
        rate = learning_rate_schedule(each, steps_per_epoch)
        parts.append(Part(settings, step, rate, begin, begin + each.epochs * steps_per_epoch))
    return tuple(parts)


def part_at(parts: Sequence[Part], step: int) -> int:
    """Which part takes this step, counted over the training from 0."""
    return next(k for k, part in enumerate(parts) if step < part.end)
