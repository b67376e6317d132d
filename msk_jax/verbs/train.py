"""`msk-jax train`: one network per fold, resumable at any moment, then what they say."""

from pathlib import Path

import jax

from msk_jax import console
from msk_jax.data.images.nifti_place import NiftiForm
from msk_jax.data.privacy.pseudonyms import KEY_NAME
from msk_jax.experiment import Experiment
from msk_jax.study.chain import Chain
from msk_jax.study.finishing import finish
from msk_jax.study.settings import claim
from msk_jax.study.signs import Masks
from msk_jax.study.training import check_profile, train
from msk_jax.training.parallel import on_first_host
from msk_jax.training.watch import NOTHING_MORE, Watching
from msk_jax.verbs import plan


def run(
    experiment: Experiment,
    data_dir: Path,
    workdir: Path,
    fold: int | None = None,
    watching: Watching = NOTHING_MORE,
    dry_run: bool = False,
    masks: Path | None = None,
    key: Path | None = None,
    nifti_form: NiftiForm | None = None,
    cache_memory: int | None = None,
    seed: int = 0,
) -> None:
    """Train every fold (or one), going on from where an interrupted run stopped; when the last is
    finished, leave predictions, heat maps and the package for new patients."""
    check_profile(watching, workdir)
    # Before the long work, see that the masks and their key are there.
    marked = None
    if masks is not None:
        marked = Masks.of(experiment, masks, key or masks.parent / KEY_NAME, nifti_form)
    chain = Chain.open(experiment, data_dir, cache_memory, seed)
    training = chain.training
    if dry_run:
        return plan.show(chain, fold)
    console.console.quiet = jax.process_index() > 0
    on_first_host(lambda: console.writable_folder(workdir, "--workdir"))
    if training is None:
        on_first_host(lambda: claim(workdir, experiment, data_dir, seed))
        missing = []
    else:
        train(training, workdir, fold, console.TERMINAL, watching)
        missing = sorted(set(range(training.num_folds)) - set(training.finished(workdir)))
    if missing:
        console.say(
            f"Fold {fold} is finished in {workdir}; of folds {', '.join(map(str, missing))} the "
            "networks are missing. Predictions follow when all are trained."
        )
        return None
    finish(chain, workdir, marked, console.TERMINAL)
    what = "models" if training is None else "networks"
    folds = chain.patients.num_folds
    console.say(f"The {what} of {folds} folds and what they say are in {workdir}.")
    console.say_next("evaluate", experiment.address, "--workdir", workdir)
    return None
