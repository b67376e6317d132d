"""`msk-jax phantom`: synthetic patients as DICOM series."""

from pathlib import Path

from msk_jax.experiment import Experiment
from msk_jax.phantoms import SacroiliacPhantom, write_cohort
from msk_jax.verbs.console import note_command, progress_bar, say, say_next


def run(experiment: Experiment, out: Path, phantom: SacroiliacPhantom) -> Path:
    """Write the cohort; gives the path of its manifest."""
    with progress_bar("Rendering patients") as update:
        manifest = write_cohort(out, phantom, update)
    note_command(out)
    say(f"{phantom.patients} phantom patients are in {out} (DICOM in dicom/, truth in masks/).")
    say_next(
        f"msk-jax build {experiment.name} --dicom {out / 'dicom'} --manifest {manifest} "
        f"--data-dir {out.parent / 'shards'}"
    )
    return manifest
