"""`msk-jax evaluate`: out-of-fold predictions, figures, heat maps, the model for new patients."""

from pathlib import Path

import jax
import numpy as np
import pandas as pd

from msk_jax.config import from_json, to_json
from msk_jax.data.folds import load_folds
from msk_jax.data.pipeline import ShardedCohort
from msk_jax.data.target import read_cohort
from msk_jax.errors import UserError
from msk_jax.evaluation.predictions import pool, write_predictions
from msk_jax.evaluation.study import EvaluationSettings, evaluate_study
from msk_jax.experiment import Experiment, Stage
from msk_jax.files import read_json, replacing_folder, write_json
from msk_jax.training.checkpoints import Checkpoints
from msk_jax.training.loop import Trainer
from msk_jax.training.parallel import replicate
from msk_jax.verbs import console
from msk_jax.verbs.heatmaps import write_heat_maps
from msk_jax.verbs.train import (
    SETTINGS_NAME,
    make_trainer,
    members,
    open_cohort,
    read_settings,
    write_run,
)

MODEL_NAME = "model"


def run(experiment: Experiment, data_dir: Path, workdir: Path) -> dict:
    """Evaluate a trained workdir; gives what `metrics.json` holds."""
    evaluation = experiment.evaluation
    evaluation.check()
    stage = trained_stage(workdir, data_dir)
    console.writable_folder(workdir, "--workdir")
    cohort = read_cohort(data_dir)
    data = open_cohort(experiment, stage, data_dir)
    folds = load_folds(data_dir, data.patient_labels)
    ensemble, predictions, validated = predict_folds(stage, data, folds, workdir, evaluation)
    write_predictions(predictions, workdir / "predictions.csv")
    write_predictions(validated, workdir / "validation_predictions.csv")
    metrics = evaluate_study(predictions, validated, evaluation)
    write_json(workdir / "metrics.json", metrics)
    write_heat_maps(
        workdir / "cam", ensemble, data, folds, predictions, stage, joint_limits(metrics)
    )
    _export(workdir / MODEL_NAME, experiment, stage, ensemble, metrics)
    console.note_command(workdir)
    write_run(workdir, experiment, stage, cohort["is_phantom"])
    _print(metrics)
    console.say_next("report", "--workdir", workdir)
    return metrics


def predict_folds(
    stage: Stage,
    data: ShardedCohort,
    folds: dict[str, int],
    workdir: Path,
    evaluation: EvaluationSettings,
) -> tuple[list, pd.DataFrame, pd.DataFrame]:
    """The networks of all folds, their out-of-fold and their validation predictions."""
    trainer = make_trainer(data, folds, stage)
    like = replicate(trainer.untrained_variables(jax.random.key(0)))
    ensemble, test, validation = [], [], []
    num_folds = max(folds.values()) + 1
    with console.progress_bar("Predicting folds") as update:
        for k in range(num_folds):
            variables = best_variables(workdir / f"fold_{k}", k, like)
            ensemble.append(variables)
            for role, rows in (("test", test), ("validation", validation)):
                patients = members(folds, k, role)
                rows.append(_predict(trainer, variables, data, patients, k, evaluation))
            update(k + 1, num_folds, "")
    return ensemble, pd.concat(test), pd.concat(validation)


def trained_stage(workdir: Path, data_dir: Path) -> Stage:
    """The stage that `workdir` was trained with, on the cohort of `data_dir`."""
    settings = read_settings(workdir)
    if read_cohort(data_dir)["fingerprint"] != settings["cohort_fingerprint"]:
        raise UserError(
            f"{workdir} was trained on another cohort than the one in {data_dir}. Give the "
            "--data-dir that it was trained on; else a patient might be tested who was trained on."
        )
    return from_json(settings["stage"], Stage, workdir / SETTINGS_NAME)


def best_variables(folder: Path, k: int, like):
    """The best epoch's parameters of one finished fold, in the shapes and places of `like`."""
    finished = folder / "finished.json"
    if not finished.is_file():
        raise UserError(
            f"Fold {k} in {folder.parent} is not finished. Run `msk-jax train` again with the same "
            "--workdir; it goes on from the last checkpoint."
        )
    way_out = "Delete it and run `msk-jax train` again with the same --workdir."
    step = read_json(finished, {"best_step": int}, way_out)["best_step"]
    with Checkpoints(folder / "best", keep=2) as best:
        return best.restore(step, like)


def _predict(
    trainer: Trainer,
    variables,
    data: ShardedCohort,
    patients: set[str],
    fold: int,
    evaluation: EvaluationSettings,
) -> pd.DataFrame:
    """Rows of all levels for these patients by the network of one fold."""
    table = data.table(patients)
    batches = data.evaluation_batches(patients, trainer.recipe.batch_size)
    probabilities = trainer.predict(variables, batches)
    joints = {j["joint_id"]: j for j in data.joints if j["patient_id"] in patients}
    owners = [joints[unit.rsplit("/", 1)[0]] for unit in table.unit_id]
    rows = pd.DataFrame(
        {
            "patient_id": table.patient_id,
            "unit_id": table.unit_id,
            "level": "slice",
            "fold": fold,
            "label": table.label,
            "prob": probabilities[:, 1].astype(np.float64),
            **{name: [owner[name] for owner in owners] for name in ("site", "age", "sex")},
        }
    )
    return pool(
        rows,
        {name: int(joint["label"]) for name, joint in joints.items()},
        {joint["patient_id"]: int(joint["patient_label"]) for joint in joints.values()},
        joint=evaluation.joint_pool,
        patient=evaluation.patient_pool,
    )


def _export(
    folder: Path, experiment: Experiment, stage: Stage, ensemble: list, metrics: dict
) -> None:
    """The networks of all folds with everything that predicting needs, as one checkpoint."""
    settings = {
        "experiment": to_json(experiment),
        "stage": to_json(stage),
        "num_members": len(ensemble),
        "thresholds": {
            level: figures["thresholds"]["predict"]["threshold"]
            for level, figures in metrics["levels"].items()
        },
        "versions": console.versions(),
    }
    with replacing_folder(folder) as partial, Checkpoints(partial) as checkpoint:
        checkpoint.save(0, {f"member_{k}": v for k, v in enumerate(ensemble)}, settings)


def joint_limits(metrics: dict) -> dict[int, float | None]:
    """The frozen operating point of joints by test fold."""
    per_fold = metrics["levels"]["joint"]["thresholds"]["per_fold"]
    return {entry["fold"]: entry["threshold"] for entry in per_fold}


def _print(metrics: dict) -> None:
    for level, figures in metrics["levels"].items():
        parts = [f"n {figures['n']}"]
        for name, label in (("auc", "AUC"), ("sensitivity", "sens"), ("specificity", "spec")):
            figure = figures[name]
            if figure["value"] is None:
                parts.append(f"{label} none")
                continue
            interval = figure.get("clustered") or figure
            parts.append(
                f"{label} {figure['value']:.3f} ({_number(interval['low'])} to "
                f"{_number(interval['high'])})"
            )
        console.say(f"  {level:<8}" + "   ".join(parts))


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.3f}"
