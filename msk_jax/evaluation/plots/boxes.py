"""Pictures with boxes, in the house style."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

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
                for x0, y0, x1, y1 in rows[rows["class"] == name][_CORNERS].to_numpy(float):
                    box = Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False)
                    box.set(edgecolor=line_style(k)[0], linewidth=1.4)
                    axis.add_patch(box)
        lines = [Line2D([], [], color=line_style(k)[0], label=n) for k, n in enumerate(classes)]
        figure.legend(handles=lines, loc="outside lower center", ncols=len(classes))
    return figure
