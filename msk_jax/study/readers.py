"""The readers of an experiment: simulated ones, or real ones from a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from msk_jax.errors import UserError
from msk_jax.evaluation.mrmc.aided import ALL, aided_study
from msk_jax.evaluation.mrmc.readers import simulate_readers
from msk_jax.experiment import Experiment
from msk_jax.files import replacing
from msk_jax.reports.formats import p_value
from msk_jax.study.listener import Listener
from msk_jax.table_reader import read_table

RATINGS_NAME = "ratings.csv"


def read_or_simulate(
    experiment: Experiment,
    test_sets: Mapping[str, pd.DataFrame],
    threshold: float | None,
    workdir: Path,
    ratings: Path | None,
    listener: Listener,
) -> dict[str, Any]:
    """What `metrics.json` holds of the readers; simulated ratings are left in `ratings.csv`.

    Args:
        experiment: whose readers they are.
        test_sets: by name, predictions for patients of no fold; no patient is in two.
        threshold: of patients, for new ones; None: 0.5 is taken.
        workdir: of the run.
        ratings: of real readers; None simulates those of the experiment.
        listener: is told their areas.

    Raises:
        UserError: no test set, or a table that cannot be analysed.
    """
    last = experiment.cohort.levels[-1]
    tables = [table[table["level"] == last] for table in test_sets.values()]
    if not tables:
        raise UserError(
            "Readers read the patients of test sets, and this cohort has none. Build it with "
            "--held-out 0.2, or with sites that are not trained on."
        )
    patients = pd.concat(tables)
    names, labels = list(patients["patient_id"]), patients["label"].astype(int)
    if ratings is not None:
        missing = f"There is no file {ratings}. Give the table with --ratings."
        read = read_table(ratings, missing)
    else:
        read = simulate_readers(
            names,
            labels.to_numpy(),
            patients["prob"].to_numpy(),
            experiment.judging.evaluation.seed,
            experiment.judging.readers,
        )
        with replacing(workdir / RATINGS_NAME) as temporary:
            read.to_csv(temporary, index=False)
    study = aided_study(
        read,
        dict(zip(names, labels, strict=True)),
        dict(zip(names, patients["prob"].astype(float), strict=True)),
        0.5 if threshold is None else threshold,
        samples=experiment.judging.evaluation.bootstrap_samples,
        where=str(ratings or RATINGS_NAME),
    )
    _tell(study, ratings is None, listener)
    return {"simulated": ratings is None, **study}


def _tell(study: Mapping[str, Any], simulated: bool, listener: Listener) -> None:
    """The readers' areas without and with help, by group."""
    analysis, who = study["analysis"], "simulated readers" if simulated else "readers"
    listener.say(f"  {analysis['n']['readers']} {who} of {analysis['n']['cases']} patients:")
    for name, part in {**analysis["groups"], ALL: analysis["overall"]}.items():
        areas = [f"{m['name']} AUC {m['value']:.3f}" for m in part.get("modalities", [])]
        tests = [t["p"] for t in part.get("differences", [])]
        told = "" if not tests or tests[0] is None else f"   p {p_value(tests[0])}"
        listener.say(f"  {name:<9}" + "   ".join(areas) + told)
