"""`msk-jax ablate`: the same system with parts taken away, over several seeds."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from rich.table import Table

from msk_jax.data.builder import build_cohort
from msk_jax.errors import UserError
from msk_jax.evaluation.plots import ablation_figure
from msk_jax.evaluation.predictions import LEVELS
from msk_jax.experiment import Ablation, Experiment, Stage
from msk_jax.files import read_json, write_json
from msk_jax.verbs import console, phantom, train
from msk_jax.verbs.evaluate import judge, predict_folds


def run(
    experiment: Experiment,
    ablation: Ablation,
    out: Path,
    data_dir: Path | None,
    seeds: int,
    only: tuple[str, ...] = (),
) -> pd.DataFrame:
    """Train and evaluate every variant; finished ones are taken from an earlier call.

    Returns:
        One row per variant and seed: `variant`, `seed`, and the out-of-fold AUC per level. Also
        written to `ablation.csv`, its summary to `summary.csv` and `ablation.png`.
    """
    if seeds < 1:
        raise UserError("An ablation needs runs of each variant: give --seeds 1 or more.")
    console.writable_folder(out, "--out")
    variants = _chosen(ablation, only)
    data_dir = data_dir or _phantom_shards(experiment, ablation, out)
    rows = []
    for name, changes in variants.items():
        for seed in range(seeds):
            stage = variant(ablation.stage, changes, seed)
            console.say(f"{name}, seed {seed}")
            workdir = out / re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") / f"seed_{seed}"
            areas = _areas(experiment, stage, data_dir, workdir)
            rows.append({"variant": name, "seed": seed, **areas})
            table = pd.DataFrame(rows)
            table.to_csv(out / "ablation.csv", index=False)
    levels = experiment.cohort.levels
    summary = summarise(table, levels)
    summary.to_csv(out / "summary.csv", index=False)
    ablation_figure(table, levels).savefig(out / "ablation.png", dpi=150)
    console.note_command(out)
    _print(summary, seeds, levels)
    console.say(f"Every run is in {out / 'ablation.csv'}, the picture in {out / 'ablation.png'}.")
    return table


def variant(whole: Stage, changes: Mapping[str, object], seed: int) -> Stage:
    """The stage of a variant, see `Ablation.variants`."""
    model = {name: value for name, value in changes.items() if name != "before"}
    return dataclasses.replace(
        whole,
        model=dataclasses.replace(whole.model, **model),
        recipe=dataclasses.replace(whole.recipe, seed=seed),
        before=changes.get("before", whole.before),
    )


def _chosen(ablation: Ablation, only: tuple[str, ...]) -> dict:
    """The variants whose names contain one of the given words; all where none is given."""
    chosen = {
        name: changes
        for name, changes in ablation.variants.items()
        if not only or any(word in name for word in only)
    }
    if not chosen:
        listed = ", ".join(ablation.variants)
        raise UserError(f"No variant is called {' or '.join(only)}; there are: {listed}.")
    return chosen


def _phantom_shards(experiment: Experiment, ablation: Ablation, out: Path) -> Path:
    """Shards of the ablation's phantom, made once."""
    cohort, shards = out / "phantom", out / "shards"
    phantom.resume(experiment, cohort, ablation.phantom)
    with console.progress_bar("Reading DICOM") as update:
        build_cohort(
            experiment.cohort,
            cohort / "dicom",
            cohort / "manifest.csv",
            shards,
            num_folds=ablation.num_folds,
            progress=update,
        )
    return shards


def _areas(experiment: Experiment, stage: Stage, data_dir: Path, workdir: Path) -> dict[str, float]:
    """Out-of-fold AUC per level of one variant and seed."""
    done = workdir / "areas.json"
    train.run(experiment, stage, data_dir, workdir, quiet=True)
    if done.exists():
        shape = dict.fromkeys(experiment.cohort.levels, (float, None))
        return read_json(done, shape, "Delete it; the same command then evaluates that run again.")
    data = train.open_cohort(experiment, stage, data_dir)
    folds, _ = train.open_folds(data, data_dir)
    found = predict_folds(experiment, stage, data, folds, workdir)
    # Only the areas are wanted, so their intervals need no bootstrap.
    metrics = judge(found, experiment, bootstrap_samples=2)
    name = "macro_auc" if "classes" in metrics else "auc"
    areas = {level: figures[name]["value"] for level, figures in metrics["levels"].items()}
    write_json(done, areas)
    return areas


def summarise(table: pd.DataFrame, levels: Sequence[str] = LEVELS) -> pd.DataFrame:
    """Mean and standard deviation over seeds, and the difference of means to the first variant."""
    groups = table.groupby("variant", sort=False)[list(levels)]
    mean, spread = groups.mean(), groups.std()
    columns = {}
    for level in levels:
        columns[f"{level}_mean"] = mean[level]
        columns[f"{level}_sd"] = spread[level]
        columns[f"{level}_difference"] = mean[level] - mean[level].iloc[0]
    return pd.DataFrame(columns).reset_index()


def _print(summary: pd.DataFrame, seeds: int, levels: Sequence[str]) -> None:
    table = Table(title=f"Out-of-fold AUC, mean and standard deviation over {seeds} seeds")
    table.add_column("variant")
    for level in levels:
        table.add_column(level, justify="right")
    for row in summary.to_dict("records"):
        cells = [
            f"{row[f'{level}_mean']:.3f} ± {row[f'{level}_sd']:.3f} "
            f"({row[f'{level}_difference']:+.3f})"
            for level in levels
        ]
        table.add_row(row["variant"], *cells)
    console.console.print(table)
