"""`msk-jax evaluate`: out-of-fold predictions, figures, heat maps, the model for new patients."""

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from msk_jax.config import from_json, to_json
from msk_jax.data.deidentify import KEY_NAME
from msk_jax.data.folds import EXTERNAL, POOLED_SITES, roles
from msk_jax.data.masks import find_masks
from msk_jax.data.nifti_place import NiftiForm
from msk_jax.data.pipeline import ShardedCohort
from msk_jax.data.target import read_cohort
from msk_jax.errors import UserError
from msk_jax.evaluation.class_study import evaluate_classes
from msk_jax.evaluation.predictions import ENSEMBLE, pool, probability_cells, write_predictions
from msk_jax.evaluation.side_by_side import IMAGE, OUT_OF_FOLD, side_by_side
from msk_jax.evaluation.study import evaluate_study
from msk_jax.experiment import Experiment, Stage
from msk_jax.files import empty_folder, in_bucket, read_json, replacing_folder, write_json
from msk_jax.training.checkpoints import Checkpoints
from msk_jax.training.loop import Trainer
from msk_jax.training.tabular import Fitted, fit_folds
from msk_jax.verbs import console
from msk_jax.verbs.explained import judge_maps
from msk_jax.verbs.features import OWN_TEST_FOLD, map_features, patient_features
from msk_jax.verbs.heatmaps import choose, choose_of_classes, write_heat_maps
from msk_jax.verbs.readers import read_or_simulate
from msk_jax.verbs.train import (
    SETTINGS_NAME,
    make_trainer,
    members,
    open_cohort,
    open_folds,
    read_settings,
    write_run,
)

MODEL_NAME = "model"


def run(
    experiment: Experiment,
    data_dir: Path,
    workdir: Path,
    ratings: Path | None = None,
    masks: Path | None = None,
    key: Path | None = None,
    nifti_form: NiftiForm | None = None,
) -> dict:
    """Evaluate a trained workdir; gives what `metrics.json` holds.

    Args:
        experiment: of the workdir.
        data_dir: its shards.
        workdir: of the training.
        ratings: of real readers, in place of simulated ones.
        masks: folder of masks that heat maps are held against.
        key: file of the pseudonyms' key, to find a patient's mask.
        nifti_form: which statement of a mask about its place to trust where they differ.
    """
    experiment.evaluation.check()
    # Before the long work, see that the masks and their key are there.
    marked = None if masks is None else _find_masks(masks, key, experiment)
    classes, levels = experiment.cohort.classes, experiment.cohort.levels
    stage = trained_stage(workdir, data_dir)
    console.writable_folder(workdir, "--workdir")
    cohort = read_cohort(data_dir)
    data = open_cohort(experiment, stage, data_dir)
    folds, test_sets = open_folds(data, data_dir)
    found = predict_folds(experiment, stage, data, folds, workdir, test_sets, len(classes) > 2)
    _write_tables(found, workdir)
    metrics = judge(found, experiment)
    beside = _fit_beside(found, folds, experiment)
    if len(classes) == 2 and (test_sets or beside):
        metrics |= _side_by_side(found, beside, metrics, experiment, workdir)
    if ratings is not None or (experiment.readers is not None and test_sets):
        metrics["readers"] = _readers(found, metrics, experiment, workdir, ratings)
    if marked is not None:
        about = (marked, experiment, stage, found.ensemble, data, folds)
        metrics["explained"] = judge_maps(*about, found.test, nifti_form)
    metrics["features"] = map_features(
        found.features, data.patient_labels, experiment.evaluation.seed
    )
    write_json(workdir / "metrics.json", metrics)
    if len(classes) == 2:
        chosen = choose(found.test, unit_limits(metrics, levels[1]), classes, levels)
    else:
        chosen = choose_of_classes(found.test, classes, levels)
    write_heat_maps(workdir / "cam", found.ensemble, data, folds, chosen, stage, levels[1])
    _export(workdir / MODEL_NAME, experiment, stage, found.ensemble, metrics, beside)
    console.note_command(workdir)
    write_run(workdir, experiment, stage, cohort["is_phantom"])
    _print(metrics)
    console.say_next("report", "--workdir", workdir)
    return metrics


def _find_masks(masks: Path, key: Path | None, experiment: Experiment) -> dict:
    if experiment.signs is None:
        raise UserError(f"{experiment.name} does not say what a mask marks (`signs`).")
    units = experiment.cohort.region.unit_names
    return find_masks(masks, key or masks.parent / KEY_NAME, units)


@dataclasses.dataclass(frozen=True)
class Found:
    """What the networks of all folds say; tables as in `evaluation.predictions`."""

    ensemble: list
    """The networks, by fold."""
    test: pd.DataFrame
    """Each patient by the network that never saw them."""
    validation: pd.DataFrame
    training: pd.DataFrame
    """Patients by the networks that were trained on them; empty where nobody asked."""
    test_sets: dict[str, pd.DataFrame]
    """By name, patients of no fold by the mean of all networks."""
    features: dict[str, dict[str, np.ndarray]] = dataclasses.field(default_factory=dict)
    """By set, the first fold's test patients and the test sets, and by patient: what the first
    fold's network gives its head [k]."""


def predict_folds(
    experiment: Experiment,
    stage: Stage,
    data: ShardedCohort,
    folds: dict[str, int],
    workdir: Path,
    test_sets: Mapping[str, set[str]] | None = None,
    training: bool = False,
) -> Found:
    """What the trained networks of a workdir say, of those that they never saw and of others."""
    trainer = make_trainer(data, folds, stage)
    like = trainer.trained_like()
    ensemble, features, tested = [], {}, {}
    tables: dict[str, list] = {"test": [], "validation": [], "train": []}
    num_folds = max(folds.values()) + 1
    with console.progress_bar("Predicting folds") as update:
        for k in range(num_folds):
            ensemble.append(best_variables(workdir / f"fold_{k}", k, like))
            for role, rows in tables.items():
                if role != "train" or training:
                    patients = members(folds, k, role)
                    table, seen = _predict(experiment, trainer, ensemble[-1:], data, patients, k)
                    rows.append(table)
                    if role == "test" and k == 0:
                        features[OWN_TEST_FOLD] = seen
            update(k + 1, num_folds, "")
    for name, patients in (test_sets or {}).items():
        tested[name], features[name] = _predict(
            experiment, trainer, ensemble, data, patients, ENSEMBLE
        )
    joined = {role: pd.concat(rows) if rows else pd.DataFrame() for role, rows in tables.items()}
    return Found(ensemble, joined["test"], joined["validation"], joined["train"], tested, features)


def judge(found: Found, experiment: Experiment, **changes) -> dict:
    """The figures of what was found; `changes` of the evaluation's settings."""
    settings = dataclasses.replace(experiment.evaluation, **changes)
    classes, levels = experiment.cohort.classes, experiment.cohort.levels
    if len(classes) == 2:
        found = _with_pooled_sites(found, experiment)
        return evaluate_study(found.test, found.validation, settings, levels, found.test_sets)
    return evaluate_classes(
        found.test, found.validation, found.training, found.test_sets, settings, classes, levels,
        experiment.cohort.ordinal,
    )  # fmt: skip


def _fit_beside(found: Found, folds: dict[str, int], experiment: Experiment) -> dict[str, Fitted]:
    """The models beside the network, by name."""
    parts = [roles(folds, k) for k in range(max(folds.values()) + 1)]
    told = (found.test, found.validation, found.test_sets, experiment.cohort.levels[-1])
    return {model.name: fit_folds(model, parts, *told) for model in experiment.beside}


def _side_by_side(
    found: Found,
    models: Mapping[str, Fitted],
    metrics: dict,
    experiment: Experiment,
    workdir: Path,
) -> dict:
    """The network and the models beside it, in all sets of patients."""
    last = experiment.cohort.levels[-1]
    everybody = _with_pooled_sites(found, experiment)
    tables, figures = {IMAGE: _by_set(everybody, last)}, {IMAGE: metrics["levels"][last]}
    for name, fitted in models.items():
        beside = Found([], fitted.test, fitted.validation, pd.DataFrame(), fitted.test_sets)
        _write_tables(beside, workdir, f"{name}_")
        tables[name] = _by_set(_with_pooled_sites(beside, experiment), last)
        figures[name] = judge(beside, experiment)["levels"][last]
    return side_by_side(tables, figures, experiment.evaluation)


def _readers(
    found: Found, metrics: dict, experiment: Experiment, workdir: Path, ratings: Path | None
) -> dict:
    if len(experiment.cohort.classes) != 2:
        raise UserError("A study of readers is of two classes, and this experiment has more.")
    point = metrics["levels"][experiment.cohort.levels[-1]]["thresholds"]["predict"]
    return read_or_simulate(experiment, found.test_sets, point["threshold"], workdir, ratings)


def _with_pooled_sites(found: Found, experiment: Experiment) -> Found:
    """With one more test set, of the patients of all external sites, where it is asked for and
    there are several."""
    external = [t for name, t in found.test_sets.items() if name.startswith(EXTERNAL)]
    if not experiment.pool_sites or len(external) < 2:
        return found
    pooled = {POOLED_SITES: pd.concat(external, ignore_index=True)}
    return dataclasses.replace(found, test_sets={**found.test_sets, **pooled})


def _by_set(found: Found, level: str) -> dict[str, pd.DataFrame]:
    """Rows of one level, out of fold and of each test set."""
    tables = {OUT_OF_FOLD: found.test, **found.test_sets}
    return {name: table[table["level"] == level] for name, table in tables.items()}


def _write_tables(found: Found, workdir: Path, prefix: str = "") -> None:
    write_predictions(found.test, workdir / f"{prefix}predictions.csv")
    write_predictions(found.validation, workdir / f"{prefix}validation_predictions.csv")
    if len(found.training):
        write_predictions(found.training, workdir / f"{prefix}training_predictions.csv")
    if found.test_sets:
        tables = [table.assign(test_set=name) for name, table in found.test_sets.items()]
        write_predictions(pd.concat(tables), workdir / f"{prefix}test_set_predictions.csv")


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
    experiment: Experiment,
    trainer: Trainer,
    ensemble: list,
    data: ShardedCohort,
    patients: set[str],
    fold: int,
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Rows of all levels for these patients by the mean of some networks, and each patient's
    features by the first of them."""
    table = data.table(patients)
    batches = data.evaluation_batches(patients, trainer.recipe.batch_size)
    each, features = zip(*(trainer.predict(one, batches) for one in ensemble), strict=True)
    probabilities = np.mean(each, axis=0) if len(each) > 1 else each[0]
    owners = [data.records[k] for k in table.record]
    classes, levels = experiment.cohort.classes, experiment.cohort.levels
    rows = pd.DataFrame(
        {
            "patient_id": table.patient_id,
            "unit_id": table.unit_id,
            "level": levels[0],
            "fold": fold,
            "label": table.label,
            **probability_cells(classes, probabilities),
            **{name: [owner[name] for owner in owners] for name in ("site", "age", "sex")},
            **{
                v.name: [
                    # Shards hold single precision: 154.8 there is 154.80000305.
                    owner[v.name] if v.words else float(f"{owner[v.name]:.7g}")
                    for owner in owners
                ]
                for v in experiment.cohort.clinical
            },
        }
    )
    pooled = pool(
        rows,
        {owner["unit_id"]: int(owner["label"]) for owner in owners},
        {owner["patient_id"]: int(owner["patient_label"]) for owner in owners},
        unit=experiment.evaluation.unit_pool,
        patient=experiment.evaluation.patient_pool,
        levels=levels,
    )
    return pooled, patient_features(table.patient_id, features[0])


def _export(
    folder: Path,
    experiment: Experiment,
    stage: Stage,
    ensemble: list,
    metrics: dict,
    beside: Mapping[str, Fitted],
) -> None:
    """The networks of all folds with everything that predicting needs, as one checkpoint."""
    settings = {
        "experiment": to_json(experiment),
        "stage": to_json(stage),
        "num_members": len(ensemble),
        "thresholds": {
            level: figures["thresholds"]["predict"]["threshold"]
            if "thresholds" in figures
            else None
            for level, figures in metrics["levels"].items()
        },
        "beside": {name: to_json(fitted.models) for name, fitted in beside.items()},
        "versions": console.versions(),
    }
    with _anew(folder) as partial, Checkpoints(partial) as checkpoint:
        checkpoint.save(0, {f"member_{k}": v for k, v in enumerate(ensemble)}, settings)


def _anew(folder: Path):
    """The folder of a checkpoint that takes the place of another's.

    In a bucket a checkpoint is written where it stays: orbax marks there which ones are whole.
    """
    if not in_bucket(folder):
        return replacing_folder(folder)
    empty_folder(folder)
    return contextlib.nullcontext(folder)


def unit_limits(metrics: dict, unit: str) -> dict[int, float | None]:
    """The frozen operating point of units by test fold."""
    per_fold = metrics["levels"][unit]["thresholds"]["per_fold"]
    return {entry["fold"]: entry["threshold"] for entry in per_fold}


_OF_TWO = {"auc": "AUC", "sensitivity": "sens", "specificity": "spec"}
_OF_CLASSES = {"accuracy": "accuracy", "macro_auc": "macro AUC", "kappa": "kappa"}
_OF_ORDER = {
    "kappa_quadratic": "quadratic kappa", "mean_absolute_error": "steps off",
    "ordinal_c": "ordinal C",
}  # fmt: skip


def _print(metrics: dict) -> None:
    shown = _OF_CLASSES if "classes" in metrics else _OF_TWO
    width = max(9, *(len(level) + 1 for level in metrics["levels"]))
    for level, figures in metrics["levels"].items():
        console.say(f"  {level:<{width}}" + _line(figures, shown))
        if "ordinal" in figures:
            console.say(f"  {level:<{width}}in order: " + _line(figures["ordinal"], _OF_ORDER))
        for name, tested in figures.get("test_sets", {}).items():
            console.say(f"  {level:<{width}}{name}: " + _line(tested, shown))


def _line(figures: dict, shown: Mapping[str, str]) -> str:
    parts = [f"n {figures['n']}"] if "n" in figures else []
    for name, label in shown.items():
        figure = figures.get(name)
        if figure is None or figure["value"] is None:
            parts.append(f"{label} none")
            continue
        interval = figure.get("clustered") or figure
        parts.append(
            f"{label} {figure['value']:.3f} ({_number(interval['low'])} to "
            f"{_number(interval['high'])})"
        )
    return "   ".join(parts)


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.3f}"
