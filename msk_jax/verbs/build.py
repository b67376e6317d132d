"""`msk-jax build`: DICOM and a manifest to TFRecord shards."""

from collections.abc import Sequence
from pathlib import Path

from msk_jax.console import (
    check_no_address,
    progress_bar,
    say,
    say_next,
)
from msk_jax.data.build.builder import BuildSummary, build_cohort
from msk_jax.data.images.nifti_place import NiftiForm
from msk_jax.data.regions.region import asked_options
from msk_jax.data.shards.folds import SplitKind
from msk_jax.errors import UserError
from msk_jax.experiment import Experiment
from msk_jax.provenance import note_command, read_commands
from msk_jax.reports.formats import plural


def run(
    experiment: Experiment,
    dicom: str | None,
    manifest: Path,
    data_dir: Path,
    key: Path | None,
    num_folds: int | None,
    seed: int,
    overwrite: bool,
    split: SplitKind = "patient",
    workers: int = 1,
    cache: Path | None = None,
    held_out: float | None = None,
    beam: Sequence[str] | None = None,
    refuse_below: str | None = None,
    nifti_form: NiftiForm | None = None,
    deshear: bool = False,
) -> None:
    """Build the cohort and say what became of it."""
    check_no_address(data_dir, "--data-dir")
    if seed < 0:
        raise UserError(f"--seed is {seed}; it may be from 0 upwards.")
    if workers < 1:
        raise UserError(f"--workers is {workers}; it may be from 1 upwards.")
    if workers > 1 and beam is not None:
        raise UserError("--workers and --beam are two ways to read in parallel. Give one of them.")
    if held_out is None:
        held_out = experiment.split.held_out if split == "patient" else 0.0
    image = experiment.cohort.image
    if image is None and dicom is not None:
        raise UserError(f"{experiment.name} reads a table alone. Leave --dicom out.")
    options = asked_options(image.region, nifti_form, deshear) if image else None
    with progress_bar("Reading DICOM" if image else "Reading the table") as update:
        summary = build_cohort(
            experiment.cohort,
            dicom,
            manifest,
            data_dir,
            key=key,
            num_folds=experiment.split.folds if num_folds is None else num_folds,
            seed=seed,
            overwrite=overwrite,
            progress=update,
            split=split,
            workers=workers,
            cache=cache,
            held_out=held_out,
            beam=beam,
            refuse_below=refuse_below,
            options=options,
            training_site=experiment.split.training_site,
        )
    if summary.built:
        note_command(data_dir, before=read_commands(manifest.parent))
    _say_outcome(summary, experiment.cohort.levels, data_dir)
    say_next(
        "train", experiment.address, "--data-dir", data_dir, "--workdir", data_dir.parent / "run"
    )


def _say_outcome(summary: BuildSummary, levels: Sequence[str], data_dir: Path) -> None:
    """What is in the shards, what is not, and what had better not be."""
    if summary.built:
        counts = (summary.num_patients, summary.num_units, summary.num_stacks)
        names = map(plural, reversed(levels))
        listed = ", ".join(f"{count} {name}" for count, name in zip(counts, names, strict=False))
        say(f"{listed} are in {data_dir}.")
    else:
        say(
            f"{data_dir} already holds this cohort; nothing was done. If DICOM files were added or "
            "repaired since, give --overwrite."
        )
    if summary.num_rejected:
        say(
            f"{summary.num_rejected} rows of the manifest could not be used, see "
            f"{data_dir / 'rejected.csv'}. {summary.rejected}"
        )
    for note in summary.notes:
        say(note)
    if summary.num_unread_ages:
        say(
            f"The age of {summary.num_unread_ages} scan(s) is unknown: PatientAge is not written "
            f"as 045Y or 45, see missing_tags in {data_dir / 'quality.csv'}. The manifest's column "
            "age would give it."
        )
    if summary.num_poor:
        say(
            f"The quality of {summary.num_poor} scan(s) in the shards is poor or worse, see "
            f"{data_dir / 'quality.csv'}; --refuse-below acceptable would leave them out."
        )
