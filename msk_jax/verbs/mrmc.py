"""`msk-jax mrmc`: the analysis of a reader study from its table of ratings."""

from pathlib import Path
from typing import Any

from msk_jax import console
from msk_jax.evaluation.mrmc.ratings import read_ratings
from msk_jax.evaluation.mrmc.settings import MrmcSettings
from msk_jax.evaluation.mrmc.study import analyse
from msk_jax.evaluation.plots.readers import (
    difference_figure,
    power_figure,
    reader_curves_figure,
    reader_figure,
)
from msk_jax.files import write_json
from msk_jax.reports.formats import p_value


def run(ratings: Path, settings: MrmcSettings, out: Path | None) -> dict[str, Any]:
    """Analyse a reader study; gives what `mrmc.json` holds."""
    settings.check()
    study = analyse(read_ratings(ratings), settings)
    _print(study)
    if out is not None:
        console.writable_folder(out, "--out")
        write_json(out / "mrmc.json", study)
        for name, figure in _pictures(study).items():
            figure.savefig(out / f"{name}.png", dpi=200)
        console.say(f"Everything is in {out}.")
    return study


def _pictures(study: dict[str, Any]) -> dict[str, Any]:
    """The pictures that the study allows, by file name."""
    drawn = {"readers": reader_figure(study["overall"]), "differences": difference_figure(study)}
    if study["roc"]:
        drawn["roc"] = reader_curves_figure(study["roc"])
    if study["power_curves"]:
        difference = study["settings"]["next_difference"]
        drawn["power"] = power_figure(study["power_curves"], difference)
    return drawn


def _print(study: dict[str, Any]) -> None:
    n, overall = study["n"], study["overall"]
    console.say(
        f"{n['readers']} readers, {n['cases']} cases ({n['positives']} positive); "
        f"{study['design']}. Random: {overall['random']}; covariance: {overall['method']}."
    )
    rows = [("modality", overall["measure"], "interval")]
    rows += [
        (
            m["name"],
            f"{m['value']:.4f}",
            "none" if m["low"] is None else f"{m['low']:.4f} to {m['high']:.4f}",
        )
        for m in overall["modalities"]
    ]
    console.say_columns(rows)
    if overall["why"]:
        console.say(overall["why"])
    rows = [("readers", "comparison", "difference", "interval", "p")]
    rows += _differences("all", overall)
    for name, group in study["groups"].items():
        rows += _differences(f"{name} ({len(group['readers'])})", group)
    console.say_columns(rows)
    without = n["readers"] - sum(len(group["readers"]) for group in study["groups"].values())
    if study["groups"] and without:
        console.say(f"{without} reader(s) have no group; they count among all alone.")
    for name, group in study["groups"].items():
        if group["why"]:
            console.say(f"{name}: {group['why']}")
    if study["between_groups"]:
        rows = [("groups", "comparison", "difference of the differences", "interval", "p")]
        for test in study["between_groups"]:
            rows += _differences(
                f"{test['first_group']} - {test['second_group']}", {"differences": [test]}
            )
        console.say_columns(rows)
    if study["next_study_why"]:
        console.say(study["next_study_why"])
    for row in study["next_study"]:
        need = row["why"] if row["cases"] is None else f"{row['cases']} cases"
        wanted = study["settings"]["next_difference"]
        console.say(f"Next study, {row['readers']} readers, difference {wanted:g}: {need}")


def _differences(who: str, result: dict[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for test in result.get("differences", []):
        pair = f"{test['first']} - {test['second']}"
        interval = "none"
        if test["low"] is not None:
            interval = f"{test['low']:+.4f} to {test['high']:+.4f}"
        p = p_value(test["p"], 4, unknown="none")
        difference = "none" if test["difference"] is None else f"{test['difference']:+.4f}"
        rows.append((who, pair, difference, interval, p))
    return rows
