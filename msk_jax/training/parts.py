"""The parts of a staged training: phases one after the other, then the recipe."""

import dataclasses
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax

from msk_jax.data.feed.augment import Preprocess
from msk_jax.training import parallel
from msk_jax.training.optimiser import learning_rate_schedule, make_optimiser
from msk_jax.training.recipe import Phase, Recipe
from msk_jax.training.step import StepSettings, TrainState, restart
from msk_jax.training.task import TrainedTask


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
        return parallel.replicate(jax.jit(restart, static_argnums=0)(self.settings, state))


def make_parts(
    model: nn.Module,
    task: TrainedTask,
    preprocess: Preprocess,
    recipe: Recipe,
    before: Sequence[Phase],
    steps_per_epoch: int,
) -> tuple[Part, ...]:
    """The phases and the recipe with the steps that they take."""
    parts: list[Part] = []
    for each in [*(phase.of(recipe) for phase in before), recipe]:
        begin = parts[-1].end if parts else 0
        settings = make_settings(model, task, preprocess, each, steps_per_epoch)
        step = parallel.parallel_train_step(settings)
        rate = learning_rate_schedule(each, steps_per_epoch)
        parts.append(Part(settings, step, rate, begin, begin + each.epochs * steps_per_epoch))
    return tuple(parts)


def make_settings(
    model: nn.Module,
    task: TrainedTask,
    preprocess: Preprocess,
    recipe: Recipe,
    steps_per_epoch: int,
) -> StepSettings:
    """What a step of this recipe is made of."""
    recipe = recipe.of_one_step()
    optimiser = make_optimiser(recipe, steps_per_epoch)
    return StepSettings(model, task, optimiser, preprocess, recipe)


def part_at(parts: Sequence[Part], step: int) -> int:
    """Which part takes this step, counted over the training from 0."""
    return next(k for k, part in enumerate(parts) if step < part.end)
