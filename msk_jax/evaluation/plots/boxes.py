"""Pictures with boxes, in the house style."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke

from msk_jax.evaluation.plots.plots import house_style, line_style

_CORNERS = ["x0", "y0", "x1", "y1"]


def boxes_figure(
    picture: np.ndarray, true: pd.DataFrame, called: pd.DataFrame, classes: Sequence[str]
) -> Figure:
    """The picture twice: with the boxes that people drew, and with those that were called.

    Args:
        picture: uint8 [height, width, 3].
        true: `class` and corners, in pixels from the upper left.
        called: the same.
        classes: in the order of their colours.
    """
    with house_style():
        figure = Figure(figsize=(8.0, 4.5), layout="constrained")
        for axis, (title, rows) in zip(
            figure.subplots(1, 2), {"drawn": true, "called": called}.items(), strict=True
        ):
            axis.imshow(picture)
            axis.set_title(f"{title}: {len(rows)}")
            axis.set_axis_off()
            for k, name in enumerate(classes):
                # Of a picture the first pixel's centre is at 0, and its edge half a pixel before.
                for box in rows[rows["class"] == name][_CORNERS].to_numpy(float) - 0.5:
                    axis.add_patch(frame(box, k))
        handles = legend(classes)
        figure.legend(handles=handles, loc="outside lower center", ncols=len(classes))
    return figure


def frame(box: np.ndarray, place: int) -> Rectangle:
    """A box (x0, y0, x1, y1) in the colour and line of a class: grey print tells them too."""
    x0, y0, x1, y1 = (float(edge) for edge in box)
    colour, line = line_style(place)
    drawn = Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=colour, ls=line, lw=1.2)
    # A white rim: stains are of all colours.
    drawn.set_path_effects([Stroke(linewidth=2.4, foreground="w"), Normal()])
    return drawn


def legend(labels: Sequence[str]) -> list[Line2D]:
    """The lines of the classes with these labels."""
    styles = [line_style(place) for place in range(len(labels))]
    return [
        Line2D([], [], color=colour, linestyle=line, linewidth=1.2, label=label)
        for label, (colour, line) in zip(labels, styles, strict=True)
    ]
