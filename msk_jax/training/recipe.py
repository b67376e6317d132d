"""How a network is trained: every field is a flag of `msk-jax train`."""

import dataclasses
import math
from pathlib import Path
from typing import Literal

from msk_jax.config import check_limits
from msk_jax.data.feed.augment import Augmentation
from msk_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Optimisation settings of a training, or of the last phase of one."""

    seed: int = 0
    """Everything random in training comes from this number."""
    epochs: int = 100
    """Passes over the training data."""
    batch_size: int = 32
    """Stacks in a step, over all devices together; must be divisible by their number."""
    accumulate: int = 1
    """Parts that each device cuts its share of a batch into and works off one after another, to
    save memory; batch norm sees one part at a time."""
    remat: bool = False
    """Keep the stages' outputs alone and compute the rest again for the gradients: less memory,
    about a third more work."""
    bf16: bool = False
    """Compute in bfloat16 (parameters and losses stay float32); for TPU and GPU."""
    optimiser: Literal["adamw", "sgd", "lamb", "adafactor"] = "adamw"
    """What turns gradients into steps; `sgd` has a momentum of 0.9."""
    learning_rate: float = 1e-4
    """Rate of the optimiser after the warm-up, the highest."""
    rates: tuple[tuple[str, float], ...] = ((".*", 1.0),)
    """Patterns of parameter paths and the factor of the rate for each; the first that fits the
    whole path counts, 0 freezes. `--rates "encoder/.*" 0.1 ".*" 1` trains the encoder slowly.
    A parameter that no pattern fits is an error."""
    schedule: Literal["cosine", "poly", "step"] = "cosine"
    """How the rate falls after the warm-up: along half a cosine, as a power of the part that is
    left, or in steps."""
    final_learning_rate: float = 1e-6
    """Rate at the end of `cosine` and `poly`."""
    poly_power: float = 0.9
    """Power to which `poly` raises the part that is left."""
    step_epochs: tuple[int, ...] = ()
    """Epochs after which `step` lowers the rate."""
    step_factor: float = 0.1
    """By what `step` multiplies the rate each time."""
    warmup_epochs: float = 5.0
    """Epochs of linear warm-up."""
    weight_decay: float = 1e-4
    """Weight decay of kernels, decoupled (`sgd` adds it to the gradient, as PyTorch does); biases
    and norms are not decayed."""
    gradient_clip: float | None = 1.0
    """Largest global norm of the gradient; none leaves it as it is."""
    average_decay: float | None = None
    """Predict with a moving average of the parameters with this decay per step; none predicts
    with the parameters themselves."""
    class_weights: bool = True
    """Weigh the loss by inverse class frequency of the training patients' stacks."""
    sampling: Literal["all", "balanced"] = "all"
    """Which stacks an epoch draws: `all` of them once, or the classes in turn (`balanced`), the
    rare ones again and again; balanced stacks are not weighed."""
    loss: Literal["cross_entropy", "ordinal"] = "cross_entropy"
    """What is minimised [U]: the cross entropy, as usual; or, of classes that have an order, its
    mean over the cuts between them (`ordinal`), so that a call further off costs more."""
    label_smoothing: float = 0.0
    """Share of the label given to all classes alike."""
    mixup: float = 0.0
    """Mix pairs of training pictures and their labels, the shares drawn from
    Beta(mixup, mixup); 0 mixes none."""
    monitor: Literal["auc", "ap50", "loss", "none"] = "none"
    """Validation figure that picks the best epoch and stops training early; `none` keeps the last
    epoch, at whose end the schedule has come to rest. Give one for validation folds of hundreds of
    patients: of a few dozen their figures are noise, and folds that stop at odd epochs have
    probabilities of different scale."""
    patience: int = 15
    """Epochs without a better validation figure before training stops; of no effect where none is
    monitored."""
    checkpoint_every: int | None = None
    """Steps between checkpoints, beside one after each epoch; none saves after an epoch whose
    validation figure is the best so far, or half a minute after the last checkpoint."""
    init_from: Path | None = None
    """A PyTorch state dict (.safetensors or .pth) to start from, of a torchvision ResNet for the
    encoder, or of the network of the registry that is trained; its stem is fitted to the slices."""
    shuffle_labels: bool = False
    """Give each patient another patient's label: a check that nothing leaks, never a result."""
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    """Random changes of the training pictures, made on the device."""

    def of_one_step(self) -> "Recipe":
        """The recipe without what only the course of a training depends on.

        Trainings that differ in nothing else share one compiled step.
        """
        course = (
            "seed",
            "batch_size",
            "class_weights",
            "sampling",
            "monitor",
            "patience",
            "checkpoint_every",
            "init_from",
            "shuffle_labels",
        )
        anyone = Recipe()
        return dataclasses.replace(self, **{name: getattr(anyone, name) for name in course})

    def check(self) -> None:
        """Raises UserError where a field cannot be what it is."""
        check_limits(
            self,
            seed=(0, 2**31 - 1),
            epochs=(1, math.inf),
            batch_size=(1, math.inf),
            accumulate=(1, math.inf),
            learning_rate=(1e-12, math.inf),
            poly_power=(0, math.inf),
            step_factor=(0, 1),
            final_learning_rate=(0, math.inf),
            warmup_epochs=(0, math.inf),
            weight_decay=(0, math.inf),
            gradient_clip=(1e-12, math.inf),
            average_decay=(0, 1),
            label_smoothing=(0, 1),
            mixup=(0, math.inf),
            patience=(1, math.inf),
            checkpoint_every=(1, math.inf),
        )
        self.augmentation.check()
        if self.warmup_epochs >= self.epochs:
            raise UserError(
                f"--warmup-epochs {self.warmup_epochs:g} leaves nothing of --epochs {self.epochs}. "
                "Lower the one or raise the other."
            )
        if any(factor < 0 for _, factor in self.rates):
            raise UserError("A factor of --rates is negative; 0 freezes, 1 is the full rate.")
        if self.schedule == "step" and not self.step_epochs:
            raise UserError("--schedule step needs --step-epochs, as `--step-epochs 30 60 90`.")


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of a training that comes before its recipe, as in staged transfer.

    All that is not named here is as in the recipe. A phase is never stopped early, and goes on with
    the parameters, not with the optimiser, of the one before.
    """

    epochs: int = 10
    """Passes over the training data."""
    learning_rate: float = 1e-3
    """Rate of the optimiser after the warm-up."""
    rates: tuple[tuple[str, float], ...] = ((".*", 1.0),)
    """As in the recipe: patterns of parameter paths and the factor of the rate for each."""
    warmup_epochs: float = 0.0
    """Epochs of linear warm-up."""

    def of(self, recipe: Recipe) -> Recipe:
        """The recipe of this phase."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return dataclasses.replace(recipe, **fields)
