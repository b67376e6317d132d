"""Pictures of a model judged on its table of predictions, in the house style."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from msk_jax.evaluation.plots.plots import BLUE, GREY, RED, house_style, line_style, panels


def roc_curves_figure(curves: Mapping[str, Mapping[str, Any]]) -> Figure:
    """ROC curves of several models or classes in one panel.

    Args:
        curves: by name, `false_positive_rate` and `sensitivity`, and `auc` with value, low, high.
    """
    with house_style():
        figure, axes = panels(1, width=4.0, height=4.0)
        axis = axes[0]
        axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.7, linestyle=":")
        for number, (name, curve) in enumerate(curves.items()):
            auc = curve["auc"]
            text = f"{name}: {auc['value']:.3f}"
            if auc["low"] is not None:
                text += f" ({auc['low']:.3f} to {auc['high']:.3f})"
            colour, line = line_style(number)
            points = curve["false_positive_rate"], curve["sensitivity"]
            axis.plot(*points, color=colour, linestyle=line, linewidth=1.6, label=text)
        _unit_square(axis, "1 − specificity", "Sensitivity")
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


def precision_recall_figure(curves: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Precision over recall of several models, and the prevalence, which chance gives.

    Args:
        curves: by name, `recall`, `precision`, `average_precision` and `prevalence`.
    """
    with house_style():
        figure, axes = panels(1, width=4.0, height=4.0)
        axis = axes[0]
        prevalence = next(iter(curves.values()))["prevalence"]
        axis.axhline(prevalence, color=GREY, linewidth=0.9, linestyle=":", label="prevalence")
        for number, (name, curve) in enumerate(curves.items()):
            colour, line = line_style(number)
            axis.step(
                curve["recall"],
                curve["precision"],
                where="pre",
                color=colour,
                linestyle=line,
                linewidth=1.6,
                label=f"{name}: {curve['average_precision']:.3f}",
            )
        _unit_square(axis, "Recall (sensitivity)", "Precision (positive predictive value)")
        axis.legend(loc="lower left", fontsize=8, title="Average precision", title_fontsize=8)
    return figure


def calibration_figure(parts: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Groups of equal size and the flexible curve with its band, a panel for each part.

    Args:
        parts: by title (a model, a class, before and after), `bins` and `curve` as in
            `evaluate_model`, and `slope` with value, low, high.
    """
    with house_style():
        figure, axes = panels(len(parts), width=3.6, height=3.8, columns=3)
        for axis, (title, part) in zip(axes, parts.items(), strict=True):
            _calibration_panel(axis, part)
            axis.set_title(title)
        axes[0].legend(loc="upper left", fontsize=8)
    return figure


def _calibration_panel(axis: Axes, part: Mapping[str, Any]) -> None:
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.7, linestyle=":", label="ideal")
    curve, bins, slope = part["curve"], part["bins"], part["slope"]
    if curve:
        x = curve["predicted"]
        if curve["low"] is not None:
            axis.fill_between(x, curve["low"], curve["high"], color=BLUE, alpha=0.18, linewidth=0)
        axis.plot(x, curve["observed"], color=BLUE, linewidth=1.6, label="flexible curve")
    axis.plot(
        bins["predicted"],
        bins["observed"],
        "s",
        color=RED,
        markersize=5,
        markeredgecolor="white",
        label="groups of equal size",
    )
    text = "no slope" if slope["value"] is None else f"slope {slope['value']:.2f}"
    if slope["low"] is not None:
        text += f" ({slope['low']:.2f} to {slope['high']:.2f})"
    axis.text(0.97, 0.05, text, transform=axis.transAxes, ha="right")
    _unit_square(axis, "Predicted probability", "Share of positives")


def _unit_square(axis: Axes, x: str, y: str) -> None:
    """Both axes from 0 to 1 at one scale."""
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=x, ylabel=y, aspect="equal")
    axis.grid()
