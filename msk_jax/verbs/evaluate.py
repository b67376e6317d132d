"""`msk-jax evaluate`: the figures of a finished training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msk_jax import console, provenance
from msk_jax.evaluation.studies.kinds import IN_ORDER, kind_of_study
from msk_jax.experiment import Experiment
from msk_jax.study import judging


def run(experiment: Experiment, workdir: Path, ratings: Path | None = None) -> dict[str, Any]:
    """Judge a finished training, print its main figures; gives what `metrics.json` holds."""
    console.writable_folder(workdir, "--workdir")
    provenance.note_command(workdir)
    metrics = judging.evaluate(experiment, workdir, ratings, console.TERMINAL)
    _print(metrics)
    console.say_next("report", "--workdir", workdir)
    return metrics


def _print(metrics: Mapping[str, Any]) -> None:
    if "detection" in metrics:
        return _print_found(metrics)
    main = kind_of_study(metrics).main
    width = max(9, *(len(level) + 1 for level in metrics["levels"]))
    for level, figures in metrics["levels"].items():
        console.say(f"  {level:<{width}}" + _line(figures, main))
        if "ordinal" in figures:
            console.say(f"  {level:<{width}}in order: " + _line(figures["ordinal"], IN_ORDER))
        for name, tested in figures.get("test_sets", {}).items():
            console.say(f"  {level:<{width}}{name}: " + _line(tested, main))


def _print_found(metrics: Mapping[str, Any]) -> None:
    """Precision, and counts and shares beside those of people."""
    for name, part in metrics["detection"]["sets"].items():
        line = _line({"ap": part["mean"], "n": part["n"]}, {"ap": f"AP{100 * part['overlap']:.0f}"})
        console.say(f"  {name}: {line}")
    for stage, entry in metrics["measurements"].items():
        for name, part in entry["sets"].items():
            of = " and ".join(entry["share_of"])
            counts, share = part["counts"]["all"], part["share"]
            console.say(f"  {name}: {stage}, boxes: " + _line(counts, {"r": "r"}))
            console.say(f"  {name}: {stage}, share of {of}: " + _line(share, {"r": "r"}))


def _line(figures: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    parts = [f"n {figures['n']}"] if "n" in figures else []
    for name, label in titles.items():
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
