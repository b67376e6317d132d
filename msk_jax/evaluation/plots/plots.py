"""The pictures of a study, in one house style: colour-blind safe, and readable in grey print."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

# M. Okabe and K. Ito, Color Universal Design (2008), without the yellow, too pale for paper.
BLACK, ORANGE, SKY, GREEN, BLUE, RED, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
GREY = "#6b6b6b"
_COLOURS = (BLUE, RED, GREEN, BLACK, PURPLE, ORANGE, SKY)
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<")
LEVEL_STYLE = {
    "slice": (BLUE, "-", "o"),
    "joint": (RED, "--", "s"),
    "patient": (GREEN, "-.", "D"),
}
"""Colour, line style and marker of each level, the same in every picture."""

_STYLE = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "legend.frameon": False,
    "svg.fonttype": "path",
    # Without these two the same picture would have other bytes every time.
    "svg.hashsalt": "msk_jax",
    "figure.dpi": 100,
}

_OF_EVERY_HISTORY = ("step", "epoch", "split", "loss")
_CURVES = {"auc": "AUC", "ap50": "AP at 0.5"}
"""What the figures of an epoch are called."""


def house_style() -> Any:
    """Context in which figures are made and saved."""
    return matplotlib.rc_context(_STYLE)


def line_style(number: int) -> tuple[str, Any]:
    """Colour and line of the model, class or group of this number, from 0.

    Of seven colours and six lines no pair comes twice in 42.
    """
    return _COLOURS[number % len(_COLOURS)], _LINES[number % len(_LINES)]


def marker_style(number: int) -> tuple[str, str]:
    """Colour and marker of this number, from 0; no pair comes twice in 56."""
    return _COLOURS[number % len(_COLOURS)], _MARKERS[number % len(_MARKERS)]


def roc_figure(levels: Mapping[str, Mapping[str, Any]]) -> Figure:
    """ROC curves side by side, each with its band, its area and its frozen operating point.

    Args:
        levels: entries of `evaluate_classes(...)["levels"]`, as many as panels are wanted.
    """
    with house_style():
        figure, axes = panels(len(levels), width=3.4, height=3.7)
        for axis, (name, level) in zip(axes, levels.items(), strict=True):
            _roc_panel(axis, name, level)
    return figure


def _roc_panel(axis: Axes, name: str, level: Mapping[str, Any]) -> None:
    """One ROC curve."""
    colour, line, marker = LEVEL_STYLE.get(name, (BLACK, "-", "o"))
    axis.set_title(name.capitalize())
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.7, linestyle=":")
    axis.set(
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        xlabel="1 − specificity",
        ylabel="Sensitivity",
        aspect="equal",
    )
    axis.set_xticks(np.linspace(0, 1, 6))
    axis.set_yticks(np.linspace(0, 1, 6))
    axis.grid()
    curve = level.get("roc")
    if not curve:
        say(axis, "No curve: it needs\nboth classes.")
        return
    if curve["band"]:
        band = {key: np.asarray(curve["band"][key]) for key in ("specificity", "low", "high")}
        axis.fill_between(
            1 - band["specificity"],
            band["low"],
            band["high"],
            color=colour,
            alpha=0.18,
            linewidth=0,
        )
    axis.plot(
        curve["false_positive_rate"],
        curve["sensitivity"],
        color=colour,
        linestyle=line,
        linewidth=1.6,
    )
    sensitivity, specificity = level["sensitivity"]["value"], level["specificity"]["value"]
    if sensitivity is not None and specificity is not None:
        axis.plot(
            1 - specificity,
            sensitivity,
            marker=marker,
            color=colour,
            markersize=7,
            markeredgecolor="white",
            markeredgewidth=1.2,
            linestyle="none",
            clip_on=False,
            zorder=5,
            label="frozen operating point",
        )
    auc = level["auc"]
    text = f"AUC {auc['value']:.3f}"
    if auc["low"] is not None:
        text += f"\n{auc['low']:.3f} to {auc['high']:.3f}"
    axis.text(0.97, 0.17, text, transform=axis.transAxes, ha="right", va="bottom")
    axis.legend(loc="lower right", fontsize=8, handletextpad=0.2)


def confusion_figure(levels: Mapping[str, Mapping[str, Any]], classes: Sequence[str]) -> Figure:
    """Confusion matrices side by side; a cell is shaded by its share of its row (true class).

    Args:
        levels: entries of `evaluate_classes(...)["levels"]`.
        classes: names of the classes.
    """
    side = 1.3 + 0.75 * len(classes)
    with house_style():
        figure, axes = panels(len(levels), width=side + 0.1, height=side)
        for axis, (name, level) in zip(axes, levels.items(), strict=True):
            axis.set_title(name.capitalize())
            counts = level.get("confusion")
            if not counts:
                say(axis, "No decisions.")
                axis.set_axis_off()
                continue
            if isinstance(counts, Mapping):
                counts = [[counts["tn"], counts["fp"]], [counts["fn"], counts["tp"]]]
            _confusion_panel(axis, np.array(counts), classes)
    return figure


def _confusion_panel(axis: Axes, table: np.ndarray, classes: Sequence[str]) -> None:
    """One matrix [true, called]."""
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1.25)
    places = range(len(table))
    for row in places:
        for column in places:
            colour = "white" if share[row, column] > 0.8 else "black"
            axis.text(
                column,
                row - 0.08,
                f"{table[row, column]}",
                ha="center",
                va="center",
                fontsize=15,
                color=colour,
            )
            axis.text(
                column,
                row + 0.24,
                f"{share[row, column]:.0%}",
                ha="center",
                va="center",
                fontsize=8,
                color=colour,
            )
    axis.set_xticks(places, classes)
    axis.set_yticks(places, classes, rotation=90, va="center")
    axis.set(xlabel="Called", ylabel="True")
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def training_figure(histories: Mapping[int, pd.DataFrame]) -> Figure:
    """Losses and what else is known of an epoch, as the validation AUC; a line a fold.

    What no fold has a number of, as a detector's validation loss, is not drawn.

    Args:
        histories: for each fold, a table with columns step, epoch, split (train or validation),
            loss, and further figures of the task (empty for train).
    """
    colours = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY, BLACK)
    styles = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
    with house_style():
        drawn = _drawn_curves(histories)
        figure, axes = panels(len(drawn), width=2.9, height=2.6)
        for axis, (split, column, title) in zip(axes, drawn, strict=True):
            for number, (fold, table) in enumerate(sorted(histories.items())):
                rows = table[table["split"] == split]
                axis.plot(
                    rows["epoch"],
                    pd.to_numeric(rows[column], errors="coerce"),
                    color=colours[number % len(colours)],
                    linestyle=styles[number % len(styles)],
                    linewidth=1.2,
                    marker="." if len(rows) < 3 else None,
                    label=f"fold {fold}",
                )
            axis.set_title(title)
            axis.set_xlabel("Epoch")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
            axis.grid()
        losses = [axis for axis, (_, name, _) in zip(axes, drawn, strict=True) if name == "loss"]
        top = max(axis.get_ylim()[1] for axis in losses)
        for axis in axes:
            axis.set(ylim=(0, top)) if axis in losses else axis.set_ylim(top=1.02)
        if len(histories) > 1:
            handles, labels = axes[0].get_legend_handles_labels()
            figure.legend(
                handles,
                labels,
                loc="outside lower center",
                ncols=min(5, len(histories)),
                fontsize=8,
            )
    return figure


def _drawn_curves(histories: Mapping[int, pd.DataFrame]) -> list[tuple[str, str, str]]:
    """Split, column and title of each panel."""
    others = [name for name in next(iter(histories.values())) if name not in _OF_EVERY_HISTORY]
    drawn = [("train", "loss", "Training loss"), ("validation", "loss", "Validation loss")]
    drawn += [("validation", name, f"Validation {_CURVES.get(name, name)}") for name in others]
    return [
        (split, name, title)
        for split, name, title in drawn
        if any(
            pd.to_numeric(table[table["split"] == split][name], errors="coerce").notna().any()
            for table in histories.values()
            if name in table
        )
        or (split, name) == ("train", "loss")
    ]


def forest_figure(
    levels: Mapping[str, Mapping[str, Any]], published: Sequence[Mapping[str, Any]]
) -> Figure:
    """Sensitivity and specificity of each level with intervals, beside the published values.

    Below patient level the interval that counts patients is drawn.

    Args:
        levels: entries of `evaluate_classes(...)["levels"]`.
        published: entries with `name` ("sensitivity", "specificity") and `value` (0..1).
    """
    printed = {entry["name"]: entry["value"] for entry in published}
    with house_style():
        figure, axes = panels(2, width=2.6, height=1.05 + 0.36 * len(levels), share_y=True)
        figure.get_layout_engine().set(wspace=0.08)
        lowest = 1.0
        for axis, measure in zip(axes, ("sensitivity", "specificity"), strict=True):
            axis.set_title(measure.capitalize())
            for row, (name, level) in enumerate(levels.items()):
                colour, _, marker = LEVEL_STYLE.get(name, (BLACK, "-", "o"))
                figures = level.get(measure) or {}
                if figures.get("value") is None:
                    axis.text(
                        0.5,
                        row,
                        "no answer",
                        color=GREY,
                        ha="center",
                        va="center",
                        transform=axis.get_yaxis_transform(),
                    )
                    continue
                low, high = interval_of(figures)
                if low is not None:
                    axis.plot([low, high], [row, row], color=colour, linewidth=1.6)
                axis.plot(figures["value"], row, marker=marker, color=colour, markersize=6)
                lowest = min(lowest, figures["value"] if low is None else low)
            if measure in printed:
                axis.axvline(printed[measure], color=BLACK, linewidth=0.9, linestyle=(0, (4, 2)))
                axis.text(
                    printed[measure],
                    -0.62,
                    f"published {100 * printed[measure]:.1f} % ",
                    ha="right",
                    va="bottom",
                    fontsize=8,
                )
                lowest = min(lowest, printed[measure])
            axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            axis.grid(axis="x")
            axis.tick_params(axis="y", length=0)
        axes[0].set_yticks(range(len(levels)), list(levels))
        axes[0].set_ylim(len(levels) - 0.5, -1.0)
        for axis in axes:
            axis.set_xlim(np.floor(max(lowest - 0.02, 0) * 10) / 10, 1.01)
            axis.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
            axis.spines["left"].set_visible(False)
    return figure


def ablation_figure(table: pd.DataFrame, levels: Sequence[str]) -> Figure:
    """Area under the curve of each variant: a dot a seed, and a bar from mean - sd to mean + sd.

    Args:
        table: one row per variant and seed, with the column `variant` and one of areas per level;
            variants from top to bottom in their order in the table, the whole system first.
        levels: the columns to show, a panel each.
    """
    variants = list(dict.fromkeys(table["variant"]))
    with house_style():
        height = 1.0 + 0.32 * len(variants)
        figure, axes = panels(len(levels), width=2.9, height=height, share_y=True)
        for axis, level in zip(axes, levels, strict=True):
            colour, _, marker = LEVEL_STYLE.get(level, (BLACK, "-", "o"))
            areas = pd.to_numeric(table[level], errors="coerce")
            for row, variant in enumerate(variants):
                values = areas[table["variant"] == variant].dropna().to_numpy()
                if not len(values):
                    continue
                mean, spread = values.mean(), values.std(ddof=1) if len(values) > 1 else 0.0
                axis.plot(
                    values,
                    np.full(len(values), row),
                    marker=".",
                    color=GREY,
                    alpha=0.7,
                    linestyle="none",
                    markeredgewidth=0,
                )
                axis.plot([mean - spread, mean + spread], [row, row], color=colour, linewidth=1.6)
                axis.plot(mean, row, marker=marker, color=colour, markersize=6)
            whole = areas[table["variant"] == variants[0]].mean()
            axis.axvline(whole, color=GREY, linewidth=0.8, linestyle=(0, (4, 2)), zorder=0)
            axis.set_title(level.capitalize())
            axis.set_xlabel("AUC")
            axis.grid(axis="x")
            axis.xaxis.set_major_locator(MaxNLocator(nbins=4))
            axis.tick_params(axis="y", length=0)
        axes[0].set_yticks(range(len(variants)), variants)
        axes[0].set_ylim(len(variants) - 0.5, -0.5)
    return figure


def interval_of(figures: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """The interval to show: the one that counts patients where there is one."""
    shown = figures.get("clustered") or figures
    return shown["low"], shown["high"]


def panels(
    count: int, width: float, height: float, share_y: bool = False, columns: int | None = None
) -> tuple[Figure, list]:
    """A figure with panels of this size in inches, in one row or in rows of so many columns.

    Without any panel it is an empty picture of the size of one.
    """
    across = max(min(count, columns or count), 1)
    down = max(-(-count // across), 1)
    figure = Figure(figsize=(width * across, height * down), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(down, across, squeeze=False, sharey=share_y).ravel()
    for axis in axes[count:]:
        axis.set_axis_off()
    return figure, list(axes[:count])


def say(axis: Axes, text: str) -> None:
    """A sentence instead of a curve."""
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", color=GREY)
