"""`msk-jax train`: one network per fold, resumable at any moment."""

import dataclasses
import json
from pathlib import Path

import jax

from msk_jax.config import to_json
from msk_jax.data.folds import check_sites, load_folds, load_test_sets, roles
from msk_jax.data.pipeline import ShardedCohort, shuffled_labels
from msk_jax.data.target import COHORT_NAME, read_cohort
from msk_jax.errors import Stopped, UserError
from msk_jax.experiment import Experiment, Stage
from msk_jax.files import in_bucket, read_json, replacing, write_json
from msk_jax.training.loop import Trainer
from msk_jax.training.parallel import any_host, check_batch_size, on_first_host
from msk_jax.training.step import AXIS
from msk_jax.training.watch import NOTHING_MORE, Watching, noting_sigterm, spent_in_words
from msk_jax.verbs import console, plan

SETTINGS_NAME = "settings.json"
_APART = 1.25
"""From which ratio of their sizes folds no longer share the steps of the smallest."""
_SETTINGS = {"experiment": str, "stage": dict, "cohort_fingerprint": dict}


def run(
    experiment: Experiment,
    stage: Stage,
    data_dir: Path,
    workdir: Path,
    fold: int | None = None,
    quiet: bool = False,
    watching: Watching = NOTHING_MORE,
    dry_run: bool = False,
    cache_memory: int | None = None,
) -> None:
    """Train every fold (or one), going on from where an interrupted run stopped."""
    stage.check()
    check_batch_size(stage.recipe)
    if watching.profile is not None and in_bucket(workdir):
        raise UserError("--profile is written to a disk. Give --workdir a folder, or leave it out.")
    data = open_cohort(experiment, stage, data_dir, cache_memory)
    folds, _ = open_folds(data, data_dir)
    num_folds = max(folds.values()) + 1
    wanted = range(num_folds) if fold is None else [fold]
    if fold is not None and fold not in range(num_folds):
        raise UserError(f"There is no fold {fold}: the cohort has folds 0 to {num_folds - 1}.")
    steps = steps_of_folds(data, folds, stage)
    trainers = {k: make_trainer(data, folds, stage, steps[k]) for k in wanted}
    if dry_run:
        return plan.show(list(trainers.values()), data.voxels)
    # Before the folder is claimed for these settings, see that a network can be made of them.
    trainers[wanted[0]].initial_state(wanted[0])
    console.console.quiet = jax.process_index() > 0
    on_first_host(
        lambda: _claim(console.writable_folder(workdir, "--workdir"), experiment, stage, data_dir)
    )
    with noting_sigterm() as asked_to_stop:
        for k in wanted:
            with console.progress_bar(f"Training fold {k + 1} of {num_folds}") as update:
                spent = trainers[k].fit(
                    workdir / f"fold_{k}",
                    k,
                    data,
                    members(folds, k, "train"),
                    members(folds, k, "validation"),
                    {"experiment": to_json(experiment), "stage": to_json(stage), "fold": k},
                    update,
                    watching if k == wanted[0] else dataclasses.replace(watching, profile=None),
                    asked_to_stop,
                )
            if spent:
                console.say(f"Fold {k + 1} took {spent_in_words(spent)}.")
            if k != wanted[-1] and any_host(asked_to_stop()):
                raise Stopped(
                    f"Asked to stop. Fold {k} is finished in {workdir}. Run the same command again "
                    "to go on."
                )
    if quiet:
        return
    console.say(f"The networks of {len(wanted)} folds are in {workdir}.")
    console.say_next("evaluate", experiment.address, "--data-dir", data_dir, "--workdir", workdir)


def open_cohort(
    experiment: Experiment, stage: Stage, data_dir: Path, cache_memory: int | None = None
) -> ShardedCohort:
    """The built cohort as this stage wants to see it.

    Args:
        experiment: that it was built for.
        stage: says how deep its stacks are, and whether its labels are shuffled.
        data_dir: its shards.
        cache_memory: bytes of voxels that may be held, see `VoxelCache`.

    Raises:
        UserError: it was built with other settings, see also `ShardedCohort`.
    """
    built_with = read_cohort(data_dir)["fingerprint"]["config"]
    if built_with != json.loads(json.dumps(to_json(experiment.cohort))):
        raise UserError(
            f"The shards in {data_dir} were built with other cohort settings than those of the "
            f"experiment {experiment.name}: their pictures are cut differently. Build them again "
            "with --overwrite, or give the experiment that they were built with."
        )
    context = experiment.cohort.region.context_slices
    settings = {
        "host": jax.process_index(),
        "num_hosts": jax.process_count(),
        "cache_memory": cache_memory,
    }
    data = ShardedCohort(data_dir, stage.model.num_slices, context, **settings)
    if not stage.recipe.shuffle_labels:
        return data
    relabel = shuffled_labels(data.records, stage.recipe.seed)
    return ShardedCohort(data_dir, stage.model.num_slices, context, relabel, **settings)


def open_folds(data: ShardedCohort, data_dir: Path) -> tuple[dict[str, int], dict[str, set[str]]]:
    """Folds and test sets of a cohort, if they are those of these very shards."""
    folds, test_sets = load_folds(data_dir, data.patient_labels), load_test_sets(data_dir)
    check_sites(folds, test_sets, {r["patient_id"]: r["site"] for r in data.records})
    return folds, test_sets


def read_settings(workdir: Path) -> dict:
    """`settings.json` of a training: the experiment's name, its stage, what it was trained on.

    Raises:
        UserError: there is none, or it is damaged.
    """
    path = workdir / SETTINGS_NAME
    if not path.is_file():
        raise UserError(
            f"Nothing was trained in {workdir}. Run `msk-jax train` with this --workdir first."
        )
    return read_json(path, _SETTINGS, "Put the file back, or train into a new --workdir.")


def members(folds: dict[str, int], k: int, role: str) -> set[str]:
    """The patients of one role in split `k`."""
    return {patient for patient, found in roles(folds, k).items() if found == role}


def steps_of_folds(data: ShardedCohort, folds: dict[str, int], stage: Stage) -> list[int]:
    """Steps of an epoch of each fold.

    Folds of nearly the same size take the steps of the smallest, for the schedule is part of the
    compiled step and they share one; much larger ones, as of sites, their own.
    """
    balanced = stage.recipe.sampling == "balanced"
    own = [
        data.steps_per_epoch(members(folds, k, "train"), stage.recipe.batch_size, balanced=balanced)
        for k in range(max(folds.values()) + 1)
    ]
    return [steps if steps > _APART * min(own) else min(own) for steps in own]


def make_trainer(
    data: ShardedCohort, folds: dict[str, int], stage: Stage, steps: int | None = None
) -> Trainer:
    """A trainer with so many steps an epoch, by default those of the smallest fold."""
    if steps is None:
        steps = min(steps_of_folds(data, folds, stage))
    return Trainer(
        stage.network(AXIS),
        stage.preprocess,
        stage.recipe,
        data.image_shape,
        stage.model.num_classes,
        steps,
        stage.before,
        stage.model.load,
    )


def _claim(workdir: Path, experiment: Experiment, stage: Stage, data_dir: Path) -> None:
    """Note in `workdir` what is trained there; refuse to mix two settings."""
    cohort = read_cohort(data_dir)
    settings = {
        "experiment": experiment.name,
        "stage": to_json(stage),
        "cohort_fingerprint": cohort["fingerprint"],
    }
    path = workdir / SETTINGS_NAME
    if path.exists():
        different = _differences(read_settings(workdir), settings)
        if different:
            raise UserError(
                f"{workdir} was trained with other settings ({different}). Give the same settings "
                "to go on with it, or a new --workdir."
            )
    elif any(workdir.iterdir()):
        raise UserError(
            f"{workdir} holds other things and is no folder of an earlier training. Give a new or "
            "empty --workdir."
        )
    else:
        write_json(path, settings)
    with replacing(workdir / COHORT_NAME) as temporary:
        temporary.write_bytes((data_dir / COHORT_NAME).read_bytes())
    console.note_command(workdir, before=console.read_commands(data_dir))
    write_run(workdir, experiment, stage, cohort["is_phantom"])


def write_run(workdir: Path, experiment: Experiment, stage: Stage, is_phantom: bool) -> None:
    """`run.json`: what the report says about how the figures were made."""
    told = ("name", "title", "task", "modality", "input", "source", "published", "choices")
    entries = to_json(experiment)
    published = [{k: v for k, v in p.items() if k != "type"} for p in entries["published"]]
    before = {f"phase {k + 1}": to_json(phase) for k, phase in enumerate(stage.before)}
    warnings = []
    if stage.recipe.shuffle_labels:
        warnings.append("The labels were shuffled on purpose: this run is a check, not a result.")
    write_json(
        workdir / "run.json",
        {
            "experiment": {
                **{k: entries[k] for k in told},
                "published": published,
                "classes": list(experiment.cohort.classes),
                "levels": list(experiment.cohort.levels),
            },
            "commands": console.read_commands(workdir),
            "versions": console.versions(),
            "seed": stage.recipe.seed,
            "date": console.today(),
            "devices": console.hardware(),
            "is_phantom": is_phantom,
            "recipe": _plain(to_json(stage.recipe)),
            **({"before": _plain(before)} if stage.before else {}),
            "model": _plain(to_json(stage.model)),
            "preprocess": _plain(to_json(stage.preprocess)),
            "evaluation": _plain(to_json(experiment.evaluation)),
            "warnings": warnings,
        },
    )


def _plain(entries: dict) -> dict:
    return {k: _plain(v) if isinstance(v, dict) else v for k, v in entries.items() if k != "type"}


def _differences(old: dict, new: dict, prefix: str = "") -> str:
    found = []
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found.append(_differences(a, b, f"{prefix}{key}."))
        elif a != b:
            found.append(f"{prefix}{key}: {a} before, {b} now")
    return "; ".join(filter(None, found))
