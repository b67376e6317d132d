"""How a network is trained: every field is a flag of `msk-jax train`."""

import dataclasses
import math
from pathlib import Path
from typing import Literal

from msk_jax.config import check_limits
from msk_jax.data.augment import Augmentation


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Optimisation settings. None of them is published for the sacroiliitis network."""

    seed: int = 0
    """Everything random in training comes from this number."""
    epochs: int = 100
    """Passes over the training data."""
    batch_size: int = 32
    """Stacks in a step, over all devices together; must be divisible by their number."""
    learning_rate: float = 1e-4
    """Peak rate of AdamW."""
    head_learning_rate: float | None = 1e-3
    """Peak rate of everything outside the encoder; none uses `learning_rate`."""
    final_learning_rate: float = 1e-6
    """Rate at the end of the cosine."""
    warmup_epochs: float = 5.0
    """Epochs of linear warm-up."""
    weight_decay: float = 1e-4
    """Decoupled weight decay of kernels; biases and norms are not decayed."""
    gradient_clip: float | None = 1.0
    """Largest global norm of the gradient; none leaves it as it is."""
    average_decay: float | None = None
    """Predict with a moving average of the parameters with this decay per step; none predicts
    with the parameters themselves."""
    class_weights: bool = True
    """Weigh the loss by inverse class frequency of the training patients' stacks."""
    label_smoothing: float = 0.0
    """Share of the label given to all classes alike."""
    monitor: Literal["auc", "loss", "none"] = "auc"
    """Validation figure that picks the best epoch and stops training early; `none` keeps the last
    epoch, for validation folds of so few patients that their figures are noise."""
    patience: int = 15
    """Epochs without a better validation figure before training stops."""
    bf16: bool = False
    """Compute in bfloat16 (parameters and losses stay float32); for TPU and GPU."""
    checkpoint_every: int | None = None
    """Steps between checkpoints; none saves after each epoch."""
    init_from: Path | None = None
    """A torchvision ResNet state dict (.safetensors or .pth) to start the encoder from; its stem
    is inflated to the slices."""
    shuffle_labels: bool = False
    """Give each patient another patient's label: a check that nothing leaks, never a result."""
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    """Random changes of the training pictures, made on the device."""

    def check(self) -> None:
        """Raises UserError where a field cannot be what it is."""
        check_limits(
            self,
            seed=(0, 2**31 - 1),
            epochs=(1, math.inf),
            batch_size=(1, math.inf),
            learning_rate=(1e-12, math.inf),
            head_learning_rate=(1e-12, math.inf),
            final_learning_rate=(0, math.inf),
            warmup_epochs=(0, math.inf),
            weight_decay=(0, math.inf),
            gradient_clip=(1e-12, math.inf),
            average_decay=(0, 1),
            label_smoothing=(0, 1),
            patience=(1, math.inf),
            checkpoint_every=(1, math.inf),
        )
