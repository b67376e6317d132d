"""`msk-jax train --dry-run`: what a training will be, before it is."""

from collections.abc import Sequence

import jax

from msk_jax import console, provenance
from msk_jax.data.feed.voxel_cache import VoxelCache
from msk_jax.errors import UserError
from msk_jax.memory import size_in_words
from msk_jax.study.chain import Chain
from msk_jax.training.cost import abstract_state, compile_step, step_cost, tree_bytes
from msk_jax.training.loop import Trainer

_CHECKPOINTS = 2
"""Kept of the newest, and as many of the best."""


def show(chain: Chain, fold: int | None = None) -> None:
    """Print what is to be trained; nothing is written. Raises UserError on several hosts."""
    training = chain.training
    if training is None:
        table = chain.patients.table
        stages = ", ".join(stage.name for stage in chain.experiment.stages)
        outside = len(chain.patients.outside())
        rows = [
            ("", "plan"),
            ("patients", f"{len(table):,}, {outside:,} of them in no fold"),
            ("folds", f"{chain.patients.num_folds}"),
            ("stages", stages),
        ]
        return console.say_columns(rows)
    return _show_network(list(training.trainers(fold).values()), training.data.voxels)


def _show_network(trainers: Sequence[Trainer], voxels: VoxelCache) -> None:
    """Print devices, batch, steps, memory and disk; nothing is written.

    Args:
        trainers: of each fold, which differ in nothing but their steps.
        voxels: of the cohort.

    Raises:
        UserError: on several hosts.
    """
    if jax.process_count() > 1:
        raise UserError("A dry run is for one host. Give it without --coordinator, on one of them.")
    trainer, num_folds = trainers[0], len(trainers)
    recipe, settings = trainer.recipe, trainer.step_settings
    state = abstract_state(settings, trainer.image_shape)
    with console.progress_bar("Compiling the step"):
        compiled = compile_step(settings, trainer.image_shape, recipe.batch_size, None)
    cost = step_cost(compiled, state)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    variables = tree_bytes(state.variables)
    disk = num_folds * _CHECKPOINTS * (cost.state_bytes + variables)
    total, epochs = sum(each.parts[-1].end for each in trainers), trainer.parts[-1].end
    epochs //= trainer.steps_per_epoch
    of_fold = sorted({each.steps_per_epoch for each in trainers})
    steps = f"{of_fold[0]:,}" if len(of_fold) == 1 else f"{of_fold[0]:,} to {of_fold[-1]:,}"
    parts = f", in {recipe.accumulate} parts" if recipe.accumulate > 1 else ""
    console.say_columns(
        [
            ("", "plan"),
            ("devices", provenance.hardware()),
            (
                "batch",
                f"{recipe.batch_size}, {recipe.batch_size // jax.device_count()} a device{parts}",
            ),
            ("steps", f"at most {num_folds} folds x {epochs} epochs x {steps} = {total:,}"),
            ("parameters", f"{parameters:,}"),
            (
                "memory",
                f"{_mib(cost.device_bytes)} a device: state {_mib(cost.state_bytes)}, "
                f"batch {_mib(cost.batch_bytes)}, the rest {_mib(cost.working_bytes)}",
            ),
            (
                "voxels",
                f"{size_in_words(voxels.size())}, in a cache of {size_in_words(voxels.limit)}",
            ),
            ("disk", f"up to {_mib(disk)} of checkpoints"),
        ]
    )


def _mib(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"
