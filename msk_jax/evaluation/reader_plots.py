"""Pictures of a reader study, in the house style."""

from collections.abc import Mapping
from itertools import cycle
from typing import Any

from matplotlib.figure import Figure

from msk_jax.evaluation.model_plots import interval_row
from msk_jax.evaluation.plots import BLACK, BLUE, GREEN, GREY, ORANGE, RED, house_style, panels

_STYLES = ((BLUE, "o"), (RED, "s"), (GREEN, "D"), (ORANGE, "^"), (BLACK, "v"))


def reader_figure(result: Mapping[str, Any]) -> Figure:
    """Each reader's accuracy by modality, joined by a line, and the means with intervals.

    Args:
      result: the plain analysis of `mrmc.study.to_plain`.
    """
    readers, modalities = result["reader_names"], result["modality_names"]
    with house_style():
        figure, axes = panels(1, width=5.0, height=1.4 + 0.3 * (len(readers) + len(modalities)))
        axis = axes[0]
        for row, _ in enumerate(readers):
            values = [of_modality[row] for of_modality in result["accuracy"]]
            axis.plot([min(values), max(values)], [row, row], color=GREY, linewidth=0.9)
            for value, (colour, marker) in zip(values, cycle(_STYLES), strict=False):
                axis.plot(value, row, marker=marker, color=colour, markersize=6)
        for i, modality in enumerate(result["modalities"]):
            colour, marker = _STYLES[i % len(_STYLES)]
            interval_row(axis, len(readers) + 0.5 + i, modality, colour, marker)
        places = [*range(len(readers)), *(len(readers) + 0.5 + i for i in range(len(modalities)))]
        axis.set_yticks(places, [*readers, *(f"mean, {name}" for name in modalities)])
        axis.axhline(len(readers) - 0.25, color=GREY, linewidth=0.7)
        axis.set_ylim(places[-1] + 0.5, -0.5)
        axis.set_xlabel(_measure(result))
        axis.grid(axis="x")
        handles = [
            axis.plot([], [], marker=marker, color=colour, linestyle="none", label=name)[0]
            for name, (colour, marker) in zip(modalities, cycle(_STYLES), strict=False)
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=3, fontsize=8)
    return figure


def difference_figure(study: Mapping[str, Any]) -> Figure:
    """First minus second modality: overall, by group and by reader, with intervals.

    Of more than two modalities the first two are drawn.

    Args:
      study: what `mrmc.study.analyse` gives.
    """
    first = study["overall"]["differences"][0]
    pair = (first["first"], first["second"])
    rows = [("all readers", first, BLACK, "D")]
    for name, group in study["groups"].items():
        tests = group.get("differences") or []
        if tests:
            rows.append((name, tests[0], RED, "s"))
    for entry in study["overall"]["by_reader"]:
        if (entry["first"], entry["second"]) == pair:
            rows.append((entry["reader"], entry, BLUE, "o"))
    with house_style():
        figure, axes = panels(1, width=5.0, height=1.1 + 0.3 * len(rows))
        axis = axes[0]
        axis.axvline(0, color=GREY, linewidth=0.9, linestyle=":")
        for row, (_, entry, colour, marker) in enumerate(rows):
            shown = {**entry, "value": entry["difference"]}
            interval_row(axis, row, shown, colour, marker)
        axis.set_yticks(range(len(rows)), [name for name, *_ in rows])
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_xlabel(f"{_measure(study['overall'])}: {pair[0]} minus {pair[1]}")
        axis.grid(axis="x")
    return figure


def _measure(result: Mapping[str, Any]) -> str:
    return "AUC" if result["measure"] == "auc" else result["measure"].capitalize()
