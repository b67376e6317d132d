"""Pictures of a reader study, in the house style."""

from collections.abc import Mapping, Sequence
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
    """First minus second modality: overall, by group and by reader, with intervals; a panel a pair.

    Args:
      study: what `mrmc.study.analyse` gives.
    """
    pairs = [(test["first"], test["second"]) for test in study["overall"]["differences"]]
    rows = {pair: _difference_rows(study, pair) for pair in pairs}
    height = 1.1 + 0.3 * max(map(len, rows.values()))
    with house_style():
        figure, axes = panels(len(pairs), width=5.0, height=height)
        for axis, pair in zip(axes, pairs, strict=True):
            axis.axvline(0, color=GREY, linewidth=0.9, linestyle=":")
            for row, (_, entry, colour, marker) in enumerate(rows[pair]):
                shown = {**entry, "value": entry["difference"]}
                interval_row(axis, row, shown, colour, marker)
            axis.set_yticks(range(len(rows[pair])), [name for name, *_ in rows[pair]])
            axis.set_ylim(len(rows[pair]) - 0.5, -0.5)
            axis.set_xlabel(f"{_measure(study['overall'])}: {pair[0]} minus {pair[1]}")
            axis.locator_params(axis="x", nbins=5)
            axis.grid(axis="x")
    return figure


def _difference_rows(study: Mapping[str, Any], pair: tuple[str, str]) -> list[tuple]:
    """Name, test, colour and marker of everybody who was tested for this pair."""

    def of_pair(entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return [entry for entry in entries if (entry["first"], entry["second"]) == pair]

    overall = study["overall"]
    rows = [("all readers", test, BLACK, "D") for test in of_pair(overall["differences"])]
    for name, group in study["groups"].items():
        rows += [(name, test, RED, "s") for test in of_pair(group.get("differences") or [])]
    return rows + [(e["reader"], e, BLUE, "o") for e in of_pair(overall["by_reader"])]


def _measure(result: Mapping[str, Any]) -> str:
    return "AUC" if result["measure"] == "auc" else result["measure"].capitalize()
