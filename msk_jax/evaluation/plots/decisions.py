"""Pictures of decision curves, in the house style."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from msk_jax.evaluation.core.ranges import finite
from msk_jax.evaluation.plots.plots import BLACK, GREY, house_style, line_style, panels


def decision_figure(curve: Mapping[str, Any], names: Sequence[str]) -> Figure:
    """Net benefit over threshold probabilities, of one model or of two.

    Args:
        curve: the lists of a `DecisionCurve`.
        names: of the model, and of the second one where the curve has one.
    """
    curves = {names[0]: curve}
    if curve["second"] is not None:
        parts = {"model": "second", "low": "second_low", "high": "second_high"}
        curves[names[1]] = {**curve, **{key: curve[value] for key, value in parts.items()}}
    return decision_curves_figure(curves)


def decision_curves_figure(curves: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Net benefit of several models of the same patients over threshold probabilities.

    Args:
        curves: by name, the lists of a `DecisionCurve`.
    """
    first = next(iter(curves.values()))
    with house_style():
        figure, axes = panels(1, width=4.6, height=3.6)
        axis, everybody = axes[0], first["treat_all"]
        axis.axhline(0, color=BLACK, linewidth=0.9, label="nobody treated")
        axis.plot(
            first["thresholds"],
            everybody,
            color=GREY,
            linewidth=1.2,
            linestyle=":",
            label="all treated",
        )
        benefits = [everybody, *(curve["model"] for curve in curves.values())]
        top = float(finite(np.concatenate(benefits)).max(initial=0.01))
        for number, (name, curve) in enumerate(curves.items()):
            _curve(axis, curve, ("model", "low", "high"), name, number)
        axis.set(ylim=(-0.25 * top, 1.1 * top), xlim=(0, 1), ylabel="Net benefit")
        _finish(axis, "upper right")
    return figure


def avoided_figure(curve: Mapping[str, Any], name: str) -> Figure:
    """Interventions avoided over threshold probabilities, against acting on everybody.

    Args:
        curve: the lists of a `DecisionCurve`.
        name: of the model.
    """
    return _one(curve, "avoided", name, "Interventions avoided per case")


def benefit_difference_figure(curve: Mapping[str, Any], names: Sequence[str]) -> Figure:
    """Net benefit of one model minus that of a second over threshold probabilities.

    Args:
        curve: the lists of a `DecisionCurve` with a second model.
        names: of both models.
    """
    return _one(curve, "difference", f"{names[0]} minus {names[1]}", "Difference in net benefit")


def _one(curve: Mapping[str, Any], key: str, name: str, label: str) -> Figure:
    """One column of a decision curve with its band.

    The axis leaves out what lies far below 0 at the ends, where it is not worth a look.
    """
    with house_style():
        figure, axes = panels(1, width=4.6, height=3.6)
        axis = axes[0]
        axis.axhline(0, color=BLACK, linewidth=0.9)
        _curve(axis, curve, (key, f"{key}_low", f"{key}_high"), name, 0)
        values = finite(curve[key])
        reach = max(float(np.quantile(np.abs(values), 0.9)), 0.01) if len(values) else 0.01
        lowest = 1.3 * values.min(initial=0.0) - 0.01
        axis.set(xlim=(0, 1), ylim=(max(-1.5 * reach, lowest), 1.5 * reach))
        axis.set_ylabel(label)
        _finish(axis, "best")
    return figure


def _curve(
    axis: Axes, curve: Mapping[str, Any], keys: tuple[str, str, str], name: str, number: int
) -> None:
    """Values with their band, where there is one."""
    colour, line = line_style(number)
    x, (values, low, high) = curve["thresholds"], (curve[key] for key in keys)
    if low is not None:
        axis.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
    axis.plot(x, values, color=colour, linestyle=line, linewidth=1.6, label=name)


def _finish(axis: Axes, place: str) -> None:
    axis.set_xlabel("Threshold probability")
    axis.grid()
    axis.legend(loc=place, fontsize=8)
