"""Boxes drawn over the picture that they lie in, as one piece of work for another process."""

import dataclasses
from pathlib import Path

import numpy as np

from msk_jax.evaluation.plots.boxes import frame, legend
from msk_jax.evaluation.plots.plots import house_style, panels
from msk_jax.files import replacing

_SIDE = 7.2  # inches: the longer side of the picture
_NARROWEST = 4.6  # inches: the title fits into it
_ABOVE = 0.35
_PER_CLASS = 0.2
_DPI = 150


@dataclasses.dataclass(frozen=True)
class BoxDrawing:
    """All that a picture with boxes is drawn from; goes to another process."""

    path: Path
    picture: np.ndarray
    """uint8 [rows, columns, 3], red, green and blue; may have fewer pixels than its file."""
    size: tuple[int, int]
    """Rows and columns of the file, in whose pixels the boxes are."""
    boxes: np.ndarray
    """[n, 4]: x0, y0, x1, y1."""
    classes: np.ndarray
    """[n]: places among the names."""
    names: tuple[str, ...]
    """Of all classes: the legend has those without a box too."""
    title: str


def draw_boxes(drawing: BoxDrawing) -> None:
    """Write the picture: a colour and a line for each class, so that grey print tells them too."""
    height, width = drawing.size
    inch = _SIDE / max(drawing.size)
    across = max(width * inch, _NARROWEST)
    down = height * inch + _ABOVE + _PER_CLASS * len(drawing.names)
    with house_style(), replacing(drawing.path) as temporary:
        figure, (axes,) = panels(1, across, down)
        figure.suptitle(drawing.title, fontsize=9, x=0.01, ha="left")
        axes.imshow(drawing.picture, extent=(0, width, height, 0))
        for box, place in zip(drawing.boxes, drawing.classes, strict=True):
            axes.add_patch(frame(box, int(place)))
        axes.set_axis_off()
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        counts = [int((drawing.classes == place).sum()) for place in range(len(drawing.names))]
        labels = [f"{name}: {n}" for name, n in zip(drawing.names, counts, strict=True)]
        figure.legend(handles=legend(labels), loc="outside lower left", fontsize=8)
        figure.savefig(temporary, dpi=_DPI, pil_kwargs={"compress_level": 3})
