"""What is trained in a folder: noted before the first step, held against what is asked later."""

import json
from pathlib import Path

from msk_jax import provenance
from msk_jax.config import from_json, to_json
from msk_jax.data.shards.build_folder import COHORT_NAME, read_cohort
from msk_jax.errors import UserError
from msk_jax.experiment import Experiment, Stage
from msk_jax.files import read_json, replacing, write_json

SETTINGS_NAME = "settings.json"
RUN_NAME = "run.json"
_SETTINGS = {"experiment": str, "stage": dict, "cohort_fingerprint": dict}
_OF_PAPER = ("title", "task", "modality", "input", "source")


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


def trained_stage(workdir: Path) -> Stage:
    """The stage that `workdir` was trained with."""
    return from_json(read_settings(workdir)["stage"], Stage, workdir / SETTINGS_NAME)


def check_cohort(experiment: Experiment, data_dir: Path) -> None:
    """Refuse shards that were cut otherwise than the experiment cuts them."""
    built_with = read_cohort(data_dir)["fingerprint"]["config"]
    if built_with != json.loads(json.dumps(to_json(experiment.cohort))):
        raise UserError(
            f"The shards in {data_dir} were built with other cohort settings than those of the "
            f"experiment {experiment.name}: their pictures are cut differently. Build them again "
            "with --overwrite, or give the experiment that they were built with."
        )


def claim(workdir: Path, experiment: Experiment, stage: Stage, data_dir: Path) -> None:
    """Note in `workdir` what is trained there; refuse to mix two settings."""
    cohort = read_cohort(data_dir)
    settings = {
        "experiment": experiment.name,
        "stage": to_json(stage),
        "cohort_fingerprint": cohort["fingerprint"],
    }
    path = workdir / SETTINGS_NAME
    if path.exists():
        earlier = read_settings(workdir)
        if earlier["cohort_fingerprint"] != settings["cohort_fingerprint"]:
            raise UserError(
                f"{workdir} was trained on another cohort than the one in {data_dir}. Give the "
                "--data-dir that it was trained on; else a patient might be tested who was trained "
                "on."
            )
        different = _differences(earlier, settings)
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
    provenance.note_command(workdir, before=provenance.read_commands(data_dir))
    write_run(workdir, experiment, stage)


def write_run(workdir: Path, experiment: Experiment, stage: Stage) -> None:
    """`run.json`: what the report says about how the networks were made."""
    before = {f"phase {k + 1}": to_json(phase) for k, phase in enumerate(stage.method.before)}
    warnings = []
    if stage.method.recipe.shuffle_labels:
        warnings.append("The labels were shuffled on purpose: this run is a check, not a result.")
    write_json(
        workdir / RUN_NAME,
        {
            **_judged_by(workdir, experiment),
            "versions": provenance.versions(),
            "seed": stage.method.recipe.seed,
            "date": provenance.today(),
            "devices": provenance.hardware(),
            "is_phantom": read_cohort(workdir)["is_phantom"],
            "recipe": _plain(to_json(stage.method.recipe)),
            **({"before": _plain(before)} if stage.method.before else {}),
            "model": _plain(to_json(stage.method.model)),
            "preprocess": _plain(to_json(stage.method.preprocess)),
            "warnings": warnings,
        },
    )


def note_evaluation(workdir: Path, experiment: Experiment) -> None:
    """Add to `run.json` how the networks were judged, which may be elsewhere and later."""
    run = read_json(workdir / RUN_NAME, dict, "Run `msk-jax train` again with this --workdir.")
    write_json(workdir / RUN_NAME, {**run, **_judged_by(workdir, experiment)})


def _judged_by(workdir: Path, experiment: Experiment) -> dict:
    entries = to_json(experiment)
    paper = entries["paper"]
    published = [{k: v for k, v in p.items() if k != "type"} for p in paper["published"]]
    return {
        "experiment": {
            "name": experiment.name,
            **{k: paper[k] for k in _OF_PAPER},
            "choices": entries["choices"],
            "published": published,
            "classes": list(experiment.cohort.classes),
            "levels": list(experiment.cohort.levels),
        },
        "commands": provenance.read_commands(workdir),
        "evaluation": _plain(to_json(experiment.judging.evaluation)),
    }


def _plain(entries: dict) -> dict:
    return {k: _plain(v) if isinstance(v, dict) else v for k, v in entries.items() if k != "type"}


def _differences(old: dict, new: dict, prefix: str = "") -> str:
    changes = []
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            changes.append(_differences(a, b, f"{prefix}{key}."))
        elif a != b:
            changes.append(f"{prefix}{key}: {a} before, {b} now")
    return "; ".join(filter(None, changes))
