"""One class of several: what a network learns and is told by, and how an epoch is judged."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from msk_jax.data.feed.sharded_cohort import StackTable
from msk_jax.errors import UserError
from msk_jax.tasks.losses import LOSSES
from msk_jax.tasks.mixup import mix_pairs
from msk_jax.training.recipe import Recipe
from msk_jax.training.task import Arrays

NO_AUC = 0.5
"""The AUC of validation patients who do not show every class: it improves on nothing."""


@dataclasses.dataclass(frozen=True)
class TrainedClassification:
    """Softmax over classes; see `training.task.TrainedTask` for what each method does."""

    learned: ClassVar[Mapping[str, tuple[tuple[int, ...], str]]] = {"label": ((), "int32")}
    moves: ClassVar[bool] = False
    figures: ClassVar[tuple[str, ...]] = ("loss", "auc")
    validated: ClassVar[tuple[str, ...]] = ("probabilities",)

    num_classes: int
    """Of the softmax."""
    loss: str = "cross_entropy"
    """One of `losses.LOSSES`."""
    label_smoothing: float = 0.0
    """Share of the label given to all classes alike."""
    mixup: float = 0.0
    """See `mixup.mix_pairs`; 0 mixes none."""

    @classmethod
    def of(cls, recipe: Recipe, num_classes: int) -> "TrainedClassification":
        """As a recipe trains it."""
        return cls(num_classes, recipe.loss, recipe.label_smoothing, recipe.mixup)

    def examples(self, table: StackTable) -> dict[str, np.ndarray]:
        """`label` `[n]`."""
        return {"label": table.label}

    def moved(self, targets, matrix, shift, shape) -> dict[str, jax.Array]:
        """The same: a picture's class lies nowhere in it."""
        return dict(targets)

    def targets(self, batch: Arrays) -> dict[str, jax.Array]:
        """`target`, the shares of the classes `[b, classes]`."""
        shares = jax.nn.one_hot(batch["label"], self.num_classes)
        return {"target": optax.smooth_labels(shares, self.label_smoothing)}

    def prepare(self, keys: jax.Array, examples: Arrays) -> dict[str, jax.Array]:
        """Mixtures of neighbours, where the recipe mixes."""
        if not self.mixup:
            return dict(examples)
        keys = jax.vmap(partial(jax.random.fold_in, data=1))(keys)
        three = (examples[name] for name in ("image", "target", "weight"))
        image, target, weight = mix_pairs(keys, *three, self.mixup)
        return {"image": image, "target": target, "weight": weight}

    def asks(self, examples: Arrays) -> dict[str, Any]:
        """Nothing: labels are for the loss alone."""
        return {}

    def losses(self, outputs: jax.Array, examples: Arrays) -> jax.Array:
        """Of logits `[b, classes]`."""
        return LOSSES[self.loss](outputs.astype(jnp.float32), examples["target"])

    def answer(self, outputs: jax.Array, endpoints: Mapping[str, Any]) -> dict[str, jax.Array]:
        """`probabilities` `[b, classes]`, and `features` `[b, k]`, what the head is given, of a
        network that has them."""
        probabilities = jax.nn.softmax(outputs.astype(jnp.float32))
        features = endpoints.get("features", jnp.zeros((len(outputs), 0)))
        return {"probabilities": probabilities, "features": features.astype(jnp.float32)}

    def check_outputs(self, network: str, outputs: Any) -> None:
        """Logits of the classes."""
        shape = getattr(outputs, "shape", None)
        if shape != (1, self.num_classes):
            raise UserError(
                f"{network} gives {tuple(shape[1:]) if shape else 'no logits'} for a picture, not "
                f"{self.num_classes} logits: it does not classify pictures. Give another network."
            )

    def example_weights(self, table: StackTable, weighted: bool) -> Callable[[Mapping], np.ndarray]:
        """By inverse class frequency, or all 1."""
        weights = class_weights(table.label, self.num_classes, weighted)
        return lambda batch: weights[batch["label"]]

    def validation(self, table: StackTable, answers: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Mean cross-entropy and AUC of stacks (one-against-rest mean for several classes)."""
        labels, probabilities = table.label, answers["probabilities"]
        right = np.take_along_axis(probabilities, labels[:, None].astype(int), 1)
        loss = float(-np.log(np.maximum(right, 1e-12)).mean())
        if len(np.unique(labels)) < self.num_classes:
            return {"loss": loss, "auc": NO_AUC}
        from sklearn.metrics import roc_auc_score

        scores = probabilities[:, 1] if self.num_classes == 2 else probabilities
        return {"loss": loss, "auc": float(roc_auc_score(labels, scores, multi_class="ovr"))}

    def check_monitor(self, monitor: str, table: StackTable) -> None:
        """An AUC needs every class."""
        if monitor not in (*self.figures, "none"):
            raise UserError(
                f"A classifier has no {monitor} that could pick an epoch. Give --monitor auc, loss "
                "or none."
            )
        if monitor == "auc" and len(np.unique(table.label)) < self.num_classes:
            raise UserError(
                "The validation patients do not show every class, so their AUC cannot pick an "
                "epoch. Give --monitor loss or --monitor none, or build with other folds."
            )


def class_weights(labels: np.ndarray, num_classes: int, weighted: bool) -> np.ndarray:
    """Weight of each class's training stacks; all 1 unless `weighted`.

    Raises:
        UserError: a class has no stack.
    """
    counts = np.bincount(labels, minlength=num_classes)
    if not counts.all():
        raise UserError(
            f"The training patients' stacks show only classes {np.flatnonzero(counts).tolist()} of "
            f"{num_classes}: there is nothing to tell apart. Check the labels of the manifest or "
            "build with other folds."
        )
    weights = len(labels) / (num_classes * counts) if weighted else np.ones(num_classes)
    return weights.astype(np.float32)
