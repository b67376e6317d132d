"""A picture with heat maps as one piece of work, for a process that has nothing else to load."""

import dataclasses
from pathlib import Path

from msk_jax.explain.overlay import Plane, draw_overlay
from msk_jax.files import replacing


@dataclasses.dataclass(frozen=True)
class Drawing:
    """All that a picture is drawn from; goes to another process."""

    path: Path
    plane: Plane
    maps: tuple[Plane, ...]
    window: tuple[float, float]
    title: str
    shown: str
    """The class whose evidence the maps show."""


def draw(drawing: Drawing) -> str:
    """Write the picture; gives the class whose evidence it shows."""
    with replacing(drawing.path) as temporary:
        draw_overlay(drawing.plane, drawing.maps, drawing.window, drawing.title).savefig(
            temporary, pil_kwargs={"compress_level": 3}
        )
    return drawing.shown
