"""The histology cohort: its settings.

    writing.write_cohort(Path("cohort"), HistologyPhantom(patients=27, seed=0))

Published are 135 pictures: 27 animals of five sections here. A picture is 1024 x 1024 pixels of
0.5 um, one field of a section under a 20x objective.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from msk_jax.errors import UserError
from msk_jax.phantoms.phantom import check_fields

CLASSES = ("osteocyte", "pyknotic osteocyte", "empty lacuna")
"""What a lacuna may hold: a nucleus, a small dark one, or none."""

SIDE_UM = (64, 1100)  # of a tile: from one that holds a lacuna for certain to a slide scanner's


@dataclass(frozen=True)
class HistologyPhantom:
    """Synthetic sections of decalcified bone, with a box around every lacuna.

    A patient is an animal, a unit one section of it, seen in one picture. Boxes lie in
    `annotations/` (COCO and CSV, a file per animal). Masks, of the lacunae: 1 osteocyte, 2 pyknotic
    osteocyte, 3 empty lacuna.
    """

    name: ClassVar[str] = "histology"
    manifest_columns: ClassVar[tuple[str, ...]] = (
        "patient_id", "section", "path", "cells", "empty_share", "site", "sex",
    )  # fmt: skip

    patients: int = 27
    """Number of animals; 27 of five sections are the published 135 pictures."""
    seed: int = 0
    """Everything random follows from it; patient k is the same in a cohort of any size."""
    severity: float = 1.0
    """How far nuclei depart from healthy ones, from 0 (all lacunae look alike) to 1."""
    label_noise: float = 0.0
    """Probability that a lacuna is annotated as another class than what is drawn (0 to 0.5)."""
    tiles: int = 5
    """Sections of each animal, one picture each."""
    matrix: int = 1024
    """Rows and columns of a picture."""
    pixel_um: float = 0.5
    """Size of a pixel in micrometres. The matrix times this is the side of a picture: 64 to 1100.
    """
    stain_shift: float = 0.15
    """How far the amounts of haematoxylin, eosin and residual stain vary, as a share (0 to 0.5)."""
    touching_share: float = 0.05
    """Share of lacunae that touch another one (0 to 0.5)."""
    format: Literal["tiff", "png"] = "tiff"
    """How pictures are stored; both know the size of their pixels."""
    workers: int = 0
    """Processes that render at the same time; 0 = one per CPU core. The result is the same."""

    def check(self) -> None:
        """Raise UserError naming the first field that cannot be used."""
        check_fields(
            self, patients=(1, 100_000), seed=(0, 2**31 - 1), severity=(0, 1),
            label_noise=(0, 0.5), tiles=(1, 99), matrix=(64, 2048), pixel_um=(0.2, 2),
            stain_shift=(0, 0.5), touching_share=(0, 0.5), workers=(0, 256),
        )  # fmt: skip
        side = self.matrix * self.pixel_um
        if not SIDE_UM[0] <= side <= SIDE_UM[1]:
            raise UserError(
                f"The phantom's tiles are {side:g} um wide (matrix {self.matrix} times "
                f"{self.pixel_um} um); they must be {SIDE_UM[0]} to {SIDE_UM[1]} um. Change "
                "--matrix or --pixel-um."
            )
        if self.format not in ("tiff", "png"):
            raise UserError(f"--format is {self.format!r}; it must be tiff or png.")

    def write_patient(self, out: Path, number: int) -> tuple[list[dict], list[dict]]:
        """Render and write one animal; its manifest rows and its rows of true parameters."""
        from msk_jax.phantoms.histology.cohort import write_patient

        return write_patient(self, out, number)
