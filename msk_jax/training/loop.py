"""Training one network on one split, to be killed and resumed at any moment."""

import collections
import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from msk_jax.data.feed.augment import Preprocess
from msk_jax.data.feed.sharded_cohort import ShardedCohort
from msk_jax.errors import Stopped, UserError
from msk_jax.files import write_json
from msk_jax.models.weights.encoder_weights import load_encoder
from msk_jax.models.weights.weight_files import read_state_dict
from msk_jax.training import parallel
from msk_jax.training.checkpoints import Checkpoints
from msk_jax.training.course import COURSE, Course
from msk_jax.training.parts import make_parts, part_at
from msk_jax.training.recipe import Phase, Recipe
from msk_jax.training.records import Board, History, NoRecords, history_columns
from msk_jax.training.step import TrainState, first_state, untrained_variables
from msk_jax.training.task import TrainedTask
from msk_jax.training.validation import (
    Interrupted,
    is_better,
    until_asked,
)
from msk_jax.training.watch import NOTHING_MORE, Pace, Spent, Trace, Watching

Progress = Callable[[int, int, str], None]
_STEPS_AHEAD = 2
"""Steps that may be on their way while the next batch is fetched: few, so that a stop is prompt."""
_CHECKPOINT_SECONDS = 30.0
"""What a run that is killed without a word may lose, or an epoch where that is longer."""


# Compiled once for all trainings with equal settings.
_UNTRAINED = jax.jit(untrained_variables, static_argnums=(0, 1))
_FIRST = jax.jit(first_state, static_argnums=0)


class Trainer:
    """Compiles the steps of one network and recipe once and trains it on any number of splits.

    Args:
        model: gives `(outputs, endpoints)`, its batch norm synchronised over `step.AXIS`.
        task: what it is trained for.
        image_shape: `(height, width, slices)` as stored in the shards.
        steps_per_epoch: of every split.
        before: phases that come before the recipe.
        load: `(variables, state dict) -> variables` for `--init-from`.
    """

    def __init__(
        self,
        model: nn.Module,
        task: TrainedTask,
        preprocess: Preprocess,
        recipe: Recipe,
        image_shape: tuple[int, int, int],
        steps_per_epoch: int,
        before: Sequence[Phase] = (),
        load: Callable = load_encoder,
    ):
        self.recipe, self.task = recipe, task
        self.batch_size = recipe.batch_size // jax.process_count()
        self.steps_per_epoch = steps_per_epoch
        self.image_shape = image_shape
        self._load = load
        self.parts = make_parts(model, task, preprocess, recipe, before, steps_per_epoch)
        self.step_settings = self.parts[-1].settings
        self._predict = parallel.parallel_predict(model, preprocess, task)

    def initial_state(self, split: int) -> TrainState:
        """The state before the first step; `split` tells the folds' random numbers apart."""
        key = jax.random.fold_in(jax.random.key(self.recipe.seed), split)
        init_key, run_key = jax.random.split(key)
        variables = _UNTRAINED(self.step_settings, self.image_shape, init_key)
        if self.recipe.init_from is not None:
            window = self.step_settings.preprocess.window
            seen = jax.eval_shape(window, jnp.zeros(self.image_shape, jnp.int16)).shape
            state = read_state_dict(self.recipe.init_from)
            variables = self._load(variables, state, size=seen[:2])
        return parallel.replicate(_FIRST(self.parts[0].settings, variables, run_key))

    def trained_like(self) -> dict:
        """The shapes of trained `params` and `batch_stats`, on every device."""
        make = partial(untrained_variables, self.step_settings, self.image_shape)
        place = parallel.on_every(jax.devices())
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
            jax.eval_shape(make, jax.random.key(0)),
        )

    def fit(
        self,
        folder: Path,
        split: int,
        data: ShardedCohort,
        train: set[str],
        validation: set[str],
        settings: dict,
        progress: Progress,
        watching: Watching = NOTHING_MORE,
        asked_to_stop: Callable[[], bool] = lambda: False,
    ) -> dict[str, float]:
        """Train into `folder`, going on from its last checkpoint; returns at once when finished.

        Returns:
            The seconds of this call, see `watch.Spent`; empty where all was finished before.

        Raises:
            Stopped: SIGTERM came; where the run stands is saved.
            UserError: the loss is no longer finite, or nothing can be written.
        """
        finished = (folder / "finished.json").exists()
        parallel.check_same_on_all([split, finished], "finished folds")
        if finished:
            return {}
        spent = Spent()
        folder.mkdir(parents=True, exist_ok=True)
        with (
            Checkpoints(folder / "last", keep=2) as last,
            Checkpoints(folder / "best", keep=2) as best,
        ):
            run = _Run(self, folder, data, train, validation, settings, last, best, spent)
            with spent.on("starting"):
                run.resume(self.initial_state(split))
            run.go(split, progress, watching, asked_to_stop)
            with spent.on("checkpoints"):
                last.wait()
                best.wait()
        run.finish()
        return spent.seconds()

    def predict(self, variables: Any, batches) -> dict[str, np.ndarray]:
        """The task's answers `[n, ...]` for batches of stored volumes, on this host's devices."""
        return parallel.predict_all(self._predict, variables, batches, self.batch_size)


@dataclasses.dataclass
class _Pending:
    """A step whose loss has not been looked at."""

    step: int
    loss: jax.Array
    unit_ids: np.ndarray


class _Run:
    """One call of `Trainer.fit`."""

    def __init__(self, trainer, folder, data, train, validation, settings, last, best, spent):
        self._trainer, self._recipe = trainer, trainer.recipe
        self._folder, self._data, self._train = folder, data, train
        self._validation_batches = data.evaluation_batches(validation, trainer.batch_size)
        self._validation_rounds = data.most_batches(validation, trainer.batch_size)
        self._settings, self._last, self._best = settings, last, best
        self._course, self._spent = Course(), spent
        self._pending = collections.deque()
        self._pace = Pace(self._recipe.batch_size)
        self._asked = data.table(validation)
        trainer.task.check_monitor(self._recipe.monitor, self._asked)
        weighted = self._recipe.class_weights and self._recipe.sampling == "all"
        self._weights = trainer.task.example_weights(data.table(train), weighted)
        self._total = trainer.parts[-1].end
        self._part, self._compiled = 0, set()

    def resume(self, state: TrainState) -> None:
        self._state = state
        step = self._last.latest()
        parallel.check_same_on_all([step or 0], "checkpoint")
        # What was best after it belongs to steps that are taken again, maybe by other hosts.
        self._best.forget_after(step or 0)
        if step is not None:
            # The state after a part's last step is still that part's.
            self._part = part_at(self._trainer.parts, step - 1)
            if self._part:
                state = self._trainer.parts[self._part].enter(state)
            self._state = self._last.restore(step, state)
            course = self._last.settings(step, COURSE)["course"]
            self._course = Course(**{name: course[name] for name in COURSE["course"]})
            if self._course.best_step == step != self._best.latest():
                # It was killed before the best was on disk, which is this very one.
                self._best.save(step, self._state.variables, self._settings)
        self._done = step or 0
        self._saved_at = time.monotonic()
        self._history = self._board = NoRecords()
        if jax.process_index() == 0:
            # An epoch that is still to be validated may be recorded already.
            recorded = self._done - self._course.unvalidated
            columns = history_columns(self._trainer.task.figures)
            self._history = History(self._folder / "history.csv", columns, upto=recorded)
            self._board = Board(self._folder / "tensorboard")

    def go(self, split: int, progress: Progress, watching: Watching, asked_to_stop) -> None:
        """Train from where the run stands to its last epoch or its early stop."""
        steps, every = self._trainer.steps_per_epoch, self._recipe.checkpoint_every
        with self._spent.on("input"):
            batches = self._data.training_batches(
                self._train,
                self._trainer.batch_size,
                steps,
                (self._recipe.seed, split),
                self._done,
                balanced=self._recipe.sampling == "balanced",
                learned=self._trainer.task.examples,
            )
        if self._course.unvalidated:
            self._end_epoch(watching, asked_to_stop)
        agreed = parallel.AnyHost()
        with Trace(watching.profile) as trace:
            while self._done < self._total and not self._stopped():
                self._enter_part()
                trace.step(lambda: jax.block_until_ready(self._state))
                self._step(batches)
                end_of_epoch = self._done % steps == 0
                stop = agreed(asked_to_stop, self._done)
                due = stop or bool(every and self._done % every == 0)
                if end_of_epoch or due:
                    self._look_at_losses(upto=0)
                    if end_of_epoch:
                        self._end_epoch(watching, asked_to_stop)
                        due = self._is_to_be_kept() or due
                    if due:
                        self._save()
                progress(self._done, self._total, self._note())
                if stop and self._done < self._total:
                    self._leave()

    def _leave(self) -> None:
        self._last.wait()
        raise Stopped(
            f"Asked to stop. Step {self._done} of {self._total} is saved in {self._folder}. Run "
            "the same command again to go on."
        )

    def _enter_part(self) -> None:
        part = part_at(self._trainer.parts, self._done)
        if part != self._part:
            self._state = self._trainer.parts[part].enter(self._state)
            self._part, self._course.stale_epochs = part, 0

    def _step(self, batches: Iterator[dict[str, np.ndarray]]) -> None:
        with self._pace.input(), self._spent.on("input"):
            batch = next(batches)
        unit_ids = batch.pop("unit_id")
        if self._done == 0:
            self._show(batch["volume"])
        batch["weight"] = self._weights(batch)
        batch = parallel.split_over_devices(batch, jax.local_device_count())
        # The first call of a part's step compiles it, or fetches it from the cache.
        first = self._part not in self._compiled
        with self._spent.on("compiling") if first else contextlib.nullcontext():
            self._state, metrics = self._trainer.parts[self._part].step(self._state, batch)
        self._compiled.add(self._part)
        self._done += 1
        self._pending.append(_Pending(self._done, metrics["loss"], unit_ids))
        self._look_at_losses(upto=_STEPS_AHEAD)
        self._pace.step()

    def _show(self, volumes: np.ndarray) -> None:
        """The middle slices of the first batch, as the network's window shows them."""
        middle = self._trainer.step_settings.preprocess.window(jnp.asarray(volumes[:8]))
        middle = middle[..., middle.shape[-1] // 2, None]
        self._board.pictures(0, "train/middle_slices", np.asarray(middle))

    def _look_at_losses(self, upto: int) -> None:
        """Wait for all losses but the newest `upto`; stop where one is not finite."""
        while len(self._pending) > upto:
            pending = self._pending.popleft()
            loss = float(pending.loss)
            self._course.epoch_losses.append(loss)
            if not math.isfinite(loss):
                units = pending.unit_ids.astype(str).tolist()
                more = f" and {len(units) - 4} more" if len(units) > 4 else ""
                self._give_up(
                    f"The loss is no longer a finite number at step {pending.step}; its stacks "
                    f"were {', '.join(units[:4])}{more}",
                    {"step": pending.step, "unit_ids": units},
                )

    def _give_up(self, fault: str, facts: dict) -> None:
        place = self._folder / "not_finite"
        with Checkpoints(place) as checkpoints:
            checkpoints.save(self._done, self._state, {**self._settings, "not_finite": facts})
        raise UserError(
            f"{fault}. The state is kept in {place}. Lower --learning-rate or --gradient-clip and "
            "give a new --workdir."
        )

    def _note(self) -> str:
        best = self._course.best
        found = "" if best is None else f"best validation {self._recipe.monitor} {best:.3f}"
        return ", ".join(filter(None, (self._pace.words(), found)))

    def _stopped(self) -> bool:
        is_last = self._part == len(self._trainer.parts) - 1
        return is_last and self._course.stale_epochs >= self._recipe.patience

    def _is_to_be_kept(self) -> bool:
        """Whether the end of this epoch needs a checkpoint; asked on all hosts."""
        monitored = self._recipe.monitor != "none"
        if self._recipe.checkpoint_every or self._done == self._total or self._stopped():
            return True
        # The best that is on disk may be no newer than where a killed run goes on.
        if monitored and self._course.best_step == self._done:
            return True
        return parallel.any_host(time.monotonic() - self._saved_at > _CHECKPOINT_SECONDS)

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        course = {"course": dataclasses.asdict(self._course)}
        with self._spent.on("checkpoints"):
            # A course must not name a best that is not on disk, unless it is this very state.
            if self._course.best_step != self._done:
                self._best.wait()
            self._last.save(self._done, self._state, {**self._settings, **course})

    def _end_epoch(self, watching: Watching, asked_to_stop: Callable[[], bool]) -> None:
        """Validate, record and keep the epoch.

        Raises:
            Stopped: a host was asked to stop before the validation was over, which may be long;
                the next call begins with it.
        """
        pace, course = self._pace.figures(), self._course
        variables = self._state.variables
        course.unvalidated = True
        try:
            with self._spent.on("validation"):
                figures = self._validate(variables, partial(parallel.AnyHost(), asked_to_stop))
        except Interrupted:
            self._save()
            self._leave()
        course.unvalidated = False
        with self._spent.on("logging"):
            self._record(figures, pace)
            if watching.histograms:
                self._board.distributions(self._done, self._state.params)
        self._pace.restart()
        course.epoch_losses = []
        if is_better(self._recipe.monitor, figures, course.best):
            course.best_step, course.stale_epochs = self._done, 0
            course.best = figures.get(self._recipe.monitor)
            # Where the last one is the best one, all others are in the way.
            if self._recipe.monitor != "none" or self._done == self._total:
                with self._spent.on("checkpoints"):
                    self._best.save(self._done, variables, self._settings)
        else:
            course.stale_epochs += 1

    def _validate(self, variables: dict, asked_to_stop: Callable) -> dict[str, float]:
        here = parallel.on_this_host(variables)
        batches = until_asked(self._validation_batches, self._validation_rounds, asked_to_stop)
        task = self._trainer.task
        answers = parallel.gather_answers(self._trainer.predict(here, batches), task.validated)
        if not all(np.isfinite(values).all() for values in answers.values()):
            self._give_up(
                f"Validation gives no finite numbers after step {self._done}", {"step": self._done}
            )
        return task.validation(self._asked, answers)

    def _record(self, figures: dict[str, float], pace: dict[str, float]) -> None:
        epoch = self._done // self._trainer.steps_per_epoch
        train_loss = float(np.mean(self._course.epoch_losses))
        part = self._trainer.parts[self._part]
        rate = float(part.rate(self._done - 1 - part.begin))
        for split, known in (("train", {"loss": train_loss}), ("validation", figures)):
            row = [known.get(name, math.nan) for name in self._trainer.task.figures]
            self._history.add(self._done, epoch, split, *row, rate)
        self._board.figures(
            self._done,
            {
                "train/loss": train_loss,
                **{f"validation/{name}": value for name, value in figures.items()},
                "learning_rate": rate,
                **pace,
            },
        )

    def finish(self) -> None:
        """Mark the split as finished, once all is on disk."""
        result = {
            "steps": self._done,
            "best_step": self._course.best_step,
            "best": self._course.best,
        }
        parallel.on_first_host(lambda: write_json(self._folder / "finished.json", result))
