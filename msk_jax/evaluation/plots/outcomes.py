"""Pictures of survival, detection, segmentation and measurement, in the house style."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
from matplotlib.figure import Figure

from msk_jax.evaluation.core.figure import Figure as Result
from msk_jax.evaluation.core.ranges import span
from msk_jax.evaluation.detection import FROC_RATES, Froc
from msk_jax.evaluation.measurement import BlandAltman
from msk_jax.evaluation.plots.groups import interval_row
from msk_jax.evaluation.plots.plots import (
    BLACK,
    BLUE,
    GREY,
    house_style,
    line_style,
    marker_style,
    panels,
)
from msk_jax.evaluation.survival import KaplanMeier


def survival_figure(curves: Mapping[str, KaplanMeier], time_unit: str) -> Figure:
    """Kaplan-Meier curves with bands, and the numbers at risk under them.

    Args:
        curves: by name of the group, with the same `risk_times`.
        time_unit: as "months".
    """
    with house_style():
        figure, axes = panels(1, width=4.8, height=3.4 + 0.2 * len(curves))
        axis = axes[0]
        rows = []
        for number, (name, curve) in enumerate(curves.items()):
            colour, line = line_style(number)
            axis.step(
                curve.times,
                curve.survival,
                where="post",
                color=colour,
                linestyle=line,
                linewidth=1.6,
                label=name,
            )
            axis.fill_between(
                curve.times,
                curve.low,
                curve.high,
                step="post",
                color=colour,
                alpha=0.15,
                linewidth=0,
            )
            rows.append([str(n) for n in curve.at_risk])
        ticks = next(iter(curves.values())).risk_times
        axis.set(ylim=(0, 1.02), xlim=span(ticks), ylabel="Share without event")
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_xlabel(f"Time ({time_unit})")
        axis.grid()
        axis.legend(loc="lower left", fontsize=8)
        for i, (name, row) in enumerate(zip(curves, rows, strict=True)):
            height = -0.28 - 0.08 * i
            shared = {"transform": axis.get_xaxis_transform(), "fontsize": 8, "va": "top"}
            axis.annotate(
                name,
                (0, height),
                xycoords="axes fraction",
                xytext=(-18, 0),
                textcoords="offset points",
                ha="right",
                va="top",
                fontsize=8,
            )
            for tick, text in zip(ticks, row, strict=True):
                axis.text(tick, height, text, ha="center", **shared)
        axis.text(0, -0.21, "At risk", transform=axis.transAxes, fontsize=8, va="top", color=GREY)
    return figure


def froc_figure(curves: Mapping[str, Froc]) -> Figure:
    """Free-response curves over false positives per image, on a logarithmic axis."""
    with house_style():
        figure, axes = panels(1, width=4.4, height=3.6)
        axis = axes[0]
        for number, (name, curve) in enumerate(curves.items()):
            colour, line = line_style(number)
            text = name
            if curve.score.value is not None:
                text += f": score {curve.score.value:.3f}"
            # Where the curve ends nothing more is found.
            x = np.r_[np.maximum(curve.false_positives, FROC_RATES[0] / 2), FROC_RATES[-1]]
            y = (
                np.r_[curve.sensitivity, curve.sensitivity[-1:]]
                if len(curve.sensitivity)
                else x * 0
            )
            axis.step(x, y[: len(x)], where="post", color=colour, linestyle=line, label=text)
        axis.set_xscale("log", base=2)
        axis.set_xticks(FROC_RATES, [f"{rate:g}" for rate in FROC_RATES])
        axis.set(
            xlim=(FROC_RATES[0] / 2, FROC_RATES[-1]),
            ylim=(0, 1.02),
            xlabel="False positives per image",
            ylabel="Sensitivity",
        )
        axis.grid()
        axis.legend(loc="lower right", fontsize=8)
    return figure


def over_time_figure(
    horizons: Sequence[float], models: Mapping[str, Sequence[Result]], name: str, time_unit: str
) -> Figure:
    """A figure at several horizons, as the time-dependent AUC or the Brier score, with bounds.

    Args:
        horizons: rising.
        models: by name, what `time_auc` or `brier_at` gives at each horizon.
        name: of the figure.
        time_unit: as "months".
    """
    x = np.asarray(horizons, float)
    with house_style():
        figure, axes = panels(1, width=4.4, height=3.4)
        axis = axes[0]
        for number, (model, results) in enumerate(models.items()):
            colour, line = line_style(number)
            # What has no answer or no bound leaves a hole.
            value, low, high = (
                np.array([getattr(result, key) for result in results], float)
                for key in ("value", "low", "high")
            )
            axis.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
            axis.plot(
                x,
                value,
                color=colour,
                linestyle=line,
                marker="o",
                markersize=3.5,
                linewidth=1.6,
                label=model,
            )
        axis.set(xlabel=f"Time ({time_unit})", ylabel=name)
        axis.grid()
        axis.legend(loc="best", fontsize=8)
    return figure


def segmentation_figure(results: Mapping[str, Mapping[str, Result]]) -> Figure:
    """Means over cases with their intervals, a panel a figure and a row a structure or model.

    Args:
        results: by name, what `segmentation_figures` gives.
    """
    shown = {
        "dice": "Dice",
        "nsd": "NSD",
        "hd95_mm": "HD95 (mm)",
        "assd_mm": "ASSD (mm)",
        "volume_error": "Volume error (share)",
    }
    with house_style():
        figure, axes = panels(len(shown), width=2.6, height=1.0 + 0.35 * len(results), columns=3)
        for axis, (key, label) in zip(axes, shown.items(), strict=True):
            for row, result in enumerate(results.values()):
                colour, marker = marker_style(row)
                interval_row(axis, row, asdict(result[key]), colour, marker)
            axis.set_yticks(range(len(results)), list(results))
            axis.set_ylim(len(results) - 0.5, -0.5)
            axis.set_xlabel(label)
            axis.locator_params(axis="x", nbins=5)
            axis.grid(axis="x")
    return figure


def agreement_figure(
    a: Sequence[float], b: Sequence[float], result: BlandAltman, unit: str
) -> Figure:
    """Differences over means with bias and limits of agreement, their intervals shaded.

    Args:
        a: first measurements.
        b: second measurements.
        result: `bland_altman(a, b)`.
        unit: as "mm".
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    with house_style():
        figure, axes = panels(1, width=4.4, height=3.4)
        axis = axes[0]
        axis.plot((a + b) / 2, a - b, "o", color=BLUE, markersize=4, alpha=0.7)
        for line, style in ((result.bias, "-"), (result.lower, "--"), (result.upper, "--")):
            axis.axhspan(line.low, line.high, color=GREY, alpha=0.15, linewidth=0)
            axis.axhline(line.value, color=BLACK, linewidth=1.0, linestyle=style)
            text = f" {line.value:.3g}".replace("-", "−")
            axis.text(
                1.0, line.value, text, va="center", fontsize=8, transform=axis.get_yaxis_transform()
            )
        axis.set(xlabel=f"Mean of the two ({unit})", ylabel=f"First minus second ({unit})")
        axis.grid()
    return figure
