"""Training one network on one split, to be killed and resumed at any moment."""

import csv
import dataclasses
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from sklearn.metrics import roc_auc_score

from msk_jax.data.augment import Preprocess
from msk_jax.data.pipeline import ShardedCohort
from msk_jax.errors import UserError
from msk_jax.files import write_json
from msk_jax.models.torch_weights import load_encoder, read_state_dict
from msk_jax.training import parallel
from msk_jax.training.checkpoints import Checkpoints
from msk_jax.training.optimiser import learning_rate_schedule, make_optimiser
from msk_jax.training.recipe import Recipe

HISTORY_COLUMNS = ("step", "epoch", "split", "loss", "auc", "learning_rate")
Progress = Callable[[int, int, str], None]


# What a checkpoint says of its `Course`.
_COURSE = {
    "course": {
        "epoch_losses": [float],
        "best": (float, None),
        "best_step": int,
        "stale_epochs": int,
    }
}


@dataclasses.dataclass
class Course:
    """Where a run stands, beside its arrays; saved with every checkpoint."""

    epoch_losses: list[float] = dataclasses.field(default_factory=list)
    best: float | None = None
    best_step: int = 0
    stale_epochs: int = 0


class Trainer:
    """Compiles the steps of one network and recipe once and trains it on any number of splits.

    Args:
        model: gives `(logits, endpoints)`, its batch norm synchronised over `parallel.AXIS`.
        num_classes: of its softmax.
        image_shape: `(height, width, slices)` as stored in the shards.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocess: Preprocess,
        recipe: Recipe,
        image_shape: tuple[int, int, int],
        num_classes: int,
        steps_per_epoch: int,
    ):
        parallel.check_batch_size(recipe.batch_size, jax.local_device_count())
        self.recipe, self.preprocess = recipe, preprocess
        self.steps_per_epoch = steps_per_epoch
        self.image_shape = image_shape
        self.model = model
        self.num_classes = num_classes
        self._optimiser = make_optimiser(recipe, steps_per_epoch)
        self._init = jax.jit(model.init)
        self._init_optimiser = jax.jit(self._optimiser.init)
        self._step = parallel.parallel_train_step(
            model=self.model,
            optimiser=self._optimiser,
            preprocess=preprocess,
            augmentation=recipe.augmentation,
            label_smoothing=recipe.label_smoothing,
            average_decay=recipe.average_decay,
        )
        self._predict = parallel.parallel_predict(self.model, preprocess)

    def untrained_variables(self, key: jax.Array) -> dict[str, Any]:
        """Random `params` and `batch_stats`, in the shapes of trained ones."""
        image = self.preprocess.window(jnp.zeros((1, *self.image_shape), jnp.int16))
        variables = self._init(key, image)
        return {name: variables[name] for name in ("params", "batch_stats")}

    def initial_state(self, split: int) -> parallel.TrainState:
        """The state before the first step; `split` tells the folds' random numbers apart."""
        key = jax.random.fold_in(jax.random.key(self.recipe.seed), split)
        init_key, run_key = jax.random.split(key)
        variables = self.untrained_variables(init_key)
        if self.recipe.init_from is not None:
            variables = load_encoder(variables, read_state_dict(self.recipe.init_from))
        averaged = self.recipe.average_decay is not None
        state = parallel.TrainState(
            step=jnp.zeros((), jnp.int32),
            opt_state=self._init_optimiser(variables["params"]),
            key=jax.random.key_data(run_key),
            # A copy: the step donates its input, and nothing can be donated twice.
            average=jax.tree.map(jnp.copy, variables) if averaged else None,
            **variables,
        )
        return parallel.replicate(state)

    def fit(
        self,
        folder: Path,
        split: int,
        data: ShardedCohort,
        train: set[str],
        validation: set[str],
        settings: dict,
        progress: Progress,
    ) -> None:
        """Train into `folder`, going on from its last checkpoint; returns at once when finished."""
        if (folder / "finished.json").exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        with (
            Checkpoints(folder / "last", keep=2) as last,
            Checkpoints(folder / "best", keep=2) as best,
        ):
            run = _Run(self, folder, data, train, validation, settings, last, best, progress)
            run.resume(self.initial_state(split))
            run.go(split)
        run.finish()

    def predict(self, variables: Any, batches) -> np.ndarray:
        """Probabilities `[n, classes]` for batches of stored volumes."""
        return parallel.predict_all(self._predict, variables, batches, self.recipe.batch_size)


class _Run:
    """One call of `Trainer.fit`."""

    def __init__(self, trainer, folder, data, train, validation, settings, last, best, progress):
        self._trainer, self._recipe = trainer, trainer.recipe
        self._folder, self._data = folder, data
        self._train = train
        self._validation_batches = data.evaluation_batches(validation, self._recipe.batch_size)
        self._settings, self._last, self._best = settings, last, best
        self._progress = progress
        self._course = Course()
        self._labels = data.table(validation).label
        self._weights = _class_weights(
            data.table(train).label, trainer.num_classes, self._recipe.class_weights
        )
        heads = self._recipe.head_learning_rate or self._recipe.learning_rate
        self._rate = learning_rate_schedule(self._recipe, trainer.steps_per_epoch, heads)
        self._total = self._recipe.epochs * trainer.steps_per_epoch

    def resume(self, state: parallel.TrainState) -> None:
        self._state = state
        step = self._last.latest()
        if step is not None:
            self._state = self._last.restore(step, state)
            course = self._last.settings(step, _COURSE)["course"]
            self._course = Course(**{name: course[name] for name in _COURSE["course"]})
        self._done = step or 0
        self._history = _History(self._folder / "history.csv", upto=self._done)
        self._board = _Scalars(self._folder / "tensorboard")

    def go(self, split: int) -> None:
        """Train from where the run stands to its last epoch or its early stop."""
        steps, every = self._trainer.steps_per_epoch, self._recipe.checkpoint_every
        batches = self._data.training_batches(
            self._train, self._recipe.batch_size, steps, (self._recipe.seed, split), self._done
        )
        pending = []
        while self._done < self._total and not self._stopped():
            batch = next(batches)
            batch["weight"] = self._weights[batch["label"]]
            batch = parallel.split_over_devices(batch, jax.local_device_count())
            self._state, metrics = self._trainer._step(self._state, batch)
            pending.append(metrics["loss"])
            self._done += 1
            end_of_epoch = self._done % steps == 0
            if end_of_epoch or (every and self._done % every == 0):
                self._course.epoch_losses += [float(loss) for loss in pending]
                pending = []
                self._check_finite()
                if end_of_epoch:
                    self._end_epoch()
                self._save()
            self._progress(self._done, self._total, self._note())

    def _note(self) -> str:
        best = self._course.best
        return "" if best is None else f"best validation {self._recipe.monitor} {best:.3f}"

    def _stopped(self) -> bool:
        return self._course.stale_epochs >= self._recipe.patience

    def _check_finite(self) -> None:
        if not all(map(math.isfinite, self._course.epoch_losses)):
            raise UserError(
                f"The loss is no longer a finite number near step {self._done} in {self._folder}. "
                "Lower --learning-rate or --gradient-clip and give a new --workdir."
            )

    def _save(self) -> None:
        # The course may name a new best: it must not be on disk before the best itself is.
        self._best.wait()
        course = {"course": dataclasses.asdict(self._course)}
        self._last.save(self._done, self._state, {**self._settings, **course})

    def _end_epoch(self) -> None:
        epoch = self._done // self._trainer.steps_per_epoch
        variables = self._state.variables
        probabilities = self._trainer.predict(variables, self._validation_batches)
        figures = validation_figures(self._labels, probabilities)
        train_loss = float(np.mean(self._course.epoch_losses))
        rate = float(self._rate(self._done - 1))
        self._history.add(self._done, epoch, "train", train_loss, math.nan, rate)
        self._history.add(self._done, epoch, "validation", figures["loss"], figures["auc"], rate)
        self._board.write(self._done, {
            "train/loss": train_loss, "validation/loss": figures["loss"],
            "validation/auc": figures["auc"], "learning_rate": rate,
        })  # fmt: skip
        course = self._course
        course.epoch_losses = []
        if self._is_better(figures):
            course.best_step, course.stale_epochs = self._done, 0
            course.best = figures.get(self._recipe.monitor)
            self._best.save(self._done, variables, self._settings)
        else:
            course.stale_epochs += 1

    def _is_better(self, figures: dict[str, float]) -> bool:
        """Whether this epoch is to be kept."""
        monitor, best = self._recipe.monitor, self._course.best
        if monitor == "none" or best is None:
            return True
        return figures[monitor] < best if monitor == "loss" else figures[monitor] > best

    def finish(self) -> None:
        """Mark the split as finished, once all is on disk."""
        result = {
            "steps": self._done,
            "best_step": self._course.best_step,
            "best": self._course.best,
        }
        write_json(self._folder / "finished.json", result)


def validation_figures(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Mean cross-entropy and AUC of stacks (one-against-rest mean for several classes).

    A validation set of one class has no AUC: 0.5 is returned, which improves on nothing.
    """
    num_classes = probabilities.shape[1]
    right = np.take_along_axis(probabilities, labels[:, None].astype(int), 1)
    loss = float(-np.log(np.maximum(right, 1e-12)).mean())
    if len(np.unique(labels)) < num_classes:
        return {"loss": loss, "auc": 0.5}
    scores = probabilities[:, 1] if num_classes == 2 else probabilities
    return {"loss": loss, "auc": float(roc_auc_score(labels, scores, multi_class="ovr"))}


def _class_weights(labels: np.ndarray, num_classes: int, balanced: bool) -> np.ndarray:
    counts = np.bincount(labels, minlength=num_classes)
    if not counts.all():
        raise UserError(
            f"The training patients' stacks show only classes {np.flatnonzero(counts).tolist()} of "
            f"{num_classes}: there is nothing to tell apart. Check the labels of the manifest or "
            "build with other folds."
        )
    weights = len(labels) / (num_classes * counts) if balanced else np.ones(num_classes)
    return weights.astype(np.float32)


class _History:
    """`history.csv`, cut back to what the restored checkpoint knew."""

    def __init__(self, path: Path, upto: int):
        kept = []
        if path.exists():
            with path.open(newline="") as file:
                # A kill may have left half a row; what it belongs to is trained again anyway.
                whole = (
                    r for r in csv.DictReader(file) if (r["step"] or "").isdigit() and r["loss"]
                )
                kept = [row for row in whole if int(row["step"]) <= upto]
        self._path = path
        temporary = path.with_name(path.name + ".partial")
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, HISTORY_COLUMNS)
            writer.writeheader()
            writer.writerows(kept)
        os.replace(temporary, path)

    def add(self, *values) -> None:
        row = ["" if isinstance(v, float) and math.isnan(v) else v for v in values]
        with self._path.open("a", newline="") as file:
            csv.writer(file).writerow(row)


class _Scalars:
    """TensorBoard scalars."""

    def __init__(self, folder: Path):
        import tensorflow as tf

        self._summary = tf.summary
        self._writer = tf.summary.create_file_writer(str(folder))

    def write(self, step: int, values: dict[str, float]) -> None:
        with self._writer.as_default():
            for name, value in values.items():
                self._summary.scalar(name, value, step=step)
        self._writer.flush()
