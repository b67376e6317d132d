"""One network per fold, resumable at any moment, and then what they say of every patient."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import jax

from msk_jax.config import to_json
from msk_jax.data.feed.sharded_cohort import ShardedCohort, shuffled_labels
from msk_jax.data.shards.folds import check_sites, load_folds, load_test_sets, roles
from msk_jax.errors import Stopped, UserError
from msk_jax.experiment import Experiment, Stage
from msk_jax.files import in_bucket, read_json
from msk_jax.study.listener import SILENT, Listener
from msk_jax.study.settings import check_cohort, claim
from msk_jax.training.checkpoints import Checkpoints
from msk_jax.training.loop import Trainer
from msk_jax.training.parallel import any_host, check_batch_size, on_first_host
from msk_jax.training.step import AXIS
from msk_jax.training.watch import NOTHING_MORE, Watching, noting_sigterm, spent_in_words

_APART = 1.25
"""From which ratio of their sizes folds no longer share the steps of the smallest."""


@dataclasses.dataclass(frozen=True)
class Training:
    """The networks of all folds of one stage, before, while and after they are trained."""

    experiment: Experiment
    stage: Stage
    data_dir: Path
    data: ShardedCohort
    folds: Mapping[str, int]
    """Of each patient who is in one."""
    test_sets: Mapping[str, set[str]]
    """By name, patients who are in no fold."""
    cache_memory: int | None = None
    """Bytes of voxels that may be held, see `VoxelCache`."""

    @classmethod
    def open(
        cls,
        experiment: Experiment,
        stage: Stage,
        data_dir: Path,
        cache_memory: int | None = None,
    ) -> "Training":
        """Of a stage on a built cohort.

        Raises:
            UserError: the recipe or the shards are not what they must be.
        """
        stage.method.check()
        check_batch_size(stage.method.recipe)
        data = open_cohort(experiment, stage, data_dir, cache_memory)
        return cls(experiment, stage, data_dir, data, *open_folds(data, data_dir), cache_memory)

    @property
    def num_folds(self) -> int:
        """Folds that are trained, and so networks."""
        every = max(self.folds.values()) + 1
        return min(every, self.experiment.split.trained or every)

    def wanted(self, fold: int | None) -> range:
        """All folds, or the one; raises UserError where there is no such fold."""
        if fold is None:
            return range(self.num_folds)
        if fold not in range(self.num_folds):
            raise UserError(
                f"There is no fold {fold}: the cohort has folds 0 to {self.num_folds - 1}."
            )
        return range(fold, fold + 1)

    def trainers(self, fold: int | None = None) -> dict[int, Trainer]:
        """A trainer for each fold that is wanted."""
        steps = steps_of_folds(self.data, self.folds, self.stage)
        return {
            k: make_trainer(self.data, self.folds, self.stage, steps[k]) for k in self.wanted(fold)
        }

    def finished(self, workdir: Path) -> list[int]:
        """The folds whose networks are trained to their end."""
        return [k for k in range(self.num_folds) if _end_of(workdir, k).is_file()]


def train(
    training: Training,
    workdir: Path,
    fold: int | None = None,
    listener: Listener = SILENT,
    watching: Watching = NOTHING_MORE,
) -> None:
    """Train every fold (or one), going on from where an interrupted run stopped.

    Raises:
        Stopped: SIGTERM came; where the run stands is saved.
        UserError: `workdir` cannot be used, or the loss is no longer finite.
    """
    trainers = training.trainers(fold)
    first = next(iter(trainers))
    # Before the folder is claimed for these settings, see that a network can be made of them.
    trainers[first].initial_state(first)
    experiment, stage = training.experiment, training.stage
    on_first_host(lambda: claim(workdir, experiment, training.data_dir, stage.method.recipe.seed))
    settings = {"experiment": to_json(experiment), "stage": to_json(stage)}
    with noting_sigterm() as asked_to_stop:
        for k, trainer in trainers.items():
            with listener.progress(f"Training fold {k + 1} of {training.num_folds}") as update:
                spent = trainer.fit(
                    workdir / f"fold_{k}",
                    k,
                    training.data,
                    members(training.folds, k, "train"),
                    members(training.folds, k, "validation"),
                    {**settings, "fold": k},
                    update,
                    watching if k == first else dataclasses.replace(watching, profile=None),
                    asked_to_stop,
                )
            if spent:
                listener.say(f"Fold {k + 1} took {spent_in_words(spent)}.")
            if k != max(trainers) and any_host(asked_to_stop()):
                raise Stopped(
                    f"Asked to stop. Fold {k} is finished in {workdir}. Run the same command again "
                    "to go on."
                )


def check_profile(watching: Watching, workdir: Path) -> None:
    """Raises UserError where a trace was asked for that cannot be written."""
    if watching.profile is not None and in_bucket(workdir):
        raise UserError("--profile is written to a disk. Give --workdir a folder, or leave it out.")


def open_cohort(
    experiment: Experiment,
    stage: Stage,
    data_dir: Path,
    cache_memory: int | None = None,
    alone: bool = False,
) -> ShardedCohort:
    """The built cohort as this stage wants to see it.

    Args:
        experiment: that it was built for.
        stage: says how deep its stacks are, and whether its labels are shuffled.
        data_dir: its shards.
        cache_memory: bytes of voxels that may be held, see `VoxelCache`.
        alone: whether this host sees all of it, and not its share.

    Raises:
        UserError: it was built with other settings, see also `ShardedCohort`.
    """
    check_cohort(experiment, data_dir)
    context = experiment.cohort.region.context_slices
    options = {"cache_memory": cache_memory}
    if not alone:
        options |= {"host": jax.process_index(), "num_hosts": jax.process_count()}
    data = ShardedCohort(data_dir, stage.method.model.num_slices, context, **options)
    if not stage.method.recipe.shuffle_labels:
        return data
    relabel = shuffled_labels(data.records, stage.method.recipe.seed)
    return ShardedCohort(data_dir, stage.method.model.num_slices, context, relabel, **options)


def open_folds(data: ShardedCohort, data_dir: Path) -> tuple[dict[str, int], dict[str, set[str]]]:
    """Folds and test sets of a cohort, if they are those of these very shards."""
    folds, test_sets = load_folds(data_dir, data.patient_labels), load_test_sets(data_dir)
    check_sites(folds, test_sets, {r["patient_id"]: r["site"] for r in data.records})
    return folds, test_sets


def members(folds: Mapping[str, int], k: int, role: str) -> set[str]:
    """The patients of one role in split `k`."""
    return {patient for patient, theirs in roles(folds, k).items() if theirs == role}


def steps_of_folds(data: ShardedCohort, folds: Mapping[str, int], stage: Stage) -> list[int]:
    """Steps of an epoch of each fold.

    Folds of nearly the same size take the steps of the smallest, for the schedule is part of the
    compiled step and they share one; much larger ones, as of sites, their own.
    """
    balanced = stage.method.recipe.sampling == "balanced"
    own = [
        data.steps_per_epoch(
            members(folds, k, "train"), stage.method.recipe.batch_size, balanced=balanced
        )
        for k in range(max(folds.values()) + 1)
    ]
    return [steps if steps > _APART * min(own) else min(own) for steps in own]


def make_trainer(
    data: ShardedCohort, folds: Mapping[str, int], stage: Stage, steps: int | None = None
) -> Trainer:
    """A trainer with so many steps an epoch, by default those of the smallest fold."""
    if steps is None:
        steps = min(steps_of_folds(data, folds, stage))
    return Trainer(
        stage.method.module(AXIS),
        stage.trained_task,
        stage.method.preprocess,
        stage.method.recipe,
        data.image_shape,
        steps,
        stage.method.before,
        stage.method.model.load,
    )


def best_step(workdir: Path, k: int) -> int:
    """The step of fold `k` that was best.

    Raises:
        UserError: the fold is not finished, or what it left is damaged.
    """
    finished = _end_of(workdir, k)
    if not finished.is_file():
        raise UserError(
            f"Fold {k} in {workdir} is not finished. Run `msk-jax train` again with the same "
            "--workdir; it goes on from the last checkpoint."
        )
    way_out = "Delete it and run `msk-jax train` again with the same --workdir."
    return read_json(finished, {"best_step": int}, way_out)["best_step"]


def best_variables(workdir: Path, k: int, like):
    """The best epoch's parameters of one finished fold, in the shapes and places of `like`."""
    step = best_step(workdir, k)
    with Checkpoints(workdir / f"fold_{k}" / "best", keep=2) as best:
        return best.restore(step, like)


def _end_of(workdir: Path, k: int) -> Path:
    return workdir / f"fold_{k}" / "finished.json"
