"""Pictures of a model judged on its table of predictions, in the house style."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from msk_jax.evaluation.plots import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    house_style,
    panels,
)  # fmt: skip


def roc_curves_figure(curves: Mapping[str, Mapping[str, Any]]) -> Figure:
    """ROC curves of several models or readers in one panel.

    Args:
      curves: by name, `false_positive_rate` and `sensitivity`, and `auc` with value, low, high.
    """
    styles = (
        (BLUE, "-"), (RED, "--"), (GREEN, "-."), (BLACK, ":"), (PURPLE, (0, (5, 1, 1, 1, 1, 1))),
        (ORANGE, (0, (8, 2))),
    )  # fmt: skip
    with house_style():
        figure, axes = panels(1, width=4.0, height=4.0)
        axis = axes[0]
        axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.7, linestyle=":")
        for (name, curve), (colour, line) in zip(curves.items(), cycle(styles), strict=False):
            auc = curve["auc"]
            text = f"{name}: {auc['value']:.3f}"
            if auc["low"] is not None:
                text += f" ({auc['low']:.3f} to {auc['high']:.3f})"
            points = curve["false_positive_rate"], curve["sensitivity"]
            axis.plot(*points, color=colour, linestyle=line, linewidth=1.6, label=text)
        axis.set(
            xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="1 − specificity",
            ylabel="Sensitivity", aspect="equal",
        )  # fmt: skip
        axis.grid()
        axis.legend(loc="lower right", fontsize=8, title="AUC", title_fontsize=8)
    return figure


def class_curves_figure(of_class: Mapping[str, Mapping[str, Any]]) -> Figure:
    """The ROC curve of each class against the rest, where there is one.

    Args:
      of_class: by class, `roc` and `auc`, as in `evaluate_classes`.
    """
    return roc_curves_figure(
        {
            name: {**part["roc"], "auc": part["auc"]}
            for name, part in of_class.items()
            if part["roc"]
        }
    )


def calibration_figure(calibration: Mapping[str, Any], slope: Mapping[str, Any]) -> Figure:
    """Groups of equal size and the flexible curve with its band.

    Args:
      calibration: `bins` and `curve` of `evaluate_model`.
      slope: value, low, high of the calibration slope.
    """
    with house_style():
        figure, axes = panels(1, width=4.0, height=4.0)
        axis = axes[0]
        axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.7, linestyle=":", label="ideal")
        curve, bins = calibration["curve"], calibration["bins"]
        if curve:
            x = curve["predicted"]
            axis.fill_between(x, curve["low"], curve["high"], color=BLUE, alpha=0.18, linewidth=0)
            axis.plot(x, curve["observed"], color=BLUE, linewidth=1.6, label="flexible curve")
        axis.plot(
            bins["predicted"], bins["observed"], "s", color=RED, markersize=5,
            markeredgecolor="white", label="groups of equal size",
        )  # fmt: skip
        text = "no slope" if slope["value"] is None else f"slope {slope['value']:.2f}"
        if slope["low"] is not None:
            text += f" ({slope['low']:.2f} to {slope['high']:.2f})"
        axis.text(0.97, 0.05, text, transform=axis.transAxes, ha="right")
        axis.set(
            xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="Predicted probability",
            ylabel="Share of positives", aspect="equal",
        )  # fmt: skip
        axis.grid()
        axis.legend(loc="upper left", fontsize=8)
    return figure


def _net_benefit(curve: Mapping[str, Any], highest: float) -> tuple[Figure, Axes]:
    """Axes up to the highest benefit, with what treating nobody and everybody gives."""
    figure, axes = panels(1, width=4.6, height=3.6)
    axis, everybody = axes[0], curve["treat_all"]
    axis.axhline(0, color=BLACK, linewidth=0.9, label="nobody treated")
    axis.plot(
        curve["thresholds"], everybody, color=GREY, linewidth=1.2, linestyle=":",
        label="all treated",
    )  # fmt: skip
    top = max(highest, float(np.max(everybody)), 0.01)
    axis.set(
        ylim=(-0.25 * top, 1.1 * top), xlim=(0, 1), xlabel="Threshold probability",
        ylabel="Net benefit",
    )  # fmt: skip
    axis.grid()
    return figure, axis


def decision_figure(curve: Mapping[str, Any], names: Sequence[str]) -> Figure:
    """Net benefit over threshold probabilities.

    Args:
      curve: the lists of a `DecisionCurve`.
      names: of the model, and of the second one where the curve has one.
    """
    x, model = np.array(curve["thresholds"]), np.array(curve["model"])
    with house_style():
        figure, axis = _net_benefit(curve, float(model.max()))
        axis.fill_between(x, curve["low"], curve["high"], color=BLUE, alpha=0.18, linewidth=0)
        axis.plot(x, model, color=BLUE, linewidth=1.6, label=names[0])
        if curve["difference"] is not None:
            second = model - np.array(curve["difference"])
            axis.plot(x, second, color=RED, linewidth=1.6, linestyle="--", label=names[1])
        axis.legend(loc="upper right", fontsize=8)
    return figure


def decision_curves_figure(curves: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Net benefit of several models of the same patients over threshold probabilities.

    Args:
      curves: by name, the lists of a `DecisionCurve`.
    """
    styles = ((BLUE, "-"), (RED, "--"), (GREEN, "-."))
    first = next(iter(curves.values()))
    with house_style():
        x = first["thresholds"]
        figure, axis = _net_benefit(first, max(max(curve["model"]) for curve in curves.values()))
        for (name, curve), (colour, line) in zip(curves.items(), cycle(styles), strict=False):
            axis.fill_between(x, curve["low"], curve["high"], color=colour, alpha=0.1, linewidth=0)
            axis.plot(x, curve["model"], color=colour, linestyle=line, linewidth=1.6, label=name)
        axis.legend(loc="upper right", fontsize=8)
    return figure


def subgroup_figure(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """AUC, sensitivity and specificity of each group with intervals.

    Args:
      rows: a list of `evaluate_model(...)["subgroups"]`.
      title: what the groups are groups of.
    """
    with house_style():
        height = 1.0 + 0.34 * len(rows)
        figure, axes = panels(3, width=2.6, height=height, share_y=True)
        for axis, key in zip(axes, ("auc", "sensitivity", "specificity"), strict=True):
            axis.set_title("AUC" if key == "auc" else key.capitalize())
            for row, entry in enumerate(rows):
                interval_row(axis, row, entry["figures"][key])
            axis.set_xlim(-0.02, 1.02)
            axis.grid(axis="x")
            axis.tick_params(axis="y", length=0)
        labels = [f"{entry['group']} (n {entry['n']['cases']})" for entry in rows]
        axes[0].set_yticks(range(len(rows)), labels)
        axes[0].set_ylim(len(rows) - 0.5, -0.5)
        axes[0].set_ylabel(title.capitalize())
    return figure


def interval_row(
    axis: Axes, row: float, figure: Mapping[str, Any], colour: str = BLUE, marker: str = "o"
) -> None:
    """One figure with its interval in a row of a forest."""
    if figure["value"] is None:
        axis.text(0.5, row, "no answer", color=GREY, ha="center", va="center",
                  transform=axis.get_yaxis_transform())  # fmt: skip
        return
    if figure["low"] is not None:
        axis.plot([figure["low"], figure["high"]], [row, row], color=colour, linewidth=1.6)
    axis.plot(figure["value"], row, marker=marker, color=colour, markersize=6)
