"""What every phantom is, and checks of its settings that several share."""

from pathlib import Path
from typing import ClassVar, Protocol

from msk_jax.errors import UserError

FOLDERS = ("dicom", "masks")  # of a cohort, where `Phantom.write_patient` puts what it writes
COARSE = 4  # pixels, over which a radiograph's scatter and background are worked out


class Phantom(Protocol):
    """Settings of synthetic patients; a frozen dataclass, so that it goes into JSON.

    A phantom that writes other folders than `FOLDERS` has them in a class variable `folders`.
    """

    name: ClassVar[str]
    """As in `phantom.json`."""
    manifest_columns: ClassVar[tuple[str, ...]]
    patients: int
    seed: int
    """Patient k of a seed is the same in a cohort of any size."""
    severity: float
    """How far disease departs from normal; at 0 labels mean nothing."""
    workers: int
    """Processes that render at the same time; 0: one per CPU core."""

    def check(self) -> None:
        """Raise a UserError naming a field that cannot be used."""

    def write_patient(self, out: Path, number: int) -> tuple[list[dict], list[dict]]:
        """Write the series and the truth of one patient; its manifest rows and true parameters."""


def check_fields(phantom: Phantom, **limits: tuple[float, float]) -> None:
    """Raise a UserError naming the first field outside its limits (both included)."""
    for name, (low, high) in limits.items():
        value = getattr(phantom, name)
        if not low <= value <= high:
            raise UserError(
                f"The phantom's {name} is {value}; it must lie between {low} "
                f"and {high}. Give another --{name.replace('_', '-')}."
            )


def check_width(phantom: Phantom, low_mm: float, high_mm: float) -> None:
    """Raise a UserError where `matrix` times `pixel_mm` does not hold the anatomy."""
    width = phantom.matrix * phantom.pixel_mm
    if not low_mm <= width <= high_mm:
        raise UserError(
            f"The phantom's field of view is {width:.0f} mm (matrix {phantom.matrix} times "
            f"{phantom.pixel_mm} mm); it must be {low_mm} to {high_mm} mm. Change --matrix or "
            "--pixel-mm."
        )


def check_matrix(matrix: int) -> None:
    """Raise a UserError where `expose` could not work on a picture of so many rows."""
    if matrix % COARSE:
        raise UserError(f"--matrix is {matrix}; it must be a multiple of {COARSE}.")
