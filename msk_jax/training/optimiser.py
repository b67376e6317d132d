"""The optimiser of a recipe."""

import functools
import re
from collections.abc import Sequence
from typing import Any

import jax
import optax
from flax.traverse_util import flatten_dict, path_aware_map

from msk_jax.errors import UserError
from msk_jax.training.recipe import Recipe

SGD_MOMENTUM = 0.9


@functools.lru_cache(maxsize=16)
def make_optimiser(recipe: Recipe, steps_per_epoch: int) -> optax.GradientTransformation:
    """Clipping, then one optimiser for each factor of `recipe.rates`; frozen parameters stay.

    The same recipe gives the same object: by that a compiled step knows it again.

    Raises:
        UserError: when it is initialised with a parameter that no pattern of the rates fits.
    """
    groups = {
        float(factor): _optimiser(recipe, steps_per_epoch, factor) for _, factor in recipe.rates
    }
    factors = functools.partial(rate_factors, rates=recipe.rates)
    steps = [optax.multi_transform(groups, factors)]
    if recipe.gradient_clip is not None:
        steps.insert(0, optax.clip_by_global_norm(recipe.gradient_clip))
    if any(factor == 0 for _, factor in recipe.rates):
        # First of all: what is frozen has no part in the global norm, nor is its gradient computed.
        frozen = optax.masked(
            optax.set_to_zero(), lambda params: jax.tree.map(lambda f: f == 0, factors(params))
        )
        steps.insert(0, frozen)
    return optax.chain(*steps)


def rate_factors(params: Any, rates: Sequence[tuple[str, float]]) -> Any:
    """For each parameter the factor of the first pattern that fits its whole path.

    Raises:
        UserError: a parameter that no pattern fits, or a pattern that is none.
    """
    try:
        patterns = [(re.compile(pattern), factor) for pattern, factor in rates]
    except re.error as error:
        raise UserError(
            f"{error.pattern!r} in --rates is no regular expression: {error}."
        ) from None
    uncovered, used = [], set()

    def factor_of(path: tuple[str, ...], _) -> float:
        name = "/".join(path)
        for pattern, factor in patterns:
            if pattern.fullmatch(name):
                used.add(pattern.pattern)
                return float(factor)
        uncovered.append(name)
        return 0.0

    found = path_aware_map(factor_of, params)
    if uncovered:
        raise UserError(
            f"No pattern of --rates fits {len(uncovered)} of the parameters, as {uncovered[0]}. "
            'Add one, or end with ".*" 1 for all the rest.'
        )
    idle = [pattern for pattern, _ in rates if pattern not in used]
    # The last one is for the rest, of which there may be none.
    if idle and idle != [rates[-1][0]]:
        raise UserError(
            f"The pattern {idle[0]!r} of --rates fits no parameter that is left to it, as "
            f"{'/'.join(next(iter(flatten_dict(params))))}. Mend or omit it."
        )
    return found


def learning_rate_schedule(recipe: Recipe, steps_per_epoch: int) -> optax.Schedule:
    """Step -> rate: linear from 0 over the warm-up, then down as the recipe says."""
    peak = recipe.learning_rate
    final = min(recipe.final_learning_rate, peak)
    total = recipe.epochs * steps_per_epoch
    warmup = min(round(recipe.warmup_epochs * steps_per_epoch), total - 1)
    if recipe.schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(0.0, peak, warmup, total, final)
    if recipe.schedule == "poly":
        falling = optax.polynomial_schedule(peak, final, recipe.poly_power, total - warmup)
    else:
        # `join_schedules` counts from the end of the warm-up.
        boundaries = [epoch * steps_per_epoch - warmup for epoch in recipe.step_epochs]
        falling = optax.piecewise_constant_schedule(
            peak, dict.fromkeys(boundaries, recipe.step_factor)
        )
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), falling], [warmup])


def _optimiser(recipe: Recipe, steps_per_epoch: int, factor: float) -> optax.GradientTransformation:
    if factor == 0:
        return optax.set_to_zero()
    full_rate = learning_rate_schedule(recipe, steps_per_epoch)

    def rate(step):
        return factor * full_rate(step)

    decay = {"weight_decay": recipe.weight_decay, "mask": _is_kernel}
    if recipe.optimiser == "adamw":
        return optax.adamw(rate, **decay)
    if recipe.optimiser == "lamb":
        return optax.lamb(rate, **decay)
    if recipe.optimiser == "adafactor":
        # Its own decay is per step, whatever the rate: multiplied here, as the others do.
        return optax.adafactor(
            rate,
            weight_decay_rate=lambda step: recipe.weight_decay * rate(step),
            weight_decay_mask=_is_kernel,
        )
    return optax.chain(optax.add_decayed_weights(**decay), optax.sgd(rate, momentum=SGD_MOMENTUM))


def _is_kernel(params):
    # A group of `multi_transform` masks the other group's leaves with MaskedNode, which has none.
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key.endswith("kernel"), params)
