"""The optimiser of a recipe."""

import jax
import optax
from flax.traverse_util import path_aware_map

from msk_jax.training.recipe import Recipe


def make_optimiser(recipe: Recipe, steps_per_epoch: int) -> optax.GradientTransformation:
    """AdamW with warm-up and cosine decay; the encoder and the rest may differ in rate."""

    def group(peak: float) -> optax.GradientTransformation:
        schedule = learning_rate_schedule(recipe, steps_per_epoch, peak)
        return optax.adamw(schedule, weight_decay=recipe.weight_decay, mask=_is_kernel)

    head_rate = recipe.head_learning_rate or recipe.learning_rate
    groups = {"encoder": group(recipe.learning_rate), "head": group(head_rate)}
    optimiser = optax.multi_transform(
        groups,
        lambda params: path_aware_map(
            lambda p, _: "encoder" if p[0] == "encoder" else "head", params
        ),
    )
    if recipe.gradient_clip is None:
        return optimiser
    return optax.chain(optax.clip_by_global_norm(recipe.gradient_clip), optimiser)


def learning_rate_schedule(recipe: Recipe, steps_per_epoch: int, peak: float) -> optax.Schedule:
    """Step -> rate: linear from 0 over the warm-up, then a cosine to the final rate."""
    total = recipe.epochs * steps_per_epoch
    warmup = min(round(recipe.warmup_epochs * steps_per_epoch), total - 1)
    return optax.warmup_cosine_decay_schedule(
        0.0, peak, warmup, total, min(recipe.final_learning_rate, peak)
    )


def _is_kernel(params):
    # A group of `multi_transform` masks the other group's leaves with MaskedNode, which has none.
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)
