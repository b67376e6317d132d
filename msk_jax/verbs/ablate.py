"""`msk-jax ablate`: the same system with parts taken away, over several seeds."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from rich.table import Table

from msk_jax import console, provenance
from msk_jax.data.build.builder import build_cohort
from msk_jax.dotted import changed
from msk_jax.errors import UserError
from msk_jax.evaluation.plots.plots import ablation_figure
from msk_jax.evaluation.tables.predictions import LEVELS
from msk_jax.experiment import Ablation, Experiment
from msk_jax.files import read_json, write_json
from msk_jax.models.weights.weight_files import read_state_dict
from msk_jax.study.chain import Chain
from msk_jax.study.finishing import finish
from msk_jax.study.judging import judge
from msk_jax.study.tables import read_tables
from msk_jax.study.training import train
from msk_jax.verbs import phantom


def run(
    experiment: Experiment,
    ablation: Ablation,
    out: Path,
    data_dir: Path | None,
    seeds: int,
    only: tuple[str, ...] = (),
    init_from: Path | None = None,
) -> pd.DataFrame:
    """Train and evaluate every variant; finished ones are taken from an earlier call.

    Args:
        experiment: whose ablation it is.
        ablation: its variants.
        out: folder of everything.
        data_dir: shards, in place of those of phantom patients; variants of another region are
            left out then.
        seeds: runs of each variant.
        only: words of the variants to run; none runs them all.
        init_from: weights of the experiment's full network, for two more variants: that network
            with them and without.

    Returns:
        One row per variant and seed: `variant`, `seed`, and the out-of-fold AUC per level. Also
        written to `ablation.csv`, its summary to `summary.csv` and `ablation.png`.
    """
    if seeds < 1:
        raise UserError("An ablation needs runs of each variant: give --seeds 1 or more.")
    console.writable_folder(out, "--out")
    if init_from is not None:
        read_state_dict(init_from)  # a file that cannot be read is refused before the long work
    variants = _chosen(all_variants(experiment, ablation, init_from), only, data_dir)
    rows, shards_of = [], {}
    for name, changes in variants.items():
        system = variant(experiment, ablation, changes)
        region = system.cohort.region
        if region not in shards_of:
            shards_of[region] = data_dir or phantom_shards(system, ablation, out, _cut(changes))
        for seed in range(seeds):
            network = system.network_stage.name
            of_seed = changed(system, {f"{network}.recipe.seed": seed})
            console.say(f"{name}, seed {seed}")
            areas = _areas(of_seed, shards_of[region], out / _slug(name) / f"seed_{seed}")
            rows.append({"variant": name, "seed": seed, **areas})
            table = pd.DataFrame(rows)
            table.to_csv(out / "ablation.csv", index=False)
    levels = experiment.cohort.levels
    summary = summarise(table, levels)
    summary.to_csv(out / "summary.csv", index=False)
    ablation_figure(table, levels).savefig(out / "ablation.png", dpi=150)
    provenance.note_command(out)
    _print(summary, seeds, levels)
    console.say(f"Every run is in {out / 'ablation.csv'}, the picture in {out / 'ablation.png'}.")
    return table


def variant(
    experiment: Experiment, ablation: Ablation, changes: Mapping[str, object]
) -> Experiment:
    """The small system with what an ablation and one of its variants change."""
    return changed(experiment.at_small_size(), {**ablation.changes, **changes})


def _cut(changes: Mapping[str, object]) -> dict[str, object]:
    """What of the cohort a variant changes, so that it wants shards of its own."""
    return {
        path.rpartition(".")[2]: value
        for path, value in changes.items()
        if path.startswith("cohort.")
    }


def all_variants(experiment: Experiment, ablation: Ablation, init_from: Path | None) -> dict:
    """Those of the ablation, and the full network with and without given weights."""
    if init_from is None:
        return dict(ablation.variants)
    stage = experiment.stages[0]
    model = {f"{stage.name}.model": stage.method.model}
    return {
        **ablation.variants,
        "full network without pretrained weights": model,
        "full network with pretrained weights": {
            **model,
            f"{stage.name}.recipe.init_from": init_from,
        },
    }


def _chosen(variants: dict, only: tuple[str, ...], data_dir: Path | None) -> dict:
    """The variants whose names contain one of the given words; all where none is given."""
    chosen = {k: v for k, v in variants.items() if not only or any(word in k for word in only)}
    if not chosen:
        listed = ", ".join(variants)
        raise UserError(f"No variant is called {' or '.join(only)}; there are: {listed}.")
    other = [name for name, changes in chosen.items() if _cut(changes) and data_dir]
    if other:
        console.say(
            f"Left out: {', '.join(other)}. They cut the pictures otherwise than the shards in "
            f"{data_dir} hold them; without --data-dir they are made of phantom patients."
        )
    if len(other) == len(chosen):
        raise UserError("No variant is left for these shards. Run it without --data-dir.")
    return {name: changes for name, changes in chosen.items() if name not in other}


def _slug(words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")


def phantom_shards(
    experiment: Experiment, ablation: Ablation, out: Path, changes: Mapping[str, object]
) -> Path:
    """Shards of the ablation's phantom, made once for each region that variants have."""
    apart = _slug(" ".join(f"{name} {value}" for name, value in changes.items()))
    cohort, shards = out / "phantom", out / "_".join(filter(None, ("shards", apart)))
    manifest = phantom.resume(experiment, cohort, ablation.phantom)
    region = experiment.cohort.region
    if region.unit_column and region.unit_names:  # a region may have fewer units than the patients
        table = pd.read_csv(manifest, dtype=str, keep_default_na=False)
        kept = table[table[region.unit_column].isin(region.unit_names)]
        if len(kept) < len(table):
            manifest = cohort / f"manifest_{apart}.csv"
            kept.to_csv(manifest, index=False)
    with console.progress_bar("Reading DICOM") as update:
        build_cohort(
            experiment.cohort,
            cohort / "dicom",
            manifest,
            shards,
            num_folds=ablation.num_folds,
            progress=update,
        )
    return shards


def _areas(experiment: Experiment, data_dir: Path, workdir: Path) -> dict[str, float]:
    """Out-of-fold AUC per level of one variant and seed."""
    done = workdir / "areas.json"
    chain = Chain.open(experiment, data_dir)
    train(chain.training, console.writable_folder(workdir, "--out"), listener=console.TERMINAL)
    if done.exists():
        shape = dict.fromkeys(experiment.cohort.levels, (float, None))
        return read_json(done, shape, "Delete it; the same command then evaluates that run again.")
    finish(chain, workdir, listener=console.TERMINAL, tables_alone=True)
    tables = read_tables(workdir, experiment.cohort.levels)
    # Only the areas are wanted, so their intervals need no bootstrap.
    metrics = judge(tables, experiment, bootstrap_samples=2)
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
    over = f", mean and standard deviation over {seeds} seeds" if seeds > 1 else ", one seed"
    table = Table(title=f"Out-of-fold AUC{over}")
    table.add_column("variant")
    for level in levels:
        table.add_column(level, justify="right")
    for row in summary.to_dict("records"):
        cells = [
            f"{row[f'{level}_mean']:.3f} "
            + (f"± {row[f'{level}_sd']:.3f} " if seeds > 1 else "")
            + f"({row[f'{level}_difference']:+.3f})"
            for level in levels
        ]
        table.add_row(row["variant"], *cells)
    console.console.print(table)
