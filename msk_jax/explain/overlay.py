"""Heat maps drawn over slices, in patient coordinates.

Both the slice and the map are placed by their millimetres, not by their pixels, so a mirrored crop
lands on the side that it came from. Pictures follow radiological convention: the patient's right
is on the left and anterior on top, or anterior on the left and the head on top.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

# Transparent where there is no evidence; orange is told from grey by everyone.
_HEAT = LinearSegmentedColormap.from_list(
    "evidence", [(0.9, 0.4, 0.0, 0.0), (0.9, 0.4, 0.0, 0.35), (1.0, 0.85, 0.2, 0.75)]
)


@dataclasses.dataclass(frozen=True)
class Plane:
    """An axial or sagittal picture and where it lies in the patient."""

    values: np.ndarray
    """`[rows, columns]`."""
    origin_mm: tuple[float, float]
    """Of the centre of pixel [0, 0]: x and y (left, posterior), or y and -z (posterior, down)."""
    spacing_mm: tuple[float, float]
    """Pixel size along columns and rows."""
    mirrored: bool = False
    """Columns run towards the patient's right."""
    letters: tuple[str, str] = ("R", "L")
    """Which side of the patient is at the left and at the right edge."""

    @property
    def extent_mm(self) -> tuple[float, float, float, float]:
        """Outer edges as matplotlib wants them: first column, last column, last row, first row."""
        rows, columns = self.values.shape
        step_x = -self.spacing_mm[0] if self.mirrored else self.spacing_mm[0]
        left = self.origin_mm[0] - step_x / 2
        top = self.origin_mm[1] - self.spacing_mm[1] / 2
        return (left, left + columns * step_x, top + rows * self.spacing_mm[1], top)

    @property
    def box_mm(self) -> tuple[float, float, float, float]:
        """Smallest x, largest x, smallest y, largest y."""
        first, last, bottom, top = self.extent_mm
        return (min(first, last), max(first, last), top, bottom)


def draw_overlay(
    slice_: Plane,
    maps: Sequence[Plane],
    window: tuple[float, float],
    title: str,
    zoom: bool = False,
) -> Figure:
    """The slice alone and, beside it, with the maps of its units over it.

    Args:
        slice_: stored values (HU).
        maps: heat maps in 0..1, drawn where they belong; each is framed.
        window: level and width, HU.
        title: above both pictures.
        zoom: show only what the maps cover.
    """
    figure = Figure(figsize=(7.2, 3.9), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=9)
    low, high = window[0] - window[1] / 2, window[0] + window[1] / 2
    for axes, with_maps in zip(figure.subplots(1, 2), (False, True), strict=True):
        axes.imshow(slice_.values, cmap="gray", vmin=low, vmax=high, extent=slice_.extent_mm)
        if with_maps:
            for plane in maps:
                axes.imshow(
                    plane.values,
                    cmap=_HEAT,
                    vmin=0,
                    vmax=1,
                    extent=plane.extent_mm,
                    interpolation="bilinear",
                )
        boxes = [plane.box_mm for plane in maps]
        if not zoom:
            for x0, x1, y0, y1 in boxes:
                frame = Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec="w", lw=0.5)
                axes.add_patch(frame)
        shown = boxes if zoom and boxes else [slice_.box_mm]
        axes.set_xlim(min(b[0] for b in shown), max(b[1] for b in shown))
        axes.set_ylim(max(b[3] for b in shown), min(b[2] for b in shown))
        axes.set_xticks([])
        axes.set_yticks([])
        sides = zip(slice_.letters, (0.02, 0.98), ("left", "right"), strict=True)
        for letter, where, align in sides:
            axes.text(
                where,
                0.97,
                letter,
                color="w",
                fontsize=9,
                ha=align,
                va="top",
                transform=axes.transAxes,
            )
    return figure
