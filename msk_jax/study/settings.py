"""What is trained in a folder: noted before the first step, held against what is asked later."""

import json
from pathlib import Path

from msk_jax import provenance
from msk_jax.config import from_json, to_json
from msk_jax.data.shards.build_folder import COHORT_NAME, read_cohort
from msk_jax.errors import UserError
from msk_jax.experiment import Experiment, Stage
from msk_jax.files import read_json, replacing, write_json
from msk_jax.methods.estimator import Estimator
from msk_jax.methods.network import Network

SETTINGS_NAME = "settings.json"
RUN_NAME = "run.json"
_SETTINGS = {"experiment": str, "stages": dict, "seed": int, "cohort_fingerprint": dict}
_OF_PAPER = ("title", "task", "modality", "input", "source")


def read_settings(workdir: Path) -> dict:
    """`settings.json` of a training: the experiment's name, its stages, what it was trained on.

    Raises:
        UserError: there is none, or it is damaged.
    """
    path = workdir / SETTINGS_NAME
    if not path.is_file():
        raise UserError(
            f"Nothing was trained in {workdir}. Run `msk-jax train` with this --workdir first."
        )
    return read_json(path, _SETTINGS, "Put the file back, or train into a new --workdir.")


def trained_stages(workdir: Path) -> tuple[Stage, ...]:
    """The stages that `workdir` was trained with."""
    stages = read_settings(workdir)["stages"].values()
    return tuple(from_json(stage, Stage, workdir / SETTINGS_NAME) for stage in stages)


def check_cohort(experiment: Experiment, data_dir: Path) -> None:
    """Refuse shards that were cut otherwise than the experiment cuts them."""
    built_with = read_cohort(data_dir)["fingerprint"]["config"]
    if built_with != json.loads(json.dumps(to_json(experiment.cohort))):
        raise UserError(
            f"The shards in {data_dir} were built with other cohort settings than those of the "
            f"experiment {experiment.name}: their pictures are cut differently. Build them again "
            "with --overwrite, or give the experiment that they were built with."
        )


def claim(workdir: Path, experiment: Experiment, data_dir: Path, seed: int) -> None:
    """Note in `workdir` what is trained there; refuse to mix two settings."""
    cohort = read_cohort(data_dir)
    settings = {
        "experiment": experiment.name,
        "stages": {stage.name: to_json(stage) for stage in experiment.stages},
        "seed": seed,
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
    write_run(workdir, experiment, seed)


def write_run(workdir: Path, experiment: Experiment, seed: int) -> None:
    """`run.json`: what the report says about how the networks were made."""
    stage, warnings = experiment.network_stage, []
    if stage is not None and stage.method.recipe.shuffle_labels:
        warnings.append("The labels were shuffled on purpose: this run is a check, not a result.")
    write_json(
        workdir / RUN_NAME,
        {
            **_judged_by(workdir, experiment),
            "versions": provenance.versions(),
            "seed": seed,
            "date": provenance.today(),
            "devices": provenance.hardware(),
            "is_phantom": read_cohort(workdir)["is_phantom"],
            **({} if stage is None else _of_network(stage.method)),
            "stages": {
                one.name: _of_estimator(one.method)
                for one in experiment.stages
                if isinstance(one.method, Estimator)
            },
            "warnings": warnings,
        },
    )


def _of_estimator(estimator: Estimator) -> dict:
    """The steps of an estimator, by their number and kind."""
    return {
        f"{k + 1} {type(step).__name__}": _plain(to_json(step)) or {"": "no settings"}
        for k, step in enumerate(estimator.steps)
    }


def _of_network(network: Network) -> dict:
    """How a network was made."""
    before = {f"phase {k + 1}": to_json(phase) for k, phase in enumerate(network.before)}
    return {
        "recipe": _plain(to_json(network.recipe)),
        **({"before": _plain(before)} if before else {}),
        "model": _plain(to_json(network.model)),
        "preprocess": _plain(to_json(network.preprocess)),
    }


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
