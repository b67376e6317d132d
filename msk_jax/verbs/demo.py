"""`msk-jax demo`: the whole way on phantom patients, in minutes on two cores."""

import dataclasses
from pathlib import Path

from msk_jax.dotted import changed
from msk_jax.experiment import Experiment
from msk_jax.verbs import build, evaluate, phantom, report, train


def run(experiment: Experiment, out: Path, patients: int, seed: int) -> Path:
    """Phantom, build, train, evaluate, report; goes on where an earlier call was stopped."""
    cohort, shards, workdir = out / "cohort", out / "shards", out / "run"
    system = experiment.at_small_size()
    config = dataclasses.replace(system.synthetic(), patients=patients, seed=seed)
    manifest = phantom.resume(system, cohort, config)
    build.run(
        system,
        None if experiment.cohort.image is None else cohort / "dicom",
        manifest,
        shards,
        key=None,
        num_folds=None,
        seed=seed,
        overwrite=False,
    )
    network = system.network_stage
    if network is not None:
        system = changed(system, {f"{network.name}.recipe.seed": seed})
    masks = None if experiment.judging.signs is None else cohort / "masks"
    train.run(system, shards, workdir, masks=masks, seed=seed)
    evaluate.run(system, workdir)
    return report.run(workdir, None)
