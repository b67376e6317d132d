"""A network and how it is trained: the settings of a method."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msk_jax.data.feed.augment import Preprocess
from msk_jax.models import NetworkConfig
from msk_jax.training.recipe import Phase, Recipe

if TYPE_CHECKING:
    import flax.linen as nn


@dataclass(frozen=True)
class Network:
    """A network that learns from images."""

    model: NetworkConfig
    """The network; how many classes it tells apart follows from the stage's task."""
    preprocess: Preprocess
    """From stored values to its input."""
    recipe: Recipe
    """How it is trained."""
    before: tuple[Phase, ...] = ()
    """What is trained before, one phase after the other, as in staged transfer."""

    def check(self) -> None:
        """Raises UserError where the recipe or a phase has a field that cannot be what it is."""
        for recipe in (*(phase.of(self.recipe) for phase in self.before), self.recipe):
            recipe.check()

    def module(self, axis_name: str | None = None) -> "nn.Module":
        """The Flax module, in the precision that it is trained and used in."""
        import jax.numpy as jnp

        dtype = jnp.bfloat16 if self.recipe.bf16 else None
        return self.model.build(axis_name=axis_name, dtype=dtype)
