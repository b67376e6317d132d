"""Pictures of a reader study, in the house style."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from msk_jax.evaluation.core.ranges import span
from msk_jax.evaluation.plots.groups import interval_row
from msk_jax.evaluation.plots.plots import (
    BLACK,
    BLUE,
    GREY,
    RED,
    house_style,
    line_style,
    marker_style,
    panels,
)


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
            found = enumerate(of_modality[row] for of_modality in result["accuracy"])
            values = {number: value for number, value in found if value is not None}
            ends = [min(values.values()), max(values.values())]
            axis.plot(ends, [row, row], color=GREY, linewidth=0.9)
            for number, value in values.items():
                colour, marker = marker_style(number)
                axis.plot(value, row, marker=marker, color=colour, markersize=6)
        for i, modality in enumerate(result["modalities"]):
            colour, marker = marker_style(i)
            interval_row(axis, len(readers) + 0.5 + i, modality, colour, marker)
        places = [*range(len(readers)), *(len(readers) + 0.5 + i for i in range(len(modalities)))]
        axis.set_yticks(places, [*readers, *(f"mean, {name}" for name in modalities)])
        axis.axhline(len(readers) - 0.25, color=GREY, linewidth=0.7)
        axis.set_ylim(places[-1] + 0.5, -0.5)
        axis.set_xlabel(_measure(result))
        axis.grid(axis="x")
        handles = []
        for number, name in enumerate(modalities):
            colour, marker = marker_style(number)
            options = {"marker": marker, "color": colour, "linestyle": "none"}
            handles += axis.plot([], [], label=name, **options)
        figure.legend(handles=handles, loc="outside upper center", ncols=3, fontsize=8)
    return figure


def reader_curves_figure(curves: Mapping[str, Mapping[str, Any]]) -> Figure:
    """The ROC curve of each reader, thin, and the mean of all, thick; a panel a modality.

    Args:
        curves: `roc` of what `mrmc.study.analyse` gives: by modality, `readers` and `mean`, each
            with `false_positive_rate` and `sensitivity`.
    """
    with house_style():
        figure, axes = panels(len(curves), width=3.6, height=3.8, columns=3)
        for number, (axis, (name, curve)) in enumerate(zip(axes, curves.items(), strict=True)):
            colour, _ = line_style(number)
            axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.7, linestyle=":")
            for reader in curve["readers"].values():
                axis.plot(
                    reader["false_positive_rate"],
                    reader["sensitivity"],
                    color=colour,
                    linewidth=0.8,
                    alpha=0.5,
                )
            mean = curve["mean"]
            axis.plot(
                mean["false_positive_rate"],
                mean["sensitivity"],
                color=colour,
                linewidth=2.2,
                label=f"mean of {len(curve['readers'])} readers",
            )
            axis.set(
                xlim=(-0.02, 1.02),
                ylim=(-0.02, 1.02),
                xlabel="1 − specificity",
                ylabel="Sensitivity",
                aspect="equal",
                title=name,
            )
            axis.grid()
            axis.legend(loc="lower right", fontsize=8)
    return figure


def power_figure(curves: Sequence[Mapping[str, Any]], difference: float) -> Figure:
    """Power of a next study over its cases, a line for each number of readers.

    Args:
        curves: `power_curves` of what `mrmc.study.analyse` gives: `readers`, `cases`, `power`.
        difference: that is to be found.
    """
    with house_style():
        figure, axes = panels(1, width=4.6, height=3.6)
        axis = axes[0]
        axis.axhline(0.8, color=GREY, linewidth=0.9, linestyle=":")
        for number, curve in enumerate(curves):
            colour, line = line_style(number)
            axis.plot(
                curve["cases"],
                curve["power"],
                color=colour,
                linestyle=line,
                linewidth=1.6,
                label=f"{curve['readers']} readers",
            )
        cases = [n for curve in curves for n in curve["cases"] if n >= 1]
        axis.set_xlim(*span(cases or [1]))
        axis.set_xscale("log")
        axis.set(ylim=(0, 1.02), xlabel="Cases", ylabel=f"Power to find {difference:g}")
        axis.grid()
        axis.legend(loc="lower right", fontsize=8)
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
