"""Pictures of what variables contribute, in the house style."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from msk_jax.evaluation.plots.plots import house_style, line_style


def contributions_figure(variables: Sequence[str], values: Sequence[float]) -> Figure:
    """Horizontal bars, the greatest on top.

    Args:
        variables: names, greatest first.
        values: mean absolute contribution of each.
    """
    with house_style():
        height = 0.26 * max(len(variables), 1) + 0.7
        figure = Figure(figsize=(4.2, height), layout="constrained")
        axis = figure.subplots()
        colour, _ = line_style(0)
        places = range(len(variables))[::-1]
        axis.barh(list(places), list(values), color=colour, height=0.7)
        axis.set_yticks(list(places), [name.replace("_", " ") for name in variables])
        axis.set_xlabel("mean absolute Shapley value")
        axis.margins(y=0.01)
    return figure
