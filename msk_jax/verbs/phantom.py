"""`msk-jax phantom`: synthetic patients as DICOM series."""

import dataclasses
import json
import shutil
from pathlib import Path

from msk_jax.console import progress_bar, say, say_next
from msk_jax.errors import UserError
from msk_jax.experiment import Experiment
from msk_jax.files import read_json
from msk_jax.phantoms import AnyPhantom, write_cohort
from msk_jax.provenance import note_command


def resume(experiment: Experiment, out: Path, phantom: AnyPhantom) -> Path:
    """The cohort in `out`, made if it is not there; what an interrupted run left is made anew.

    Raises:
        UserError: `out` holds a cohort of other settings, or something else.
    """
    manifest, config = out / "manifest.csv", out / "phantom.json"
    if not config.exists():
        return run(experiment, out, phantom)
    if not manifest.exists():
        shutil.rmtree(out)
        return run(experiment, out, phantom)
    made = read_json(config, dict, f"Give another --out, or delete {out} to have it made anew.")
    if not _same(made, json.loads(json.dumps(dataclasses.asdict(phantom)))):
        raise UserError(
            f"{out} holds phantom patients of other settings. Give another --out, or the settings "
            "that it was made with."
        )
    return manifest


def _same(made: dict, wanted: dict) -> bool:
    """Equal but for what changes no picture."""
    return all(made.get(k) == v for k, v in wanted.items() if k != "workers")


def run(experiment: Experiment, out: Path, phantom: AnyPhantom) -> Path:
    """Write the cohort; gives the path of its manifest."""
    with progress_bar("Rendering patients") as update:
        manifest = write_cohort(out, phantom, update)
    note_command(out)
    has_images = (out / "dicom").is_dir()
    holds = "DICOM in dicom/, truth in masks/" if has_images else "a table, truth in parameters.csv"
    say(f"{phantom.patients} phantom patients are in {out} ({holds}).")
    say_next(
        "build",
        experiment.address,
        *(("--dicom", out / "dicom") if has_images else ()),
        "--manifest",
        manifest,
        "--data-dir",
        out.parent / "shards",
    )
    return manifest
