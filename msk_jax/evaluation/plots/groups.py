"""Forests in the house style: figures of groups, their gaps, and verdicts before the gate."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from msk_jax.evaluation.core.ranges import span
from msk_jax.evaluation.plots.plots import BLUE, GREEN, GREY, RED, house_style, panels

_NAMES = {"auc": "AUC", "macro_auc": "Macro AUC", "slope": "Calibration slope"}
OF_TWO_CLASSES = ("auc", "sensitivity", "specificity", "slope")
OF_CLASSES = ("accuracy", "macro_auc", "balanced_accuracy")
_VERDICTS = {"pass": (GREEN, "o"), "fail": (RED, "X"), "open": (BLUE, "s")}


def subgroup_figure(
    rows: Sequence[Mapping[str, Any]], title: str, keys: Sequence[str] = OF_TWO_CLASSES
) -> Figure:
    """Figures of each group with intervals, a panel a figure.

    Args:
        rows: of each group `group`, `n` and the `figures` by name.
        title: what the groups are groups of.
        keys: which figures.
    """
    return _forest(rows, title, keys, "figures")


def gap_figure(
    rows: Sequence[Mapping[str, Any]], title: str, keys: Sequence[str] = OF_TWO_CLASSES
) -> Figure:
    """What each group has more or less than all other cases, with intervals.

    Args:
        rows: of each group `group`, `n` and the `gaps` by name.
        title: what the groups are groups of.
        keys: which figures.
    """
    return _forest(rows, title, keys, "gaps")


def _forest(
    rows: Sequence[Mapping[str, Any]], title: str, keys: Sequence[str], part: str
) -> Figure:
    with house_style():
        figure, axes = panels(len(keys), 2.3, 1.2 + 0.34 * len(rows), share_y=True)
        for axis, key in zip(axes, keys, strict=True):
            axis.set_title(_NAMES.get(key, key.replace("_", " ").capitalize()))
            for row, entry in enumerate(rows):
                interval_row(axis, row, entry[part][key])
            if part == "gaps":
                axis.axvline(0, color=GREY, linewidth=0.9, linestyle=":")
                axis.set_xlabel("group minus rest")
            elif key == "slope":
                axis.axvline(1, color=GREY, linewidth=0.9, linestyle=":")
            else:
                axis.set_xlim(-0.02, 1.02)
            axis.locator_params(axis="x", nbins=3)
            axis.grid(axis="x")
            axis.tick_params(axis="y", length=0)
        sizes = [
            entry["n"]["cases"] if isinstance(entry["n"], Mapping) else entry["n"] for entry in rows
        ]
        labels = [f"{entry['group']} (n {n})" for entry, n in zip(rows, sizes, strict=True)]
        axes[0].set_yticks(range(len(rows)), labels)
        axes[0].set_ylim(len(rows) - 0.5, -0.5)
        axes[0].set_ylabel(title.capitalize())
    return figure


def gate_figure(verdicts: Sequence[Mapping[str, Any]]) -> Figure:
    """Each figure with its interval beside the limits that it must keep, a panel a figure.

    Args:
        verdicts: `gate.Verdict`s as dicts.
    """
    with house_style():
        figure, axes = panels(len(verdicts), width=2.7, height=1.7)
        for axis, verdict in zip(axes, verdicts, strict=True):
            colour, marker = _VERDICTS[verdict["verdict"]]
            low, high = verdict["limits"]
            ends = (verdict["value"], verdict["low"], verdict["high"], low, high)
            first, last = span(ends, around=0.1)
            left, right = first - 0.15 * (last - first), last + 0.15 * (last - first)
            axis.axvspan(
                left if low is None else low,
                right if high is None else high,
                color=GREEN,
                alpha=0.13,
                linewidth=0,
            )
            for limit in (low, high):
                if limit is not None:
                    axis.axvline(limit, color=GREEN, linewidth=1.0, linestyle="--")
            interval_row(axis, 0, verdict, colour, marker)
            axis.set(xlim=(left, right), ylim=(-1, 1), yticks=[])
            name = _NAMES.get(verdict["name"], verdict["name"].replace("_", " ").capitalize())
            axis.set_title(f"{name}: {verdict['verdict']}")
            axis.set_xlabel(f"{verdict['n']} {verdict['counted']}")
            axis.locator_params(axis="x", nbins=5)
            axis.spines["left"].set_visible(False)
    return figure


def interval_row(
    axis: Axes, row: float, figure: Mapping[str, Any], colour: str = BLUE, marker: str = "o"
) -> None:
    """One figure with its interval in a row of a forest."""
    if figure["value"] is None or not np.isfinite(figure["value"]):
        axis.text(
            0.5,
            row,
            "no answer",
            color=GREY,
            ha="center",
            va="center",
            transform=axis.get_yaxis_transform(),
        )
        return
    if figure["low"] is not None:
        axis.plot([figure["low"], figure["high"]], [row, row], color=colour, linewidth=1.6)
    axis.plot(figure["value"], row, marker=marker, color=colour, markersize=6)
